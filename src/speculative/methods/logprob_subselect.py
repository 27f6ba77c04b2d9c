"""Searches with beams that alternate between the models.

Beams are kept by how sure the big model is of its own continuation.
"""

from statistics import fmean
from typing import ClassVar

from pydantic import Field

from speculative.chain.chain import Chain
from speculative.chain.drafts import Draft
from speculative.methods.base import Method
from speculative.methods.families import Family

FINISH_TOKENS = 4096
"""The tokens that the small model may write after the search, as in the system that the method comes from."""


class LogprobSubselect(Method):
    """Small extends many beams, big continues each; those that big is surest of stay.

    Big continues greedily, and its sureness is that of its own continuation.
    Every iteration keeps `1/sdecay` of the beams. With `lbound` or fewer left the search ends if more than two thirds of
    them have ended their thinking, else every beam is drawn twice again. A beam that ended is kept as it is. Then, and from the
    start when there is one beam only, the small model writes on, and `answer_by` answers.

    Cost: two calls an iteration, for all beams at once. It judges by big's mean log-probability of its own `ltok` tokens,
    which every server gives with its prefix cache in use; all beams but one are thrown away. Needs: `logprobs` of big.
    Source: SplitReason's library (arXiv 2504.16379), mode `logprob_subselect`.
    """

    family: ClassVar[Family] = "several versions"
    needs: ClassVar[dict[str, set[str]]] = {"big": {"logprobs"}}
    drafts_field: ClassVar[str | None] = "sgen"

    sgen: int = Field(default=8, ge=1, description="beams at the start")
    stok: int = Field(default=16, ge=1, description="tokens of small for each beam and iteration")
    sdecay: int = Field(default=2, ge=2, description="each iteration keeps one beam of so many")
    ltok: int = Field(default=16, ge=1, description="tokens of big for each beam and iteration; they are the score, and stay")
    lbound: int = Field(default=4, ge=0, description="at so many beams or fewer: finish, or draw every beam twice")
    max_iterations: int = Field(default=10, ge=1, description="iterations at most")

    @property
    def switch_unit(self) -> int:
        return (self.stok + self.ltok + 1) // 2  # what one model writes before the other, on average

    async def think(self, chain: Chain) -> None:
        beams: list[Draft | None] = [None] * self.sgen
        for _ in range(self.max_iterations if self.sgen > 1 else 0):
            beams = await self._extended(chain, beams)
            beams = beams[: max(1, len(beams) // self.sdecay)]
            if len(beams) == 1 or all(_closed(beam) for beam in beams):
                break
            if len(beams) <= self.lbound:
                if sum(map(_closed, beams)) > 2 * len(beams) / 3:
                    break
                beams = [beam for beam in beams for _ in range(2)]
        if beams[0]:
            await chain.accept(beams[0])
        await chain.write("small", max_tokens=FINISH_TOKENS)

    async def _extended(self, chain: Chain, beams: list[Draft | None]) -> list[Draft | None]:
        """Extends each beam that has not ended by tokens of both models.

        Returns all beams, best first. Equal beams are drawn together.
        """
        closed: dict[int, Draft] = {id(beam): beam for beam in beams if beam and _closed(beam)}
        growing = [beam for beam in beams if not _closed(beam)]
        drawn: list[Draft] = []
        if growing:
            unique = list({id(beam): beam for beam in growing}.values())
            copies = len(growing) // len(unique)
            after = None if unique[0] is None else [beam for beam in unique if beam]
            drawn = await chain.draft("small", copies, after=after, max_tokens=self.stok)
        unfinished = [beam for beam in drawn if not _closed(beam)]
        judged = await chain.draft("big", after=unfinished, max_tokens=self.ltok, temperature=0, logprobs=True) if unfinished else []
        grown = [*closed.values(), *(beam for beam in drawn if _closed(beam)), *judged]
        ranked = sorted(grown, key=_sureness, reverse=True)
        return [*ranked]


def _closed(beam: Draft | None) -> bool:
    """Returns whether a beam has ended or has no room to go on."""
    return beam is not None and (beam.ended or not beam.tokens)


def _sureness(beam: Draft) -> float:
    """Returns big's mean log-probability of its latest continuation on a beam.

    A beam that big never continued comes last.
    Only big is asked for log-probabilities, so they mark its continuation (also when another engine stands in for big's).
    """
    judged: Draft | None = beam
    while judged and not judged.logprobs:
        judged = judged.parent
    return fmean(judged.logprobs) if judged else float("-inf")
