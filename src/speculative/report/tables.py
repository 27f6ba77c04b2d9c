"""Tables of the terminal: the usage of a chain, and the comparison of methods."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import ceil, floor, log10
from typing import Any

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.measure import Measurement
from rich.style import Style
from rich.table import Table
from rich.text import Text

from speculative.stats.cost import View
from speculative.trace.usage import Usage, all_roles, big_model_share

STYLES = {
    "big": Style(color="magenta", bold=True),
    "small": Style(color="cyan"),
    "method": Style(color="yellow", italic=True),
    "judge": Style(color="green"),
}
NOTE = Style(dim=True, italic=True)

NUMBERS = ("requests", "prompt_tokens", "cached_tokens", "scored_tokens", "produced_tokens", "kept_tokens", "discarded_tokens")
NONE = "·"
HEADINGS = ("calls", "prompt", "cached", "scored", "produced", "kept", "discarded")


def style_of(author: str) -> Style:
    """Returns the style of an author's text."""
    return STYLES.get(author.partition("/")[0], STYLES["judge"])


def usage_table(usage: Mapping[str, Usage]) -> Table:
    """Returns a table of tokens by role and kind."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, title_justify="left")
    shown = [place for place, name in enumerate(NUMBERS) if name not in ("cached_tokens", "scored_tokens") or all_roles(usage, name)]
    table.add_column("tokens of")
    for place in shown:
        table.add_column(HEADINGS[place], justify="right")
    table.add_column("seconds", justify="right")
    for role, cost in sorted(usage.items()):  # big before small
        numbers = [f"{getattr(cost, NUMBERS[place]):,}" for place in shown]
        table.add_row(Text(role, style_of(role)), *numbers, f"{cost.seconds:.2f}")
    if len(usage) > 1:
        table.add_row(
            "together", *(f"{all_roles(usage, NUMBERS[place]):,}" for place in shown), f"{all_roles(usage, 'seconds'):.2f}", style="bold"
        )
    return table


def shares(usage: Mapping[str, Usage]) -> str:
    """Describes the big model's share of the kept and of the produced tokens."""
    kept, spent = big_model_share(usage, "kept_tokens"), big_model_share(usage, "produced_tokens")
    if kept is None or spent is None:
        return "nothing was kept" if spent is not None else "nothing was produced"
    text = f"big wrote {100 * kept:.0f} % of the chain's tokens"
    return text if round(kept, 2) == round(spent, 2) else f"{text} and {100 * spent:.0f} % of all that were produced"


def comparison(rows: Sequence[Mapping[str, Any]], view: View = "flops") -> list[RenderableType]:
    """Returns tables with a line for each method, and a legend.

    The rows are those of `speculative compare --json`.

    `view` is the price view in which costs of methods are compared.
    """
    tables = (_right(rows), _spent(rows), _busy(rows), _differences(rows, view), *_repeats(rows), _costs(rows))
    return [*(table for table in tables if table.row_count), Text(_legend(rows), NOTE)]


class Label:
    """A method's label.

    It breaks after a bracket, a comma or a star if it is too long for its column.
    """

    def __init__(self, text: str) -> None:
        self.text = text

    def __rich_measure__(self, console: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(min(SHORTEST, len(self.text)), len(self.text))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        indent = " " * (len(self.text) - len(self.text.lstrip()) + 2)
        lines = [""]
        for piece in self._pieces(options.max_width - len(indent)):
            fits = len(lines[-1]) + len(piece.rstrip()) <= options.max_width
            lines = [*lines[:-1], lines[-1] + piece] if fits else [*lines, indent + piece]
        for line in lines:
            yield Text(line, overflow="fold")

    def _pieces(self, width: int) -> list[str]:
        """Splits the label at possible line breaks.

        A name is split only if it is too long for a line.
        """
        whole = BREAK.split(self.text)
        return [part for piece in whole for part in (BREAK_WORD.split(piece) if len(piece) > width else [piece])]


BREAK, BREAK_WORD = re.compile(r"(?<=[(,*])|(?<=\S )"), re.compile(r"(?<=_)")
SHORTEST = 12
"""The smallest number of columns of a label."""


def _method_label(row: Mapping[str, Any]) -> Label:
    """Returns the label of a row, which is short for controls."""
    return Label(row["label"] if row["control_of"] is None else f"  {_control(row)}")


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
            _method_label(row),
            accuracy,
            _interval(row["interval"]),
            str(row["problems"]),
            str(row["chains"]),
            f"{row['seconds']:.2f}",
            speed,
        )
    return table


