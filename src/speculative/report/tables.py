"""The tables: what a chain cost by role and fate, and how methods compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import floor, log10
from typing import Any

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from speculative.report.lines import NOTE, style_of
from speculative.stats.cost import View
from speculative.trace.usage import Usage, all_roles, big_model_share

NUMBERS = ("requests", "prompt_tokens", "cached_tokens", "scored_tokens", "produced_tokens", "kept_tokens", "discarded_tokens")
NONE = "·"
HEADINGS = ("calls", "prompt", "cached", "scored", "produced", "kept", "discarded")


def usage_table(usage: Mapping[str, Usage]) -> Table:
    """Tokens by role and fate. A column of zeros that says nothing is left out."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title_justify="left")
    shown = [place for place, name in enumerate(NUMBERS) if name not in ("cached_tokens", "scored_tokens") or all_roles(usage, name)]
    table.add_column("tokens of")
    for place in shown:
        table.add_column(HEADINGS[place], justify="right")
    table.add_column("seconds", justify="right")
    for role, cost in sorted(usage.items()):  # which puts big before small, whoever began
        numbers = [f"{getattr(cost, NUMBERS[place]):,}" for place in shown]
        table.add_row(Text(role, style_of(role)), *numbers, f"{cost.seconds:.2f}")
    if len(usage) > 1:
        table.add_row(
            "together", *(f"{all_roles(usage, NUMBERS[place]):,}" for place in shown), f"{all_roles(usage, 'seconds'):.2f}", style="bold"
        )
    return table


def shares(usage: Mapping[str, Usage]) -> str:
    """The share of the big model in what was kept and in what was produced, in words."""
    kept, spent = big_model_share(usage, "kept_tokens"), big_model_share(usage, "produced_tokens")
    if kept is None or spent is None:
        return "nothing was kept" if spent is not None else "nothing was produced"
    told = f"big wrote {100 * kept:.0f} % of the chain's tokens"
    return told if round(kept, 2) == round(spent, 2) else f"{told} and {100 * spent:.0f} % of all that were produced"


def comparison(rows: Sequence[Mapping[str, Any]], view: View = "flops") -> list[RenderableType]:
    """Tables with a line for each method, and what their columns mean; the rows are those of `speculative compare --json`.

    `view`: the one in which the costs of methods are held against each other.
    """
    tables = (_right(rows), _spent(rows), _differences(rows, view), _repeats(rows), _costs(rows))
    return [*(table for table in tables if table.row_count), Text(_legend(rows), NOTE)]


def _named(row: Mapping[str, Any]) -> Text:
    """The method of a row; of a control only what it is, for it stands below what it is a control of."""
    return Text(row["label"] if row["control_of"] is None else f"  {_control(row)}")


def _control(row: Mapping[str, Any]) -> str:
    params = row["params"]
    if "vote" in params:
        return f"vote of {params['vote']['ballots']} small"
    return f"random_switch {params['big_share']:g}"


