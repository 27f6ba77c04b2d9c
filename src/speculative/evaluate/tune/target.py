"""Targets of `speculative tune`, and the figures that are held against them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from speculative.errors import UsageError
from speculative.runs.sample import Sample
from speculative.stats.cost import View, costs
from speculative.stats.intervals import accuracy_interval
from speculative.stats.paired import contrast
from speculative.stats.prices import Prices
from speculative.trace.usage import big_model_share, total_usage

DEFAULT = "accuracy within 1 point of big_only"
EXAMPLES = (DEFAULT, "at most 20% big tokens", "at most 50% of the cost of big_only", "at most 0.001 a chain")

Kind = Literal["accuracy", "tokens", "cost", "price"]

NUMBER = r"(\d+(?:\.\d+)?(?:e-?\d+)?)"
PATTERNS: dict[str, Kind] = {
    rf"accuracy within {NUMBER} points? of big_only": "accuracy",
    rf"at most {NUMBER} ?% (?:of )?big tokens": "tokens",
    rf"at most {NUMBER} ?% of the cost of big_only": "cost",
    rf"at most {NUMBER}(?: ([A-Za-z]+))? (?:a|per) chain": "price",
}

TOLERANCE = 1e-9
"""The difference by which rounding may miss a bound."""


class Figures(Struct, frozen=True):
    """The figures of a method on some problems.

    Attributes:
        chains: the number of chains.
        accuracy: the share of right answers.
        interval: its 95 % interval.
        difference: the accuracy less that of `big_only` on the same problems and seeds.
        difference_interval: its 95 % interval.
        share_kept: the big model's share of the kept tokens.
        big_tokens: the mean number of tokens that big produced for a chain.
        cost: the mean cost of a chain in the view of the target; None without a price.
        relative_cost: that cost over the cost of `big_only`.
        unit: the unit of the cost.
    """

    chains: int
    accuracy: float
    interval: tuple[float, float]
    difference: float
    difference_interval: tuple[float, float]
    share_kept: float
    big_tokens: float
    cost: float | None
    relative_cost: float | None
    unit: str


def figures(samples: Sequence[Sample], baseline: Sequence[Sample], view: View, prices: Prices | None = None) -> Figures:
    """Computes the figures of a method's samples beside those of `big_only`."""
    outcomes: dict[str, list[bool]] = {}
    for sample in samples:
        outcomes.setdefault(sample.problem, []).append(sample.correct)
    usage, against = total_usage(sample.usage for sample in samples), contrast(samples, baseline, prices)
    assert against, "a method and its baseline have the same problems"
    own = costs(samples, prices).get(view)
    return Figures(
        chains=len(samples),
        accuracy=sum(sample.correct for sample in samples) / len(samples),
        interval=accuracy_interval(list(outcomes.values())),
        difference=against.difference,
        difference_interval=against.interval,
        share_kept=big_model_share(usage, "kept_tokens") or 0.0,
        big_tokens=usage["big"].produced_tokens / len(samples) if "big" in usage else 0.0,
        cost=own.chain if own else None,
        relative_cost=against.costs.get(view),
        unit=own.unit if own else "",
    )


class Target(Struct, frozen=True):
    """A bound on one figure; the best figure of another kind is looked for within it.

    Within a bound on accuracy it is the smallest share of big's tokens, else the highest accuracy. `unit` is that of a price,
    if it was named.
    """

    text: str
    kind: Kind
    bound: float
    unit: str = ""

    def check_unit(self, unit: str, view: View) -> None:
        """Raises `UsageError` if the target names another unit than the price view has."""
        if self.unit and unit and self.unit.casefold() != unit.casefold():
            raise UsageError(f"a target in {self.unit} must have a price view in it, got --cost {view}, in {unit}; choose another --cost")

    def gap(self, found: Figures) -> float:
        """Returns by how much figures miss the bound; 0 if they keep it."""
        values = {"accuracy": -found.difference, "tokens": found.share_kept, "cost": found.relative_cost, "price": found.cost}
        value = values[self.kind]
        if value is None:
            raise UsageError(f"the target {self.text!r} needs prices of these models; give a file with --prices")
        return max(0.0, value - self.bound) if value > self.bound + TOLERANCE else 0.0

    def rank(self, found: Figures) -> tuple[float, ...]:
        """Returns a key that is smaller for better figures."""
        cost = found.relative_cost or 0.0
        if self.kind == "accuracy":
            return (self.gap(found), found.share_kept, cost)
        return (self.gap(found), -found.accuracy, found.share_kept, cost)


def parse_target(text: str) -> Target:
    """Reads a target. Raises `UsageError` that shows the forms."""
    for pattern, kind in PATTERNS.items():
        if match := re.fullmatch(pattern, " ".join(text.split()), re.IGNORECASE):
            bound = float(match[1])
            unit = (match[2] or "") if kind == "price" else ""
            return Target(text, kind, bound if kind == "price" else bound / 100, unit)
    raise UsageError(f"a target must have one of the forms {', '.join(map(repr, EXAMPLES))}, got {text!r}")
