"""Writes the report of run folders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, get_args

import msgspec
from msgspec import Struct, structs

from speculative import __version__
from speculative.errors import SpeculativeError, UsageError
from speculative.problem import Role
from speculative.report.chain_page import PackedChain
from speculative.report.frontier import AXES, Frontier, frontier
from speculative.report.hardware import HardwareForecast
from speculative.runs.folder import Run
from speculative.runs.sample import Sample
from speculative.stats.prices import Prices
from speculative.stats.summary import MethodSummary, summarize
from speculative.trace.usage import Usage
from speculative.viewer.data import pack
from speculative.viewer.marks import Mark, marks_of
from speculative.viewer.page import block, head, tail

SCRIPT = "report.js"
INDEX = "index"
"""The block that is unpacked first; chains are `c0`, `c1`, …"""


class Arm(Struct, frozen=True):
    """One method with its parameters and settings in one run folder."""

    task: str
    label: str
    folder: int
    settings: bytes
    method: bytes

    @classmethod
    def of(cls, sample: Sample, folder: int) -> Arm:
        """Returns the arm of a sample of the folder with that number."""
        return cls(sample.task, sample.label, folder, _json(sample.settings), _json([sample.method, sample.params]))


class Gathered(Struct, frozen=True):
    """The samples of run folders.

    Attributes:
        samples: each sample with its run.
        runs: the runs that have samples.
        empty: the folders without samples.
        folders: the name of the folder by task and label.
    """

    samples: list[tuple[Sample, Run]]
    runs: list[Run]
    empty: list[Path]
    folders: dict[tuple[str, str], str]


class Row(Struct, frozen=True):
    """A sample on the page.

    `block` names the block of its chain; without one `missing` says why, and `answer` is shown instead.
    """

    task: str
    label: str
    problem: str
    epoch: int
    correct: bool
    found: str | None
    why: str
    finish_reason: str
    seconds: float
    usage: dict[str, Usage]
    block: str | None
    missing: str = ""
    answer: str = ""
    degraded: str | None = None


class ReportProblem(Struct, frozen=True):
    """A problem on the page; `text` is empty if no trace holds it."""

    task: str
    id: str
    level: str
    gold: str
    text: str


class Contents(Struct, frozen=True):
    """The data of a report except for its chains."""

    library: str
    summaries: list[MethodSummary]
    frontiers: list[Frontier]
    problems: list[ReportProblem]
    marks: dict[str, Mark]
    rows: list[Row]
    runs: list[dict[str, Any]]
    hardware: HardwareForecast | None = None


class Report:
    """Writes the page, reading one trace at a time.

    `missing` holds the errors of traces that could not be read.
    """

    def __init__(self, gathered: Gathered, prices: Prices | None = None) -> None:
        self.summaries = summarize([sample for sample, _ in gathered.samples], prices=prices, folders=gathered.folders)
        self.frontiers = frontiers(self.summaries)
        self.missing: list[str] = []
        shown = {(row.task, row.label) for row in self.summaries}  # without control runs that are not the closest
        self.samples = [(sample, run) for sample, run in gathered.samples if (sample.task, sample.label) in shown]
        self.folders = gathered.folders
        self._runs = gathered.runs
        self._rows: list[Row] = []
        self._problems: dict[tuple[str, str], ReportProblem] = {}

    def parts(self, advance: Callable[[], None] = lambda: None, hardware: HardwareForecast | None = None) -> Iterator[bytes]:
        """Yields the page part by part; calls `advance` after each sample."""
        yield head(SCRIPT)
        for place, (sample, run) in enumerate(self.samples):
            yield self._chain(f"c{place}", sample, run)
            advance()
        yield block(INDEX, pack(self._contents(hardware)))
        yield tail(SCRIPT)

    def _chain(self, name: str, sample: Sample, run: Run) -> bytes:
        """Returns the block of a sample's chain; a damaged trace costs its own chain only."""
        missing = "the trace was not kept"
        try:
            trace = run.trace(sample)
            text = trace.started.problem.messages[-1].content if trace else ""
        except SpeculativeError as error:
            trace, text, missing = None, "", str(error)
            self.missing.append(missing)
        self._add_problem(sample, text)
        self._rows.append(_row(sample, name if trace else None, "" if trace else missing))
        return block(name, pack(PackedChain.of(trace))) if trace else b""

    def _add_problem(self, sample: Sample, text: str) -> None:
        """Keeps the shortest text of a problem: some methods put filler before it."""
        key = (sample.task, sample.problem)
        before = self._problems.get(key)
        if before is None or (text and (not before.text or len(text) < len(before.text))):
            self._problems[key] = ReportProblem(sample.task, sample.problem, sample.level, sample.gold, text)

    def _contents(self, hardware: HardwareForecast | None) -> Contents:
        return Contents(
            library=__version__,
            summaries=self.summaries,
            frontiers=self.frontiers,
            problems=list(self._problems.values()),
            marks=marks_of(self.summaries),
            rows=self._rows,
            runs=[{"folder": run.path.name, "samples": len(run.samples), "provenance": run.provenance} for run in self._runs],
            hardware=hardware,
        )


def frontiers(rows: Sequence[MethodSummary]) -> list[Frontier]:
    """Returns a frontier for each task and each axis on which its methods have values."""
    tasks = list(dict.fromkeys(row.task for row in rows))
    found = [frontier([row for row in rows if row.task == task], key) for task in tasks for key in AXES]
    return [one for one in found if one.points]


