"""The table of counts behind `policy`, counted in chains with random decisions.

`policy_fit` makes it from chains, and `policy_process` computes decisions from it.
"""

from __future__ import annotations

from bisect import bisect_right
from functools import cache, lru_cache
from importlib.resources import files

import msgspec
from msgspec import Struct


class PolicyTable(Struct, frozen=True):
    """Counts of chains with random decisions.

    Attributes:
        by: the kind of score.
        edges: the scores between bins.
        scores: for each bin of the lowest kept score (the last one: no step was kept yet), the steps by bin of their score.
        ends: for each number of judged steps, the chains that ended there and those that came there.
        right: for each bin of the lowest kept score, the right answers and the chains.
        big_tokens: the mean number of tokens of a step of big.
    """

    by: str
    edges: tuple[float, ...]
    scores: tuple[tuple[int, ...], ...]
    ends: tuple[tuple[int, int], ...]
    right: tuple[tuple[int, int], ...]
    big_tokens: float

    def __post_init__(self) -> None:
        bins = self.bins
        if list(self.edges) != sorted(set(self.edges)):
            raise ValueError("edges must rise")
        if len(self.scores) != bins + 1 or any(len(row) != bins for row in self.scores) or len(self.right) != bins + 1 or not self.ends:
            raise ValueError(f"scores and right must have {bins + 1} rows, and each row of scores {bins} counts")
        if self.big_tokens <= 0 or any(count < 0 for row in (*self.scores, *self.ends, *self.right) for count in row):
            raise ValueError("counts must be at least 0, and big_tokens above 0")

    @property
    def bins(self) -> int:
        """The number of bins of a score."""
        return len(self.edges) + 1

    def bin_of(self, score: float) -> int:
        """Returns the bin of a score, from 0 for the lowest ones."""
        return bisect_right(self.edges, score)

    def to_json(self) -> str:
        """Returns the table as JSON."""
        return msgspec.json.encode(self).decode()


@lru_cache(64)
def read_table(text: str) -> PolicyTable:
    """Reads a table from JSON. Raises `ValueError` that names the mistake."""
    try:
        return msgspec.json.decode(text, type=PolicyTable)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f"a policy must be a JSON table of `speculative tune policy`: {error}") from None


@cache
def bundled_table() -> PolicyTable:
    """Returns the table of the bundled pair."""
    return read_table(files("speculative").joinpath("bundled", "policy.json").read_text(encoding="utf-8"))
