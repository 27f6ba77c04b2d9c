"""`speculative compare`: methods on the bundled problems, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Group, Parameter

from speculative.cli._errors import warn
from speculative.cli._evaluation import OUTPUT, JsonFlag, check_finished, run_schedule, show
from speculative.cli._flags import (
    DEFAULT_CONTROLS,
    DEFAULT_ENGINES,
    DEFAULT_PRICES,
    DEFAULT_PROBLEM,
    ControlFlags,
    EngineFlags,
    PriceFlags,
    ProblemFlags,
    parse_count,
)
from speculative.cli._hardware import DEFAULT_HARDWARE, HardwareFlags, Key, group_chains, recorded_chains, show_prices
from speculative.evaluate import problems
from speculative.evaluate.runner import ControlSchedule, EvalCell, MemoryStore
from speculative.evaluate.tasks import TASKS, describe_data
from speculative.methods.spec import parse_methods
from speculative.pair import Pair
from speculative.plan.forecast import Forecast
from speculative.plan.recorded import RecordedChain
from speculative.runs.folder import RunFolder
from speculative.runs.sample import Sample
from speculative.trace.trace import Trace

METHODS = "big_only,small_only,placeholder,random_switch,logprob_subselect,spec_rewrite"
METHODS_HELP = (
    "methods, separated by commas; parameters in brackets, wrappers before a star: "
    "`random_switch(big_share=0.2),vote(ballots=3)*small_only`; @FILE is a preset"
)
OUT = "folder for samples and traces, each kept as it finishes; the same command continues an interrupted run"
WORK = Group("Comparison", sort_key=1)


def compare(
    *,
    methods: Annotated[str, Parameter(help=METHODS_HELP, group=WORK)] = METHODS,
    limit: Annotated[int, Parameter(converter=parse_count, help="number of problems, spread over the levels (all: 500)", group=WORK)] = 50,
    epochs: Annotated[
        int, Parameter(converter=parse_count, help="number of tries of each problem; 2, 4, 8 to 64 give pass@k and maj@k", group=WORK)
    ] = 1,
    chains: Annotated[
        int, Parameter(converter=parse_count, help="limit of concurrent chains; 1 measures the seconds of a lone chain", group=WORK)
    ] = 4,
    set: Annotated[problems.Set, Parameter(help="benchmark, or tuning for the choice of settings", group=WORK)] = "benchmark",
    task: Annotated[
        problems.BundledTask,
        Parameter(help="tunnel, or stories, which the bundled pair does not know", group=WORK),
    ] = problems.DEFAULT_TASK,
    prices: PriceFlags = DEFAULT_PRICES,
    control: ControlFlags = DEFAULT_CONTROLS,
    hardware: HardwareFlags = DEFAULT_HARDWARE,
    settings: ProblemFlags = DEFAULT_PROBLEM,
    engines: EngineFlags = DEFAULT_ENGINES,
    json: JsonFlag = False,
    out: Annotated[Path | None, Parameter(help=OUT, group=OUTPUT)] = None,
) -> int:
    """Run methods on the bundled problems, and compare accuracy, tokens and seconds.

    All methods get the same problems with the same seeds, and differences are tested on these.
    An answer is right if its last box holds the right number. docs/statistics.md explains each number.
    """
    rivals, available = parse_methods(methods), problems.problems(set, task)
    hardware.load()
    engines = engines.for_methods([rival.method for rival in rivals])
    if engines.bundled and task != problems.DEFAULT_TASK:
        warn(
            f"the bundled pair was not trained on the task {task} and solves almost nothing of it; name real models with --big and --small"
        )
    if limit > len(available):
        warn(f"--limit {limit}: the set {set} has {len(available)} problems; all of them are used")
    chosen, price_list, problem = problems.spread(available, limit), prices.load(engines), settings.problem("each bundled problem")
    cells = [EvalCell(TASKS[task], rival, chosen, problem, epochs=epochs, engines=engines.specs) for rival in rivals]

    def origin(_: Sequence[EvalCell], __: Pair) -> dict[str, Any]:
        return {
            "door": "compare",
            "methods": [rival.label for rival in rivals],
            "settings": cells[0].settings,
            "seeds": [settings.seed],
            "tasks": {task: describe_data(chosen) | {"epochs": epochs}},
        }

    with RunFolder(out) if out else nullcontext() as folder:
        if folder:
            folder.admit(task, [one.id for one in available])
        store = folder or ChainStore()
        plan = partial(ControlSchedule, cells, store.samples, price_list, control.equal_cost if control.controls else None)
        schedule, stopped = run_schedule(plan, engines, store, origin, chains=chains, label=lambda cell: cell.spec.label)
    priced: dict[Key, list[Forecast]] = {}
    if hardware.profile:
        done = [sample for cell in schedule.cells for sample in cell.done.values()]
        own = group_chains(store.chains) if isinstance(store, ChainStore) else recorded_chains((one, store) for one in done)
        priced = hardware.price(own)
    show(schedule, price_list, control.equal_cost, json=json, headings=False, priced=priced, card=hardware.card())
    if priced and not json:
        show_prices(hardware, priced)
    check_finished(schedule, stopped)
    return 0


class ChainStore(MemoryStore):
    """Keeps samples in memory, and the calls of their chains."""

    def __init__(self) -> None:
        super().__init__()
        self.chains: list[tuple[Sample, RecordedChain]] = []

    def append(self, sample: Sample, trace: Trace | None = None) -> Sample:
        if trace:
            self.chains.append((sample, RecordedChain.of(trace)))
        return super().append(sample, trace)
