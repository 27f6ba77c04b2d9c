"""`speculative plan`: predicts methods at loads, on hardware with a profile."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Group, Parameter

from speculative.cli._errors import note
from speculative.cli._flags import parse_count
from speculative.cli._hardware import HARDWARE, check_price, has_judge, judge_rule, show_forecasts
from speculative.cli._output import write_json
from speculative.cli._progress import count_progress
from speculative.errors import UsageError
from speculative.plan.forecast import MAX_CHAINS, Scenario, check_scenario, forecasts
from speculative.plan.layout import LAYOUTS, find_layout
from speculative.plan.profile import load_profile
from speculative.plan.programs import PROGRAMS, Drawn
from speculative.plan.recorded import chains_of, read_chains

CHAINS = Group("Chains", sort_key=1)


def plan(
    method: Annotated[
        str, Parameter(help=f"a method, or `all`: {', '.join(PROGRAMS)}; with --trace any method that is recorded there")
    ] = "all",
    /,
    *,
    profile: Annotated[str, Parameter(help="a file of `speculative profile`, or the name of a shipped profile", group=HARDWARE)] = (
        "h200-32b-1.5b"
    ),
    layout: Annotated[
        tuple[str, ...],
        Parameter(help="; ".join(f"{name}: {one.about}" for name, one in LAYOUTS.items()), group=HARDWARE, negative=(), show_default=False),
    ] = ("c",),
    gpu_hour: Annotated[float | None, Parameter(help="the price of an hour of one GPU, for costs", group=HARDWARE)] = None,
    chains: Annotated[
        tuple[int, ...],
        Parameter(
            help="chains that begin at once; may be repeated [default: 1, 16, 64, 256]", group=CHAINS, negative=(), show_default=False
        ),
    ] = (1, 16, 64, 256),
    trace: Annotated[
        Path | None, Parameter(help="a trace, or a folder of traces, to replay in place of drawn chains", group=CHAINS)
    ] = None,
    acceptance: Annotated[float, Parameter(help="share of steps that are kept", group=CHAINS)] = Drawn().acceptance,
    step: Annotated[int, Parameter(converter=parse_count, help="tokens of a step", group=CHAINS)] = Drawn().step,
    length: Annotated[int, Parameter(converter=parse_count, help="tokens of a chain", group=CHAINS)] = Drawn().length,
    prompt: Annotated[int, Parameter(converter=parse_count, help="tokens of a problem", group=CHAINS)] = Drawn().prompt,
    big_share: Annotated[float, Parameter(help="big's share of the chunks of random_switch", group=CHAINS)] = Drawn().big_share,
    json: Annotated[bool, Parameter(help="print JSON", negative=(), show_default=False)] = False,
) -> int:
    """Predict methods at several loads: latency, tokens a second, GPU time, money.

    Chains run on a virtual clock with the costs of a profile. Each method is held against big alone on as many GPUs. Predictions are held
    against measured runs in docs/planner.md.
    """
    costs = load_profile(profile)
    for name, value in (("acceptance", acceptance), ("big-share", big_share)):
        if not 0 <= value <= 1:
            raise UsageError(f"--{name} must be from 0 to 1, got {value:g}")
    check_price(gpu_hour)
    if (wrong := next((count for count in chains if not 1 <= count <= MAX_CHAINS), None)) is not None:
        raise UsageError(f"--chains must be from 1 to {MAX_CHAINS}, got {wrong}")
    for name in layout:
        find_layout(name)
    drawn = Drawn(length, step, acceptance, prompt, big_share=big_share)
    scenarios = [check_scenario(one) for name in layout for count in chains for one in _scenarios(method, name, count, drawn, trace)]
    heavy = sum(scenario.chains * scenario.drawn.length for scenario in scenarios) > 2_000_000
    with count_progress("simulations", len(scenarios)) as advance:
        found = forecasts(costs, scenarios, hour=gpu_hour, processes=os.cpu_count() or 1 if heavy else 1, tell=advance)
    if has_judge(found):
        note(judge_rule(costs))
    if json:
        write_json([msgspec.to_builtins(one) for one in found])
    else:
        show_forecasts(found)
    return 0


def _scenarios(method: str, layout: str, count: int, drawn: Drawn, trace: Path | None) -> list[Scenario]:
    if trace is None:
        names = list(PROGRAMS) if method == "all" else [method]
        found = [Scenario(name, layout, count, drawn) for name in names]
    else:
        recorded = chains_of(read_chains(trace), method, trace)
        names = sorted({chain.method for chain in recorded})
        found = [Scenario(name, layout, count, drawn, tuple(chain for chain in recorded if chain.method == name)) for name in names]
    return [scenario for scenario in found if _served(scenario, method)]


def _served(scenario: Scenario, method: str) -> bool:
    """Returns False for a method of `all` that the layout has no servers for."""
    try:
        check_scenario(scenario)
    except UsageError:
        if method == "all":
            return False
        raise
    return True
