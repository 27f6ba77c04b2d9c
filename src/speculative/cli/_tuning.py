"""Runs, saves and shows what `speculative tune` chooses."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import msgspec
from msgspec import to_builtins
from rich import box
from rich.table import Table

from speculative.cli._errors import note
from speculative.cli._flags import EngineFlags
from speculative.cli._output import open_console, print_whole, write_file, write_json
from speculative.cli._progress import Progress
from speculative.cli._signals import run_interruptible
from speculative.errors import SpeculativeError
from speculative.evaluate.runner import EvalRunner
from speculative.evaluate.tasks import describe_data
from speculative.evaluate.tune.plan import TunePlan, TuningChoice
from speculative.evaluate.tune.selection import MeasuredCandidate
from speculative.evaluate.tune.target import Figures
from speculative.evaluate.tune.tuner import Tuner
from speculative.methods.base import Method
from speculative.methods.preset import MARK, format_preset
from speculative.methods.registry import build, find
from speculative.problem import Problem
from speculative.result import Result
from speculative.runs.folder import RunFolder
from speculative.runs.provenance import provenance

FEW = 10
"""Tuning problems below which a note says that the choice is largely chance."""

LONGEST = 80
"""Characters of a parameter that stands in the preset itself; a longer one gets a file beside it."""


class EnginesNeededError(SpeculativeError):
    """A chain has to be run, and no engine is open yet."""


def run_plan(plan: TunePlan, folder: RunFolder, engines: EngineFlags, chains: int) -> TuningChoice:
    """Runs a plan. Without a chain to run, no engine is opened."""

    async def refuse(problem: Problem, method: Method) -> Result:
        raise EnginesNeededError

    tuner = Tuner(plan, folder)
    try:
        return run_interruptible(tuner.choose(EvalRunner(refuse, lambda _: folder, chains=chains)))
    except EnginesNeededError:
        pass
    pair = engines.open()

    async def work() -> TuningChoice:
        async with pair:
            pair.check(build(plan.method, {**find(plan.method).probe, **plan.params}))
            tasks = {part[0].task: describe_data(part) for part in (plan.tuning,)}
            folder.note(provenance(pair, door="tune", methods=[plan.method], tasks=tasks, settings=engines.specs))
            return await tuner.choose(EvalRunner.on(pair, folder, chains=chains), progress)

    with Progress() as progress:
        return run_interruptible(work())


def save_preset(choice: TuningChoice, plan: TunePlan, path: Path, folder: RunFolder) -> None:
    """Writes the preset of the choice.

    Long parameters that a method can read from files get files of their own.
    """
    assert choice.best
    assert choice.held_out
    assert plan.target
    candidate, kind = choice.best.candidate, find(plan.method)
    values: dict[str, Any] = candidate.spec.method.model_dump(mode="json")
    params = {field: values[field] for field in candidate.params}
    for field in kind.from_files & params.keys():
        if len(str(params[field])) > LONGEST:
            beside = path.with_name(f"{path.stem}.{field}")
            write_file(beside, f"{_with_provenance(params[field], folder)}\n".encode(), f"parameter {field}")
            params[field] = f"{MARK}{beside.name}"
    runs = folder.provenance
    tuned: dict[str, Any] = {
        "target": plan.target.text,
        "tuning_problems": len(plan.tuning),
        "held_out_problems": len(plan.held_out),
        "percentiles": candidate.percentiles or None,
        "tuning": _rounded(choice.best.figures),
        "held_out": _rounded(choice.held_out),
        "command": runs[-1]["command"] if runs else None,
        "at": runs[-1]["at"] if runs else None,
        "engines": {role: str(card["name"]) for role, card in runs[-1]["engines"].items()} if runs else None,
    }
    comments = [
        f"Chosen by `speculative tune` for the target {plan.target.text!r}: `--method @FILE` takes it.",
        f"{len(plan.held_out)} held-out problems: {_line(choice.held_out)}",
        *(f"{field} is percentile {number:g} of the recorded scores" for field, number in candidate.percentiles.items()),
    ]
    write_file(path, format_preset(plan.method, params, tuned, comments).encode(), "preset")


def _with_provenance(text: str, folder: RunFolder) -> str:
    """Adds the command and its versions to a parameter that is a JSON object.

    The method ignores them.
    """
    runs = folder.provenance
    if not text.startswith("{") or not runs:
        return text
    made = {name: runs[-1][name] for name in ("command", "at", "versions", "tasks", "settings") if name in runs[-1]}
    return msgspec.json.encode({**msgspec.json.decode(text, type=dict[str, Any]), "made": made}).decode()


def show_choice(choice: TuningChoice, plan: TunePlan, preset: Path | None, folder: Path, *, json: bool) -> None:
    """Shows the candidates and the choice, as tables or JSON."""
    if json:
        write_json(_as_json(choice, plan, preset, folder))
    else:
        console = open_console()
        best = choice.best.candidate.label if choice.best else ""
        print_whole(console, _table(plan.method, choice, best))
        console.print(
            f"{len(plan.tuning)} tuning problems. pN: a percentile of the recorded scores; points: to big_only. * is the choice.",
            style="dim",
        )
        if choice.held_out and choice.held_out_baseline:
            console.print(f"\n{best} on {len(plan.held_out)} held-out problems:", soft_wrap=True)
            console.print(f"  {_line(choice.held_out)}", soft_wrap=True)
            console.print(f"  big_only: {_solved(choice.held_out_baseline)}")
            if preset:
                console.print(f"preset: --method @{preset}", soft_wrap=True)
    sys.stderr.write(f"samples and traces: {folder} ({choice.run} chains were run, {choice.replayed} taken over)\n")
    if plan.target and len(plan.tuning) < FEW:
        problems = f"{len(plan.tuning)} tuning problem{'s' if len(plan.tuning) > 1 else ''}"
        note(f"with {problems} the choice is largely chance: the interval of the held-out figures says how little is known")
    if plan.target and choice.held_out and plan.target.gap(choice.held_out):
        note(f"the held-out problems miss the bound {plan.target.text!r}; more problems (--limit) choose more reliably")


def _as_json(choice: TuningChoice, plan: TunePlan, preset: Path | None, folder: Path) -> dict[str, Any]:
    best = choice.best
    return {
        "method": plan.method,
        "target": plan.target.text if plan.target else None,
        "met": choice.met if plan.target else None,
        "met_held_out": None if not (plan.target and choice.held_out) else not plan.target.gap(choice.held_out),
        "choice": _candidate(best) if best else None,
        "held_out": to_builtins(choice.held_out),
        "held_out_baseline": to_builtins(choice.held_out_baseline),
        "baseline": to_builtins(choice.baseline),
        "candidates": [_candidate(one) for one in choice.candidates],
        "tuning_problems": len(plan.tuning),
        "held_out_problems": len(plan.held_out),
        "run": choice.run,
        "replayed": choice.replayed,
        "folder": str(folder),
        "preset": str(preset) if preset else None,
    }


def _candidate(one: MeasuredCandidate) -> dict[str, Any]:
    values = one.candidate.spec.method.model_dump(mode="json")
    params = {field: values[field] for field in one.candidate.params}
    return {"label": one.candidate.label, "params": params, "percentiles": one.candidate.percentiles, **to_builtins(one.figures)}


def _table(method: str, choice: TuningChoice, best: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column(method, no_wrap=True)
    for heading in ("scores", "solved", "points", "by big", "big tokens", "cost"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in choice.candidates:
        found = one.figures
        places = ", ".join(f"p{number:g}" for number in one.candidate.percentiles.values())
        chosen = ", ".join(f"{field}={value}" for field, value in one.candidate.chosen.items())
        label = f"{'*' if one.candidate.label == best else ' '} {chosen}"
        table.add_row(label, places or "·", *_cells(found))
    table.add_row("  big_only", "·", *_cells(choice.baseline), style="dim")
    return table


def _cells(found: Figures) -> list[str]:
    points = f"{100 * found.difference:+.1f}"
    cost = "·" if found.relative_cost is None else f"{found.relative_cost:.2f}x"
    return [f"{100 * found.accuracy:.1f} %", points, f"{100 * found.share_kept:.1f} %", f"{found.big_tokens:.0f}", cost]


def _line(found: Figures) -> str:
    low, high = found.difference_interval
    points = f"{100 * found.difference:+.1f} points to big_only ({100 * low:.1f} to {100 * high:.1f})"
    return f"{_solved(found)}, {points}, {100 * found.share_kept:.1f} % of the tokens by big"


def _solved(found: Figures) -> str:
    return f"{100 * found.accuracy:.1f} % solved ({100 * found.interval[0]:.1f} to {100 * found.interval[1]:.1f})"


def _rounded(found: Figures) -> dict[str, Any]:
    values: dict[str, Any] = to_builtins(found)
    return {name: _round(value) for name, value in values.items() if name not in ("cost", "unit")}


def _round(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_round(one) for one in value]  # pyright: ignore[reportUnknownVariableType]
    return round(value, 4) if isinstance(value, float) else value
