"""Adds a chunk of the big model after chunks of the small one that surprise it."""

from math import exp
from statistics import fmean
from typing import ClassVar

from pydantic import Field, field_validator

from speculative.chain.chain import Chain
from speculative.methods.base import Method
from speculative.methods.words import split_words


class ChunkGate(Method):
    """Small writes chunks that all stay; big adds one after each that surprises it.

    Big reads each chunk. It adds one where the share of calibration perplexities below the chunk's own reaches `percentile`, so the
    percentile sets how often. Without `calibration` the chunk is held against the earlier ones of the same chain.

    Cost: a draft and a scoring call for each chunk, and a call of big after surprising ones. Nothing is thrown away. After `turns`
    chunks small writes on alone.
    Needs: `score` of big. Source: ATTS (arXiv 2509.15148), whose published code fixes the percentile and ends at any box.
    """

    needs: ClassVar[dict[str, set[str]]] = {"big": {"score"}}

    chunk: int = Field(500, ge=1, description="tokens of a chunk at most, of either model")
    percentile: float = Field(0.6, ge=0, le=1, description="share of calibration perplexities that must be lower for big to add a chunk")
    turns: int = Field(15, ge=1, description="chunks of small that big reads")
    calibration: str = Field("", description="big's perplexities of small's chunks on other problems, with semicolons between them")

    @field_validator("calibration")
    @classmethod
    def _check_numbers(cls, value: str) -> str:
        if any(perplexity < 1 for perplexity in map(float, split_words(value))):
            raise ValueError("a perplexity is at least 1")
        return value

    @property
    def switch_unit(self) -> int:
        return self.chunk

    async def think(self, chain: Chain) -> None:
        known, earlier = [float(word) for word in split_words(self.calibration)], list[float]()
        for _ in range(self.turns):
            if not chain.thinking:
                return
            chunk = await chain.draft("small", max_tokens=self.chunk)
            scores = await chain.score("big", [chunk] if chunk.text else [])
            await chain.accept(chunk)
            if scores and scores[0] and chain.thinking:
                perplexity = exp(min(-fmean(scores[0]), 700.0))
                if self._is_surprising(perplexity, known or earlier):
                    await chain.write("big", max_tokens=self.chunk)
                earlier.append(perplexity)
        await chain.write("small")

    def _is_surprising(self, perplexity: float, others: list[float]) -> bool:
        return bool(others) and sum(other < perplexity for other in others) / len(others) >= self.percentile