def gather(folders: Sequence[Path]) -> Gathered:
    """Reads run folders.

    Raises `UsageError` for other folders, and if there is no sample at all.

    Samples of one label with different parameters, settings or folders get labels that name the difference. A label with fewer
    problems than others of its task names that too. Tries of one problem with different seeds become further epochs. A try that was
    graded again counts once, with its last verdict.
    """
    unique = list(dict.fromkeys(folder.resolve() for folder in folders))
    runs = [Run(folder) for folder in unique]
    if not any(run.samples for run in runs):
        raise UsageError(f"{', '.join(map(str, folders))}: there is no sample yet; run it again after the first chain")
    every = [(sample, run, Arm.of(sample, number)) for number, run in enumerate(runs) for sample in run.samples]
    found = list({(arm, sample.problem, sample.epoch, sample.seed): (sample, run, arm) for sample, run, arm in every}.values())
    first: dict[Arm, Sample] = {}
    for sample, _, arm in found:
        first.setdefault(arm, sample)
    names = _folder_names(unique)
    labels, remarks = _labels(first, names), _remarks(found)
    labels = {arm: label + remarks[arm] for arm, label in labels.items()}
    owners = {(arm.task, arm.label, arm.folder, arm.settings): label for arm, label in reversed(labels.items())}
    relabelled: list[Sample] = []
    for sample, _, arm in found:
        control_of = sample.control_of and owners.get((arm.task, sample.control_of, arm.folder, arm.settings), sample.control_of)
        relabelled.append(structs.replace(sample, label=labels[arm], control_of=control_of))
    return Gathered(
        samples=list(zip(_number_epochs(relabelled), (run for _, run, _ in found), strict=True)),
        runs=[run for run in runs if run.samples],
        empty=[run.path for run in runs if not run.samples],
        folders={(arm.task, label): names[arm.folder] for arm, label in labels.items()},
    )


def _labels(first: Mapping[Arm, Sample], names: Sequence[str]) -> dict[Arm, str]:
    """Returns a unique label for each arm, given a sample of each."""
    rivals: dict[tuple[str, str], list[Arm]] = {}
    for arm in first:
        rivals.setdefault((arm.task, arm.label), []).append(arm)
    labels: dict[Arm, str] = {}
    for arms in rivals.values():
        candidates = [_label(arm, arms, first, names) for arm in arms]
        for place, arm in enumerate(arms):
            again = candidates[:place].count(candidates[place])
            labels[arm] = f"{candidates[place]} #{again + 1}" if again else candidates[place]
    return labels


def _label(arm: Arm, arms: Sequence[Arm], first: Mapping[Arm, Sample], names: Sequence[str]) -> str:
    """Returns the label with the folder and the settings that differ.

    Engines that differ by folder are covered by its name.
    """
    own, differing = _values(first[arm]), list[str]()
    for name, value in own.items():
        rivals = [other for other in arms if other.folder == arm.folder or not _is_engine(name, first[arm])]
        if any(_values(first[other]).get(name) != value for other in rivals):
            differing.append(f"{name}={value}")
    where = f" @ {names[arm.folder]}" if len({other.folder for other in arms}) > 1 else ""
    what = f" [{', '.join(differing)}]" if differing else ""
    return f"{arm.label}{where}{what}"


def _remarks(found: Iterable[tuple[Sample, Run, Arm]]) -> dict[Arm, str]:
    """Returns a remark for arms with fewer problems, or uneven tries."""
    tries: dict[Arm, Counter[str]] = {}
    whole: dict[str, set[str]] = {}
    for sample, _, arm in found:
        tries.setdefault(arm, Counter())[sample.problem] += 1
        whole.setdefault(arm.task, set()).add(sample.problem)
    remarks: dict[Arm, str] = {}
    for arm, tried in tries.items():
        fewer = [f"{len(tried)} of {len(whole[arm.task])} problems"] if len(tried) < len(whole[arm.task]) else []
        uneven = ["some problems tried more often"] if len(set(tried.values())) > 1 else []
        remarks[arm] = f" ({', '.join([*fewer, *uneven])})" if fewer or uneven else ""
    return remarks


def _is_engine(name: str, sample: Sample) -> bool:
    """Returns True for a setting that describes an engine, as `big` and `big_model`."""
    return name in sample.settings and name.partition("_")[0] in get_args(Role)


def _values(sample: Sample) -> dict[str, str]:
    """Returns parameters and settings as text; the sampling's fields stand one by one."""
    settings = {name: value for name, value in sample.settings.items() if name != "sampling"}
    values = {**sample.settings.get("sampling", {}), **settings, **sample.params}
    return {name: value if isinstance(value, str) else _json(value).decode() for name, value in values.items()}


def _json(value: Any) -> bytes:
    return msgspec.json.encode(value, order="sorted")


def _folder_names(folders: Sequence[Path]) -> list[str]:
    """Returns the shortest ends of the paths that differ from each other."""
    for parts in range(1, max(len(folder.parts) for folder in folders) + 1):
        names = ["/".join(folder.parts[-parts:]) for folder in folders]
        if len(set(names)) == len(names):
            return names
    return [str(folder) for folder in folders]


def _number_epochs(samples: Iterable[Sample]) -> list[Sample]:
    """Numbers the tries of each problem in the same way for all methods."""
    epochs: dict[tuple[str, str], dict[tuple[int, int], int]] = {}
    numbered: list[Sample] = []
    for sample in samples:
        known = epochs.setdefault((sample.task, sample.problem), {})
        if (place := (sample.epoch, sample.seed)) not in known:
            known[place] = next(epoch for epoch in count(sample.epoch) if epoch not in known.values())
        numbered.append(structs.replace(sample, epoch=known[place]))
    return numbered


def _row(sample: Sample, name: str | None, missing: str) -> Row:
    copied = {name: getattr(sample, name) for name in Row.__struct_fields__ if name not in ("block", "missing", "answer")}
    return Row(block=name, missing=missing, answer="" if name else sample.answer, **copied)
