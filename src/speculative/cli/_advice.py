"""Chooses methods for a need, from their traits and the measured table."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from rich import box
from rich.console import Console
from rich.table import Table

from speculative.cli._output import print_whole
from speculative.methods.base import Method
from speculative.methods.big_only import BigOnly
from speculative.methods.wrapper import Wrapper

if TYPE_CHECKING:
    from speculative.stats.measured import MeasuredMethod, MeasuredTable

Need = Literal["few big tokens", "low latency", "many users at once", "no training", "closed big model"]

MEANING: dict[Need, str] = {
    "few big tokens": "as accurate as big alone with fewer tokens of big, by their number",
    "low latency": "as accurate as big alone and faster for a lone chain, by the speed",
    "many users at once": "as accurate as big alone with fewer operations for a chain, by their number",
    "no training": "neither model has to be trained for the method",
    "closed big model": "big only replies to questions, or only continues text without probabilities",
}

CONTROLS = ("big_only", "placeholder", "random_switch", "small_only")
"""Methods that no need asks for: others are compared with them."""

NO_GAIN: dict[Need, str] = {
    "few big tokens": "no measured method is as accurate with fewer tokens of big, so big alone (big_only) is best",
    "low latency": "no measured method is as accurate and faster, so big alone (big_only) is best",
    "many users at once": "no measured method is as accurate with fewer operations, so big alone (big_only) is best. The planner says the "
    "same: with 256 chains at once, methods that check steps write at most about half as many tokens a second as big alone on as many "
    "GPUs (`speculative plan all --chains 256`, docs/planner.md)",
}
"""The advice for each measured need that no method meets."""

MEASURED: tuple[Need, ...] = ("few big tokens", "low latency", "many users at once")
"""Needs that the measured table decides; the traits decide the others."""


def _table() -> MeasuredTable:
    """Returns the measured table.

    Its package needs numpy, and the bare list of methods does not.
    """
    from speculative.stats.measured import measured_table

    return measured_table()


def advised(kinds: Sequence[type[Method]], needs: Sequence[Need]) -> list[type[Method]]:
    """Returns the methods that meet all needs, the best ones first.

    The first measured need gives the order.
    """
    found = [kind for kind in kinds if not issubclass(kind, Wrapper) and kind.name() not in CONTROLS]
    found = [kind for kind in found if all(_meets(kind, need) for need in needs)]
    measured: list[Need] = [need for need in needs if need in MEASURED]
    order = measured[0] if measured else MEASURED[0]
    return sorted(found, key=lambda kind: _rank(kind, order))


def describe_advice(kinds: Sequence[type[Method]], needs: Sequence[Need]) -> list[dict[str, Any]]:
    """Returns the advised methods with their traits and figures as plain values.

    The last one is `big_only`, for comparison.
    """
    from msgspec import to_builtins

    found = advised(kinds, needs)
    rows = [(kind, _table().of(kind.name())) for kind in (*found, BigOnly)]
    return [
        {
            "name": kind.name(),
            "advised": kind in found,
            "family": kind.family,
            "summary": kind.summary(),
            "training": kind.training,
            "big": role_of_big(kind),
            "measured": to_builtins(row),
        }
        for kind, row in rows
    ]


def show_advice(console: Console, kinds: Sequence[type[Method]], needs: Sequence[Need]) -> None:
    """Shows the advised methods in a table, and `big_only` beside them."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("method", no_wrap=True, style="bold")
    table.add_column("family", no_wrap=True)
    for heading in ("solved", "by big", "big tokens", "speed", "FLOP"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("big", no_wrap=True)
    found, known = advised(kinds, needs), _table()
    for kind in (*found, BigOnly):
        style = None if kind in found else "dim"
        table.add_row(kind.name(), kind.family, *_cells(known.of(kind.name())), role_of_big(kind), style=style)
    for need in needs:
        console.print(f"{need}: {MEANING[need]}")
    print_whole(console, table)
    lost: list[Need] = [need for need in needs if need in MEASURED and not advised(kinds, [need])]
    for need in lost:
        console.print(f"{need}: {NO_GAIN[need]}.", soft_wrap=True)
    if not found and not lost:
        console.print("No method meets all of these needs.")
    console.print(
        f"Measured on the bundled pair with {known.problems} problems (docs/results.md): big_only solves "
        f"{100 * known.methods[0].accuracy:.0f} %. Other pairs differ: `speculative tune METHOD` measures on your own problems."
    )


def role_of_big(kind: type[Method]) -> str:
    """Returns the abilities that a method needs of big."""
    if needs := sorted(kind.needs.get("big", ())):
        return f"needs {', '.join(needs)}"
    return "replies" if "big" in kind.asks_only else "continues text"


def _meets(kind: type[Method], need: Need) -> bool:
    row = _table().of(kind.name())
    if need == "no training":
        return not kind.training and "judge" not in kind.needs
    if need == "closed big model":
        return not kind.needs.get("big")
    return row is not None and row.is_equal and _gains(row, need)


def _gains(row: MeasuredMethod, need: Need) -> bool:
    """Returns whether a method beats big alone in what a measured need asks for."""
    big = _table().of(BigOnly.name())
    assert big
    if need == "low latency":
        return row.speed is not None and row.speed > (big.speed or 1.0)
    return row.flops < big.flops if need == "many users at once" else row.big_tokens < big.big_tokens


def _rank(kind: type[Method], need: Need) -> tuple[float, ...]:
    """Returns a key that is smaller for better methods.

    Methods that are not as accurate as big alone come last.
    """
    row = _table().of(kind.name())
    if row is None:
        return (2, 0, 0)
    if not row.is_equal:
        return (1, -row.accuracy, row.big_tokens)
    values = {"low latency": -(row.speed or 0.0), "many users at once": row.flops}
    return (0, values.get(need, row.big_tokens), row.big_tokens)


def _cells(row: MeasuredMethod | None) -> list[str]:
    if row is None:
        return ["·"] * 5
    speed = "·" if row.speed is None else f"{row.speed:.2f}x"
    return [f"{100 * row.accuracy:.0f} %", f"{100 * row.share_kept:.0f} %", f"{row.big_tokens:.0f}", speed, f"{row.flops:.2f}x"]