def _spent(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = _table("length", "big kept", "big spent", "big tokens", "small tokens", "discarded")
    for row in rows:
        usage: Mapping[str, Mapping[str, float]] = row["usage"]
        shares = [NONE if row[part] is None else f"{100 * row[part]:.0f} %" for part in ("share_kept", "share_spent")]
        tokens = [_mean(row, role, "produced_tokens", 0) for role in ("big", "small")]
        discarded = sum(cost["discarded_tokens"] for role, cost in usage.items() if "/" not in role) / row["chains"]
        table.add_row(_method_label(row), f"{row['length']:,.0f}", *shares, *tokens, f"{discarded:,.0f}")
    return table


def _busy(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Returns the seconds of calls to each model, and the judge's prompt tokens."""
    judged = any("judge" in row["usage"] for row in rows)
    table = _table("big s", "small s", *(("judge s", "judge read") if judged else ()))
    for row in rows:
        judge = (_mean(row, "judge", "seconds", 2), _mean(row, "judge", "prompt_tokens", 0)) if judged else ()
        table.add_row(_method_label(row), *(_mean(row, role, "seconds", 2) for role in ("big", "small")), *judge)
    return table


def _mean(row: Mapping[str, Any], role: str, field: str, digits: int) -> str:
    usage = row["usage"]
    return f"{usage[role][field] / row['chains']:,.{digits}f}" if role in usage else NONE


def _differences(rows: Sequence[Mapping[str, Any]], view: View) -> Table:
    """Returns the differences to the baseline and to the controls."""
    known = {row["label"]: _control(row) if row["control_of"] else row["label"] for row in rows}
    table = _table("points", "95 % interval", "p", "here", "big kept", f"{VIEWS[view]} cost")
    for row in rows:
        if row["contrasts"]:
            table.add_row(Label(row["label"]))
        for met in row["contrasts"]:
            kept = " / ".join(NONE if share is None else f"{100 * share:.1f}" for share in met["share_kept"])
            cost = f"{met['costs'][view]:.2f}x" if view in met["costs"] else NONE
            points = f"{100 * met['difference']:+.1f}"
            table.add_row(
                Label(f"  against {known[met['against']]}"),
                points,
                _interval(met["interval"], ""),
                _p(met["p"]),
                _p(met["p_here"]),
                kept,
                cost,
            )
    return table


def _repeats(rows: Sequence[Mapping[str, Any]]) -> list[Table]:
    """Returns pass@k and maj@k with their intervals."""
    ks = sorted({int(k) for row in rows for k in row["pass_at"]})
    each = len(ks) if len(ks) <= MOST_KS else ceil(len(ks) / 2)
    return [_repeated(rows, ks[start : start + each]) for start in range(0, len(ks), each)] if ks else []


MOST_KS = 4


def _repeated(rows: Sequence[Mapping[str, Any]], ks: Sequence[int]) -> Table:
    table = _table("", *(f"@{k}" for k in ks))
    for row in rows:
        for name, found in (("pass", row["pass_at"]), ("maj", row["maj_at"])):
            by = {int(k): made for k, made in found.items()}
            cells = [_estimate(by[k]) if k in by else NONE for k in ks]
            table.add_row(_method_label(row) if name == "pass" else "", name, *cells)
    return table


def _costs(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Returns the costs of 1,000 chains and of 1,000 right answers."""
    units: dict[View, str] = {view: cost["unit"] for row in rows for view, cost in row["costs"].items()}
    views: list[View] = [view for view in VIEWS if view in units]
    table = _table(*(part for view in views for part in (_heading(view, units[view]), "right")))
    for row in rows if views else ():
        cells = [_amount(row["costs"].get(view, {}).get(field)) for view in views for field in ("chain", "right")]
        table.add_row(_method_label(row), *cells)
    return table


VIEWS: dict[View, str] = {"api": "API", "gpu": "device", "flops": "FLOP"}
"""The names of the price views in tables."""


def _heading(view: View, unit: str) -> str:
    return VIEWS[view] if VIEWS[view] == unit else f"{VIEWS[view]}, {unit}"


def _interval(interval: Sequence[float], unit: str = " %") -> str:
    low, high = interval
    return f"{100 * low:.1f} to {100 * high:.1f}{unit}"


def _estimate(found: Mapping[str, float]) -> str:
    return f"{100 * found['value']:.0f} ({100 * found['low']:.0f}-{100 * found['high']:.0f})"


def _p(p: float | None) -> str:
    if p is None:
        return NONE
    return f"{p:.3f}" if p >= 0.001 else "<0.001"


def _amount(amount: float | None) -> str:
    """Returns a thousand times the amount, to three digits."""
    if amount is None:
        return NONE
    amount *= 1000
    power = max((step for step in SCALES if amount >= step), default=1)
    digits = max(0, 2 - floor(log10(amount / power))) if amount else 0
    return f"{amount / power:.{min(digits, 6)}f}{SCALES.get(power, '')}"


SCALES = {1e18: " E", 1e15: " P", 1e12: " T", 1e9: " G", 1e6: " M"}

RIGHT = (
    "seconds: mean wall time of a chain, {concurrency}. speed: big_only's seconds over the method's, if their numbers of concurrent "
    "chains differ at most by a factor of two."
)
SPENT = (
    "length: kept tokens of a chain and its answer; shorter text is not cheaper text. big kept, big spent: the big model's share of the "
    "kept and of the produced tokens. Tokens produced by role, discarded tokens and seconds of calls (big s, small s) are means for a "
    "chain."
)
DIFFERENCES = (
    "points: difference in accuracy on the same problems, in points. p: p-value of no difference on all similar problems; here: on "
    "these problems with other seeds. big kept: of both, in per cent. cost: the method's over the other's."
)
REPEATS = "pass, maj: the chance that one of k tries, or their majority, is right, in per cent with 95 % intervals."
UNLIKE = "Their accuracies cannot be compared; differences are on common problems."
COSTS = "Costs are of 1,000 chains; right: of 1,000 right answers."


def _legend(rows: Sequence[Mapping[str, Any]]) -> str:
    parts = [
        (_idle(rows), True),
        (_degraded(rows), True),
        (_unlike(rows), True),
        (RIGHT.format(concurrency=_concurrency(rows)), True),
        (SPENT, True),
        (DIFFERENCES, any(row["contrasts"] for row in rows)),
        (REPEATS, any(row["pass_at"] for row in rows)),
        (f"{COSTS} {_hardware(rows)}", any(row["costs"] for row in rows)),
    ]
    return " ".join(text for text, needed in parts if text and needed).strip()


def _idle(rows: Sequence[Mapping[str, Any]]) -> str:
    """Names the methods in whose chains a model did nothing."""
    idle = [f"{' and '.join(row['idle_roles'])} in all {row['chains']} chains of {row['label']}" for row in rows if row.get("idle_roles")]
    return f"WARNING: a model did nothing but answer: {'; '.join(idle)}. These figures are not the method's." if idle else ""


def _degraded(rows: Sequence[Mapping[str, Any]]) -> str:
    """Names the methods with chains that lost a server."""
    hit = [f"{row['degraded']} of {row['chains']} chains of {row['label']}" for row in rows if row.get("degraded")]
    return f"A server was lost, and the other model finished {', '.join(hit)}: these figures are not the pair's." if hit else ""


def _concurrency(rows: Sequence[Mapping[str, Any]]) -> str:
    """Describes the mean concurrency of the methods."""
    had = [row["mean_concurrency"] for row in rows]
    few, many = (f"{one:.1f}".removesuffix(".0") for one in (min(had, default=1), max(had, default=1)))
    return f"{few} concurrent" if few == many else f"{few} to {many} concurrent"


def _unlike(rows: Sequence[Mapping[str, Any]]) -> str:
    """Names the methods that ran on other problems."""
    had: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        had.setdefault(row["problem_set"], []).append(row)
    sets = [f"{_problems(alike[0])}: {', '.join(row['label'] for row in alike)}" for alike in had.values()]
    return f"Not on the same problems: {'; '.join(sets)}. {UNLIKE}" if len(sets) > 1 else ""


def _problems(row: Mapping[str, Any]) -> str:
    uneven = " (some more often)" if row["chains"] < row["problems"] * row["epochs"] else ""
    return f"{row['problems']} problem{'s' * (row['problems'] != 1)}{uneven}"


def _hardware(rows: Sequence[Mapping[str, Any]]) -> str:
    """Names the devices that each method occupied."""
    had: dict[str, list[str]] = {}
    for row in rows:
        if "gpu" in row["costs"]:
            devices = ", ".join(f"{name} ({what})" for name, what in row["costs"]["gpu"]["hardware"].items())
            had.setdefault(devices, []).append(row["label"])
    if len(had) < 2:
        return "".join(f"All methods had {devices}." for devices in had)
    return " ".join(f"{', '.join(labels)} had {devices}." for devices, labels in had.items())
