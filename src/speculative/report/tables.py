"""The tables: what a chain cost by role and fate, and how methods compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from speculative.problem import Usage
from speculative.report.lines import NOTE, style_of
from speculative.tally import share, summed

NUMBERS = ("requests", "prompt_tokens", "cached_tokens", "scored_tokens", "produced_tokens", "kept_tokens", "discarded_tokens")
NONE = "·"
HEADINGS = ("calls", "prompt", "cached", "scored", "produced", "kept", "discarded")


def usage_table(usage: Mapping[str, Usage]) -> Table:
    """Tokens by role and fate. A column of zeros that says nothing is left out."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title_justify="left")
    shown = [place for place, name in enumerate(NUMBERS) if name not in ("cached_tokens", "scored_tokens") or summed(usage, name)]
    table.add_column("tokens of")
    for place in shown:
        table.add_column(HEADINGS[place], justify="right")
    table.add_column("seconds", justify="right")
    for role, cost in sorted(usage.items()):  # which puts big before small, whoever began
        numbers = [f"{getattr(cost, NUMBERS[place]):,}" for place in shown]
        table.add_row(Text(role, style_of(role)), *numbers, f"{cost.seconds:.2f}")
    if len(usage) > 1:
        table.add_row(
            "together", *(f"{summed(usage, NUMBERS[place]):,}" for place in shown), f"{summed(usage, 'seconds'):.2f}", style="bold"
        )
    return table


def shares(usage: Mapping[str, Usage]) -> str:
    """The share of the big model in what was kept and in what was produced, in words."""
    kept, spent = share(usage, "kept_tokens"), share(usage, "produced_tokens")
    if kept is None or spent is None:
        return "nothing was kept" if spent is not None else "nothing was produced"
    told = f"big wrote {100 * kept:.0f} % of the chain's tokens"
    return told if round(kept, 2) == round(spent, 2) else f"{told} and {100 * spent:.0f} % of all that were produced"


def comparison(rows: Sequence[Mapping[str, Any]]) -> list[RenderableType]:
    """Two tables with one line a method each, and what their columns mean; the rows are those of `speculative compare --json`."""
    right, spent = _methods_table(*RIGHT), _methods_table(*SPENT)
    for row in rows:
        right.add_row(Text(row["label"]), *_right(row))
        spent.add_row(Text(row["label"]), *_spent(row))
    return [right, spent, Text(LEGEND, NOTE)]


RIGHT = ("accuracy", "95 % interval", "problems", "chains", "seconds", "speed")
SPENT = ("big kept", "big spent", "big tokens", "small tokens", "big s", "small s")
LEGEND = (
    "seconds: wall time of a chain, the mean. speed: against big_only. big kept, big spent: the big model's share of the tokens of "
    "the chains, and of all that were produced. Tokens produced and seconds of calls, by role: for a chain, the mean."
)


def _methods_table(*headings: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("method", overflow="fold", min_width=12)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _right(row: Mapping[str, Any]) -> list[str]:
    low, high = row["interval"]
    speed = NONE if row["speed"] is None else f"{row['speed']:.2f}x"
    interval = f"{100 * low:.1f} to {100 * high:.1f} %"
    return [f"{100 * row['accuracy']:.1f} %", interval, str(row["problems"]), str(row["chains"]), f"{row['seconds']:.2f}", speed]


def _spent(row: Mapping[str, Any]) -> list[str]:
    usage: Mapping[str, Mapping[str, float]] = row["usage"]

    def mean(role: str, field: str, digits: int) -> str:
        return f"{usage[role][field] / row['chains']:,.{digits}f}" if role in usage else NONE

    shares = [NONE if row[part] is None else f"{100 * row[part]:.0f} %" for part in ("share_kept", "share_spent")]
    tokens = [mean(role, "produced_tokens", 0) for role in ("big", "small")]
    return [*shares, *tokens, *(mean(role, "seconds", 2) for role in ("big", "small"))]
