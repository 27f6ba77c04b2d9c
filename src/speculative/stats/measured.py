"""The measured table of the methods on the bundled pair.

`scripts/measured.py` measures it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files

import msgspec
from msgspec import Struct

from speculative.stats.summary import BASELINE, MethodSummary
from speculative.trace.usage import all_roles

EQUAL = -0.01
"""The smallest difference to `big_only` of a method that is as accurate."""


class MeasuredMethod(Struct, frozen=True):
    """The figures of one method.

    Attributes:
        method: the method's name.
        label: the method with its parameters.
        accuracy: the share of right answers.
        difference: the accuracy less that of `big_only`.
        interval: the 95 % interval of the difference.
        share_kept: the big model's share of the kept tokens.
        big_tokens: the mean number of tokens that big produced for a chain.
        discarded_tokens: the mean number of tokens that were thrown away.
        flops: the operations of a chain over those of `big_only`.
        speed: the seconds of `big_only` over those of the method.
    """

    method: str
    label: str
    accuracy: float
    difference: float
    interval: tuple[float, float]
    share_kept: float
    big_tokens: float
    discarded_tokens: float
    flops: float
    speed: float | None

    @property
    def is_equal(self) -> bool:
        """True if it is as accurate as `big_only`, within one point."""
        return self.difference >= EQUAL - 1e-9


class MeasuredTable(Struct, frozen=True):
    """The figures of all methods, and the command that measured them."""

    command: str
    problems: int
    concurrency: float
    methods: tuple[MeasuredMethod, ...]

    def of(self, method: str) -> MeasuredMethod | None:
        """Returns the figures of a method, or None."""
        return next((one for one in self.methods if one.method == method), None)


@cache
def measured_table() -> MeasuredTable:
    """Returns the table that ships with the library."""
    return msgspec.json.decode(files("speculative").joinpath("bundled", "measured.json").read_bytes(), type=MeasuredTable)


def measure_table(command: str, rows: Sequence[MethodSummary]) -> MeasuredTable:
    """Computes the table from the summaries of one run. Controls are left out."""
    kept = [row for row in rows if not row.control_of]
    return MeasuredTable(
        command=command,
        problems=max(row.problems for row in kept),
        concurrency=max(row.mean_concurrency for row in kept),
        methods=tuple(_measured(row) for row in kept),
    )


def _measured(row: MethodSummary) -> MeasuredMethod:
    against = next((one for one in row.contrasts if one.against == BASELINE), None)
    own = row.method == BASELINE
    return MeasuredMethod(
        method=row.method,
        label=row.label,
        accuracy=row.accuracy,
        difference=round(against.difference, 4) if against else 0.0,
        interval=tuple(round(end, 4) for end in (against.interval if against else (0.0, 0.0))),  # pyright: ignore[reportArgumentType]
        share_kept=round(row.share_kept or 0.0, 4),
        big_tokens=round(row.usage["big"].produced_tokens / row.chains, 1) if "big" in row.usage else 0.0,
        discarded_tokens=round(all_roles(row.usage, "discarded_tokens") / row.chains, 1),
        flops=1.0 if own else round(against.costs.get("flops", 0.0), 3) if against else 0.0,
        speed=1.0 if own else None if row.speed is None else round(row.speed, 2),
    )