def _table(*headings: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("method", overflow="fold", min_width=12)
    for heading in headings:
        table.add_column(heading, justify="right", no_wrap=True)
    return table


def _right(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = _table("accuracy", "95 % interval", "problems", "chains", "seconds", "speed")
    for row in rows:
        speed = NONE if row["speed"] is None else f"{row['speed']:.2f}x"
        accuracy = f"{100 * row['accuracy']:.1f} %"
        table.add_row(
            _named(row), accuracy, _interval(row["interval"]), str(row["problems"]), str(row["chains"]), f"{row['seconds']:.2f}", speed
        )
    return table


def _spent(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = _table("big kept", "big spent", "big tokens", "small tokens", "big s", "small s")
    for row in rows:
        usage: Mapping[str, Mapping[str, float]] = row["usage"]

        def mean(role: str, field: str, digits: int, of: Mapping[str, Mapping[str, float]] = usage, chains: int = row["chains"]) -> str:
            return f"{of[role][field] / chains:,.{digits}f}" if role in of else NONE

        shares = [NONE if row[part] is None else f"{100 * row[part]:.0f} %" for part in ("share_kept", "share_spent")]
        tokens = [mean(role, "produced_tokens", 0) for role in ("big", "small")]
        table.add_row(_named(row), *shares, *tokens, *(mean(role, "seconds", 2) for role in ("big", "small")))
    return table


def _differences(rows: Sequence[Mapping[str, Any]], view: View) -> Table:
    """Each method against the baseline and its controls, on the problems that both have."""
    known = {row["label"]: _control(row) if row["control_of"] else row["label"] for row in rows}
    table = _table("points", "95 % interval", "p", "big kept", f"{VIEWS[view]} cost")
    for row in rows:
        if row["contrasts"]:
            table.add_row(Text(row["label"]))
        for met in row["contrasts"]:
            kept = " / ".join(NONE if share is None else f"{100 * share:.1f}" for share in met["share_kept"])
            cost = f"{met['costs'][view]:.2f}x" if view in met["costs"] else NONE
            points = f"{100 * met['difference']:+.1f}"
            table.add_row(Text(f"  against {known[met['against']]}"), points, _interval(met["interval"], ""), _p(met["p"]), kept, cost)
    return table


def _repeats(rows: Sequence[Mapping[str, Any]]) -> Table:
    """pass@k and maj@k, in per cent with their intervals."""
    ks = sorted({int(k) for row in rows for k in row["pass_at"]})
    table = _table("", *(f"@{k}" for k in ks))
    for row in rows if ks else ():
        for name, found in (("pass", row["pass_at"]), ("maj", row["maj_at"])):
            by = {int(k): made for k, made in found.items()}
            cells = [_estimate(by[k]) if k in by else NONE for k in ks]
            table.add_row(_named(row) if name == "pass" else "", name, *cells)
    return table


def _costs(rows: Sequence[Mapping[str, Any]]) -> Table:
    """What 1,000 chains cost, and 1,000 right answers."""
    units: dict[View, str] = {view: cost["unit"] for row in rows for view, cost in row["costs"].items()}
    views: list[View] = [view for view in VIEWS if view in units]
    table = _table(*(part for view in views for part in (_heading(view, units[view]), "a right one")))
    for row in rows if views else ():
        cells = [_amount(row["costs"].get(view, {}).get(field)) for view in views for field in ("chain", "right")]
        table.add_row(_named(row), *cells)
    return table


VIEWS: dict[View, str] = {"api": "API", "gpu": "device", "flops": "FLOP"}
"""How the tables call the price views."""


def _heading(view: View, unit: str) -> str:
    return VIEWS[view] if VIEWS[view] == unit else f"{VIEWS[view]}, {unit}"


def _interval(interval: Sequence[float], unit: str = " %") -> str:
    low, high = interval
    return f"{100 * low:.1f} to {100 * high:.1f}{unit}"


def _estimate(found: Mapping[str, float]) -> str:
    return f"{100 * found['value']:.0f} ({100 * found['low']:.0f}-{100 * found['high']:.0f})"


def _p(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else "<0.001"


def _amount(amount: float | None) -> str:
    """What a thousand of them are, to three digits."""
    if amount is None:
        return NONE
    amount *= 1000
    power = max((step for step in SCALES if amount >= step), default=1)
    digits = max(0, 2 - floor(log10(amount / power))) if amount else 0
    return f"{amount / power:.{min(digits, 6)}f}{SCALES.get(power, '')}"


SCALES = {1e18: " E", 1e15: " P", 1e12: " T", 1e9: " G", 1e6: " M"}

RIGHT = (
    "seconds: wall time of a chain, the mean, {crowd}. speed: against big_only, unless one of them had to share the engines with more "
    "than twice as many."
)
SPENT = (
    "big kept, big spent: the big model's share of the tokens of the chains, and of all that were produced. Tokens produced and "
    "seconds of calls, by role: for a chain, the mean."
)
DIFFERENCES = (
    "points: right answers in a hundred more than what it is held against, on the same problems; p: by the exact sign-flip test over "
    "problems. big kept: in per cent, of both. cost: of the method over the other's."
)
REPEATS = "pass, maj: the chance that one of k tries, or their majority, is right, in per cent with 95 % intervals."
UNLIKE = "Their accuracies cannot be compared; differences are on the problems that both have."
COSTS = "Costs are of 1,000 chains, and of 1,000 right answers."


def _legend(rows: Sequence[Mapping[str, Any]]) -> str:
    told = [
        (_degraded(rows), True),
        (_unlike(rows), True),
        (RIGHT.format(crowd=_crowd(rows)), True),
        (SPENT, True),
        (DIFFERENCES, any(row["contrasts"] for row in rows)),
        (REPEATS, any(row["pass_at"] for row in rows)),
        (f"{COSTS} {_hardware(rows)}", any(row["costs"] for row in rows)),
    ]
    return " ".join(text for text, needed in told if text and needed).strip()


def _degraded(rows: Sequence[Mapping[str, Any]]) -> str:
    """Which figures are not the method's alone."""
    hit = [f"{row['degraded']} of {row['chains']} chains of {row['label']}" for row in rows if row.get("degraded")]
    return f"A server was lost, and the other model finished {', '.join(hit)}: these figures are not the pair's." if hit else ""


def _crowd(rows: Sequence[Mapping[str, Any]]) -> str:
    """How many chains shared the engines."""
    had = [row["at_once"] for row in rows]
    few, many = (f"{one:.1f}".removesuffix(".0") for one in (min(had, default=1), max(had, default=1)))
    return f"of {few} at once" if few == many else f"of {few} to {many} at once"


def _unlike(rows: Sequence[Mapping[str, Any]]) -> str:
    """Which figures are not on the same problems."""
    had: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        had.setdefault(row["problem_set"], []).append(row)
    told = [f"{_problems(alike[0])}: {', '.join(row['label'] for row in alike)}" for alike in had.values()]
    return f"Not on the same problems: {'; '.join(told)}. {UNLIKE}" if len(told) > 1 else ""


def _problems(row: Mapping[str, Any]) -> str:
    uneven = " (some more often)" if row["chains"] < row["problems"] * row["epochs"] else ""
    return f"{row['problems']} problem{'s' * (row['problems'] != 1)}{uneven}"


def _hardware(rows: Sequence[Mapping[str, Any]]) -> str:
    """Which devices each method occupied."""
    had: dict[str, list[str]] = {}
    for row in rows:
        if "gpu" in row["costs"]:
            devices = ", ".join(f"{name} ({what})" for name, what in row["costs"]["gpu"]["hardware"].items())
            had.setdefault(devices, []).append(row["label"])
    if len(had) < 2:
        return "".join(f"All methods had {devices}." for devices in had)
    return " ".join(f"{', '.join(labels)} had {devices}." for devices, labels in had.items())
