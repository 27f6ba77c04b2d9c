"""Tells what chains would cost on hardware with a profile, for several commands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Group, Parameter
from msgspec import to_builtins
from rich.table import Column, Table

from speculative.cli._errors import note
from speculative.cli._output import open_console
from speculative.errors import SpeculativeError, UsageError
from speculative.plan.forecast import Forecast, Scenario, check_scenario, forecasts
from speculative.plan.layout import LAYOUTS, find_layout
from speculative.plan.profile import Profile, load_profile
from speculative.plan.programs import PROGRAMS, Drawn
from speculative.plan.recorded import RecordedChain
from speculative.report.hardware import HardwareCard, per_gpu_hour

if TYPE_CHECKING:
    from speculative.runs.folder import Run
    from speculative.runs.sample import Sample

HARDWARE = Group("Hardware", sort_key=3)
LOADS = (1, 16, 64, 256)
"""Chains that begin at once, of each forecast. With 1 they run one after another."""
PARTS_SHOWN = 2
"""Parts of the time in the table, the largest ones."""
TABLE_WIDTH = 200
"""The smallest width of the table in columns."""
Key = tuple[str, str]
"""A task and a method's label."""


@Parameter(name="*")
@dataclass(frozen=True)
class HardwareFlags:
    """Holds the hardware on which chains are priced."""

    profile: Annotated[
        str | None,
        Parameter(
            help="also say what these chains would cost on other hardware: a file of `speculative profile`, or a shipped profile",
            group=HARDWARE,
        ),
    ] = None
    layout: Annotated[str, Parameter(help=f"the layout of its servers ({', '.join(LAYOUTS)}), as `plan` names them", group=HARDWARE)] = "c"
    gpu_hour: Annotated[float | None, Parameter(help="the price of an hour of one of its GPUs", group=HARDWARE)] = None

    def load(self) -> Profile | None:
        """Loads the profile, or returns None without one. Raises `UsageError`."""
        find_layout(self.layout)
        check_price(self.gpu_hour)
        return load_profile(self.profile) if self.profile else None

    def price(self, chains: Mapping[Key, Sequence[RecordedChain]]) -> dict[Key, list[Forecast]]:
        """Replays recorded chains at several loads.

        Methods that the hardware cannot run are left out with a note.
        """
        profile, found, judged = self.load(), dict[Key, list[Forecast]](), False
        for key, recorded in chains.items() if profile else ():
            assert profile
            try:
                loads = [check_scenario(Scenario(key[1], self.layout, load, Drawn(), tuple(recorded))) for load in LOADS]
                found[key] = forecasts(profile, loads, hour=self.gpu_hour)
                judged = judged or has_judge(found[key])
            except UsageError as error:
                note(f"not priced: {error}")
        if profile and judged:
            note(judge_rule(profile))
        return found

    def card(self) -> HardwareCard | None:
        """Describes the hardware, or returns None without a profile."""
        profile = self.load()
        return HardwareCard.of(profile, self.profile or "", self.layout, self.gpu_hour) if profile else None

    def draw(self) -> list[Forecast]:
        """Forecasts the methods whose chains can be drawn."""
        profile = self.load()
        found = [Scenario(name, self.layout, load, Drawn(length=1000)) for name in PROGRAMS for load in (LOADS if profile else ())]
        return forecasts(profile, [check_scenario(one) for one in found], hour=self.gpu_hour) if profile else []


DEFAULT_HARDWARE = HardwareFlags()


def recorded_chains(samples: Iterable[tuple[Sample, Run]]) -> dict[Key, list[RecordedChain]]:
    """Reads the chains of samples from their run folders.

    Those without a readable trace are left out.
    """
    found: list[tuple[Sample, RecordedChain]] = []
    for sample, run in samples:
        with suppress(SpeculativeError):
            if trace := run.trace(sample):
                found.append((sample, RecordedChain.of(trace)))
    return group_chains(found)


def group_chains(found: Iterable[tuple[Sample, RecordedChain]]) -> dict[Key, list[RecordedChain]]:
    """Groups chains by task and method, sorted by problem and try."""
    chains: dict[Key, list[RecordedChain]] = {}
    for sample, chain in sorted(found, key=lambda one: (one[0].problem, one[0].epoch)):
        if chain.calls:
            chains.setdefault((sample.task, sample.label), []).append(chain)
    return chains


def with_prices(
    rows: Sequence[dict[str, Any]], priced: Mapping[Key, Sequence[Forecast]], card: HardwareCard | None
) -> list[dict[str, Any]]:
    """Returns the rows of methods with their forecasts and the hardware of these."""
    told: list[dict[str, Any]] = []
    for row in rows:
        found = priced.get((row["task"], row["label"]))
        forecasted = [to_builtins(one) | {"chains_per_gpu_hour": per_gpu_hour(one)} for one in found or ()]
        own = card.placed_as(found[0].layout) if card and found else card
        told.append(row | ({"hardware": to_builtins(own), "on_hardware": forecasted} if forecasted else {}))
    return told


def has_judge(found: Iterable[Forecast]) -> bool:
    """Returns whether a forecast has a server for a judge."""
    return any("judge" in find_layout(one.layout).roles for one in found)


def judge_rule(profile: Profile) -> str:
    """Returns the rule by which a judge is priced."""
    costs = "with the profile's costs of a judge" if profile.judge else "as a server like big's"
    return f"the judge is priced {costs} on a GPU of its own" + ("" if profile.judge else "; add `judge` to the profile for its own costs")


def show_prices(flags: HardwareFlags, priced: Mapping[Key, Sequence[Forecast]]) -> None:
    """Shows forecasts of recorded chains, task by task."""
    for task in dict.fromkeys(task for task, _ in priced):
        note(f"{task}: predicted for these chains on the hardware of profile {flags.profile}, layout {flags.layout}")
        show_forecasts([one for (name, _), found in priced.items() if name == task for one in found])


def show_forecasts(found: Sequence[Forecast]) -> None:
    """Shows forecasts in a table."""
    columns = [
        Column(name, justify="right", no_wrap=True)
        for name in ("chains", "latency", "5% to 95%", "tokens/s", "against big", "GPU s a chain")
    ]
    priced = any(one.money is not None for one in found)
    table = Table(
        "layout",
        Column("method", no_wrap=True),
        *columns,
        *([Column("money a chain", justify="right", no_wrap=True)] if priced else []),
        Column("most of the time", no_wrap=True),
    )
    table.box, table.pad_edge = None, False
    for one in found:
        ratio = f"{one.against_big:.2f}" if one.against_big is not None else ""
        spread = f"{_shorten(one.fast_s)} to {_shorten(one.slow_s)}" if one.slow_s > one.fast_s else ""
        cells = [f"{one.chains}", f"{_shorten(one.latency_s)} s", spread, _shorten(one.tokens_s), ratio, _shorten(one.gpu_s)]
        cells += [f"{one.money:.3g}"] if one.money is not None else []
        shown = ", ".join(f"{name} {share:.0%}" for name, share in list(one.spent.items())[:PARTS_SHOWN])
        table.add_row(one.layout, one.method, *cells, shown)
    console = open_console()
    console.width = max(console.width, TABLE_WIDTH)
    console.print(table, crop=False)


def _shorten(value: float) -> str:
    """Returns a number with four digits, or all of them before the point."""
    return f"{value:.0f}" if value >= 1000 else f"{value:.4g}"


def check_price(hour: float | None) -> None:
    """Raises `UsageError` for a price of an hour that is out of range."""
    if hour is not None and not 0 <= hour < 1e6:
        raise UsageError(f"--gpu-hour must be at least 0, got {hour:g}")
