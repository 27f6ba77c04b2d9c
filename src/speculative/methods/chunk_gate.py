"""Adds a chunk of the big model after chunks of the small one that surprise it."""

from collections.abc import Sequence
from math import exp, inf
from statistics import fmean
from typing import Any, ClassVar

from pydantic import Field, field_validator

from speculative.chain.chain import Chain
from speculative.methods.base import Method
from speculative.methods.families import Family
from speculative.methods.step_loop import is_bare
from speculative.methods.tunable import GradedTrace, Tunable, judged
from speculative.methods.words import split_words
from speculative.trace.events import Judgement
from speculative.trace.trace import Trace

CALIBRATION = 100
"""The most perplexities that are stored as a calibration."""


class ChunkGate(Method):
    """Small writes chunks that all stay; big adds one after each that surprises it.

    Big reads each chunk. It adds one where the share of calibration perplexities below the chunk's own reaches `percentile`, so the
    percentile sets how often. Without `calibration` the chunk is held against the earlier ones of the same chain.

    Cost: a draft and a scoring call for each chunk, and a call of big after surprising ones. Nothing is thrown away. After `turns`
    chunks small writes on alone.
    Needs: `score` of big. Source: ATTS (arXiv 2509.15148), whose published code fixes the percentile and ends at any box.
    """

    family: ClassVar[Family] = "chunks"
    from_files: ClassVar[frozenset[str]] = frozenset({"calibration"})
    probe: ClassVar[dict[str, Any]] = {"percentile": 1.0, "calibration": "1e300"}
    needs: ClassVar[dict[str, set[str]]] = {"big": {"score"}}

    chunk: int = Field(default=500, ge=1, description="tokens of a chunk at most, of either model")
    percentile: float = Field(
        default=0.6, ge=0, le=1, description="share of calibration perplexities that must be lower for big to add a chunk"
    )
    turns: int = Field(default=15, ge=1, description="chunks of small that big reads")
    calibration: str = Field(default="", description="big's perplexities of small's chunks on other problems, with semicolons between them")

    @field_validator("calibration")
    @classmethod
    def _check_numbers(cls, value: str) -> str:
        if wrong := next((word for word in split_words(value) if not _is_perplexity(word)), None):
            raise ValueError(f"must hold perplexities of at least 1, got {wrong}")
        return value

    @property
    def switch_unit(self) -> int:
        return self.chunk

    def tunables(self) -> tuple[Tunable, ...]:
        return (Tunable("chunk", values=(16, 64, 256), shapes=True), Tunable("percentile", "at_least", self._shares))

    def fitted(self, runs: Sequence[GradedTrace]) -> dict[str, Any]:
        """Returns perplexities of small's chunks, evenly spaced by rank."""
        found = sorted(perplexity for run in runs for perplexity in judged(run.trace))
        few = found if len(found) <= CALIBRATION else [found[(len(found) - 1) * place // (CALIBRATION - 1)] for place in range(CALIBRATION)]
        return {"calibration": "; ".join(f"{perplexity:.6g}" for perplexity in few)} if few else {}

    async def think(self, chain: Chain) -> None:
        known, earlier = [float(word) for word in split_words(self.calibration)], list[float]()
        for _ in range(self.turns):
            if not chain.thinking:
                return
            chunk = await chain.draft("small", max_tokens=self.chunk)
            scores = await chain.score("big", [] if is_bare(chunk.text) else [chunk])
            perplexity = exp(min(-fmean(scores[0]), 700.0)) if scores and scores[0] else None
            judgement = None if perplexity is None or chunk.ended else Judgement(perplexity, role="big", measure="perplexity of the chunk")
            await chain.accept(chunk, judgement=judgement)
            if perplexity is not None and chain.thinking:
                if _share_below(perplexity, known or earlier) >= self.percentile:
                    await chain.write("big", max_tokens=self.chunk)
                earlier.append(perplexity)
        await chain.write("small")

    def _shares(self, trace: Trace) -> list[float]:
        """Returns the share of lower perplexities for each chunk of a chain."""
        perplexities, known = judged(trace), [float(word) for word in split_words(self.calibration)]
        return [_share_below(perplexity, known or perplexities[:place]) for place, perplexity in enumerate(perplexities)]


def _is_perplexity(word: str) -> bool:
    try:
        return 1 <= float(word) < inf
    except ValueError:
        return False


def _share_below(perplexity: float, others: list[float]) -> float:
    """Returns the share of the others that are lower; -1 if there is no other."""
    return sum(other < perplexity for other in others) / len(others) if others else -1.0
