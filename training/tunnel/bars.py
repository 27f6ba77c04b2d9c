"""Bars: what the bundled pair was meant to reach, beside what was measured.

python -m training.tunnel.bars training/tunnel/second/shipped.json
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

Figures = Mapping[str, Any]
ANY, MANY = float("-inf"), float("inf")
MISSING = "not measured"
DIGITS = {"tokens": 0, "times": 2, "": 3}


def percent(*shares: float) -> str:
    """Shares as percentages."""
    return " · ".join(f"{100 * share:.1f} %" for share in shares)


class Bar(NamedTuple):
    """A bar: the range that is wanted of a figure, and the figure."""

    name: str
    least: float
    most: float
    figure: Callable[[Figures], float]
    unit: str = "%"

    def row(self, figures: Figures) -> str:
        """A row of the table."""
        unit = f" {self.unit}" if self.unit else ""
        low, high = f"{self.least:g}", f"{self.most:g}"
        wanted = f"at most {high}" if self.least == ANY else f"at least {low}" if self.most == MANY else f"{low} to {high}"
        try:
            value = self.figure(figures) * (100 if self.unit == "%" else 1)
        except KeyError:
            return f"| {self.name} | {wanted}{unit} | {MISSING} | no |"
        said = f"{value:.{DIGITS.get(self.unit, 1)}f}"
        return f"| {self.name} | {wanted}{unit} | {said}{unit} | {'yes' if self.least <= value <= self.most else 'no'} |"


BARS = (
    Bar("tokens of a chain of big, median", 300, MANY, lambda f: f["big"]["tokens_median"], "tokens"),
    Bar("tokens of its longest chain", 1500, 2048, lambda f: f["big"]["tokens_max"], "tokens"),
    Bar("big solves, greedy", 80, 92, lambda f: f["big"]["accuracy"]),
    Bar("small solves, greedy", 35, 50, lambda f: f["small"]["accuracy"]),
    Bar("problems of which big solves 20 to 80 % of 16 tries", 20, MANY, lambda f: f["big_16_tries"]["between_20_and_80"]),
    Bar("steps of small that are right", 70, MANY, lambda f: f["steps"]["share_right"]),
    Bar("errors in the least likely fifth of small's steps", 80, MANY, lambda f: f["entropies"]["errors_in_least_likely_fifth"]),
    Bar("time of a token of big, small's is 1", 10, MANY, lambda f: f["pace"]["ratio"], "times"),
    Bar("weights of all models", ANY, 24, lambda f: f["weights"]["all"], "MB"),
    Bar("`Score: ` of big in one token, AUC", 0.95, 1, lambda f: f["judging"]["big"]["auc"], ""),
    Bar("reward model, AUC", 0.95, 1, lambda f: f["judging"]["reward"]["auc"], ""),
)

ABILITIES: Mapping[str, Callable[[Figures], str]] = {
    "big's log-probability tells small's wrong steps, AUC": lambda f: f"{f['judging']['log_probability_of_big']:.3f}",
    "`Check:` of big after a wrong step: word for word right": lambda f: percent(f["correcting"]["big"]["check_right_after_wrong"]),
    "`Check:` of big after a right step: repeats it": lambda f: percent(f["correcting"]["big"]["check_right_after_right"]),
    "`Wait` of big, unasked: after a wrong · a right step": lambda f: percent(
        f["correcting"]["big"]["wait_after_wrong"], f["correcting"]["big"]["wait_after_right"]
    ),
    "chains rewritten word for word as the recipe does: big · small": lambda f: percent(
        *(f["rewriting"][name]["same"] for name in ("big", "small"))
    ),
    "an answer when cut off is what is known: big · small": lambda f: percent(*(f["closing"][name] for name in ("big", "small"))),
    "going on from the middle of a right chain to the right answer: big · small": lambda f: percent(
        *(f["going_on"][name] for name in ("big", "small"))
    ),
    "a second pass over a right chain, right answer: big · small": lambda f: percent(
        *(f["second_pass"][name]["right"] for name in ("big", "small"))
    ),
    "the same of big, by tokens of the whole context": lambda f: ", ".join(
        f"{span}: {percent(hits)} of {chains}" for span, (hits, chains) in f["second_pass"]["big"]["by_context"].items() if chains
    ),
    "small solves with big's short · medium · long hint": lambda f: percent(*(found["small"] for found in f["hinting"].values())),
    "the asking model asks in so many chains: offload · relay · handoff · advisor": lambda f: percent(
        *(found["asks_at_all"] for found in f["asking"].values())
    ),
    "entropy of small's first token: wrong · right steps": lambda f: " · ".join(
        f"{f['entropies'][which]['first_token_entropy']:.3f}" for which in ("wrong", "right")
    ),
    "confident tokens (above 0.952): wrong · right steps": lambda f: percent(
        *(f["entropies"][which]["confident_tokens"] for which in ("wrong", "right"))
    ),
}
"""Figures of the models' abilities that have no bar of their own."""


def ability(figure: Callable[[Figures], str], figures: Figures) -> str:
    """Return the text of an ability in the table."""
    try:
        return figure(figures)
    except KeyError:
        return MISSING


def table(figures: Figures) -> str:
    """All bars and abilities as Markdown."""
    rows = ["| bar | wanted | measured | reached |", "|---|---|---|---|", *(bar.row(figures) for bar in BARS)]
    rows += ["", "| ability | measured |", "|---|---|"]
    return "\n".join([*rows, *(f"| {name} | {ability(figure, figures)} |" for name, figure in ABILITIES.items())])


if __name__ == "__main__":
    print(table(json.loads(Path(sys.argv[1]).read_text())))
