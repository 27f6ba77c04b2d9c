"""`speculative compare`: methods on the bundled problems, side by side."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Group, Parameter
from msgspec import to_builtins

from speculative.cli.comparison_flags import DEFAULT_CONTROLS, DEFAULT_PRICES, ControlFlags, PriceFlags
from speculative.cli.engine_flags import DEFAULT_ENGINES, DEFAULT_PROBLEM, EngineFlags, ProblemFlags, whole
from speculative.cli.errors import note, warn
from speculative.cli.interrupt import interruptible
from speculative.cli.progress import Progress, first_only
from speculative.cli.screen import put_json, put_whole, screen
from speculative.errors import SpeculativeError, UsageError
from speculative.evaluate import problems
from speculative.evaluate.cells import settings_of
from speculative.evaluate.compare import Comparison
from speculative.evaluate.tasks import told_of
from speculative.methods.spec import Contender, contenders
from speculative.report.tables import comparison
from speculative.runs.folder import RunFolder
from speculative.runs.provenance import provenance
from speculative.runs.sample import Sample
from speculative.stats.cost import View
from speculative.stats.summary import summarize
from speculative.trace.trace import Trace

METHODS = "big_only,small_only,placeholder,random_switch,logprob_subselect,spec_rewrite"
OUT = "a folder for samples and traces, each kept as it finishes; the same command again goes on where it stopped"
WORK = Group("Comparison", sort_key=1)
OUTPUT = Group("Output", sort_key=5)


def compare(
    *,
    methods: Annotated[
        str,
        Parameter(
            help="methods with commas between them; parameters in brackets, wrappers before a star: "
            "`random_switch(big_share=0.2),vote(ballots=3)*small_only`",
            group=WORK,
        ),
    ] = METHODS,
    limit: Annotated[int, Parameter(converter=whole, help="so many problems, evenly from all levels; 500 are all", group=WORK)] = 50,
    epochs: Annotated[
        int, Parameter(converter=whole, help="how often each problem is tried; 2, 4, 8 to 64 give pass@k and maj@k", group=WORK)
    ] = 1,
    chains: Annotated[int, Parameter(converter=whole, help="chains at once at most; 1 for the seconds of a chain alone", group=WORK)] = 4,
    set: Annotated[problems.Set, Parameter(help="benchmark, or tuning: those to choose settings on", group=WORK)] = "benchmark",
    prices: PriceFlags = DEFAULT_PRICES,
    control: ControlFlags = DEFAULT_CONTROLS,
    settings: ProblemFlags = DEFAULT_PROBLEM,
    engines: EngineFlags = DEFAULT_ENGINES,
    json: Annotated[bool, Parameter(help="print JSON: a list, an object a method", group=OUTPUT, negative=(), show_default=False)] = False,
    out: Annotated[Path | None, Parameter(help=OUT, group=OUTPUT)] = None,
) -> int:
    """Run methods on the bundled problems, and compare accuracy, tokens and seconds.

    All methods get the same problems with the same seeds, and differences are tested on these.
    An answer is right if its last box holds the right number. docs/statistics.md says what each number is.
    """
    for name, value in (("epochs", epochs), ("chains", chains)):
        if value < 1:
            raise UsageError(f"{name}: {value} is out of range, it must be at least 1")
    rivals = contenders(methods)
    asked = settings.problem("every bundled problem in turn")
    stated = problems.problems(set)
    if limit > len(stated):
        warn(f"--limit {limit}: the set {set} has {len(stated)} problems, all of them are taken")
    spread, prices_of = problems.spread(stated, limit), prices.load(engines)
    progress = Progress()
    with RunFolder(out) if out else nullcontext() as folder:
        if folder:
            folder.admit("stories", [one.id for one in stated])

        def take(sample: Sample, trace: Trace | None) -> Sample:
            progress.advance(sample.label)
            return folder.append(sample, trace) if folder else sample

        def begin(coming: Sequence[Contender], done: Sequence[Sample]) -> None:
            progress.expect([rival.label for rival in coming], len(spread) * epochs, [sample.label for sample in done])

        found = folder.samples if folder else []
        more: dict[str, Any] = {"epochs": epochs, "chains": chains, "found": found, "on_sample": take, "on_round": begin}
        told_settings = settings_of(asked, engines.specs)
        compared = Comparison(spread, asked, told_settings, **more)
        known: dict[str, Any] = {
            "door": "compare",
            "methods": [rival.label for rival in rivals],
            "settings": told_settings,
            "seeds": [settings.seed],
            "tasks": {"stories": told_of(spread) | {"epochs": epochs}},
        }
        pair = engines.open()

        async def work() -> list[str]:
            async with pair:
                if folder:
                    folder.note(provenance(pair, **known))
                await compared.run(pair, rivals)
                return await compared.run_controls(pair, prices_of, control.equal_cost) if control.controls else []

        notes, stopped = _run(work(), progress)
    _show(
        [to_builtins(standing) for standing in summarize(compared.samples, [one.label for one in rivals], prices_of)],
        json,
        control.equal_cost,
    )
    for line in notes:
        note(line)
    if stopped:
        asked_for = {rival.label for rival in rivals}
        first_only(sum(sample.label in asked_for for sample in compared.samples), len(rivals) * len(spread) * epochs)
        raise stopped
    return 0


def _run(work: Coroutine[Any, Any, list[str]], progress: Progress) -> tuple[list[str], SpeculativeError | None]:
    """What could not be had; and what ended it before its time, to be told after what is done is shown."""
    with progress:
        try:
            return interruptible(work), None
        except SpeculativeError as error:
            return [], error


def _show(rows: list[dict[str, Any]], json: bool, view: View) -> None:
    if json:
        put_json(rows)
    elif rows:
        console = screen()
        for part in comparison(rows, view):
            put_whole(console, part)
