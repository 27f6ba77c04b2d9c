"""The samples of several run folders, so that every method of a task has a label of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any, get_args

import msgspec
from msgspec import Struct, structs

from speculative.errors import UsageError
from speculative.problem import Role
from speculative.runs.folder import Run
from speculative.runs.sample import Sample


class Arm(Struct, frozen=True):
    """What may not be put together: methods, their parameters, the chain's settings, run folders."""

    task: str
    label: str
    folder: int
    settings: bytes
    method: bytes

    @classmethod
    def of(cls, sample: Sample, folder: int) -> Arm:
        return cls(sample.task, sample.label, folder, _json(sample.settings), _json([sample.method, sample.params]))


class Gathered(Struct, frozen=True):
    """Samples, each with the run that it is from, and all runs that have any; `empty` are folders without one. `folders`: the name of
    the folder of each task and label."""

    samples: list[tuple[Sample, Run]]
    runs: list[Run]
    empty: list[Path]
    folders: dict[tuple[str, str], str]


def gather(folders: Sequence[Path]) -> Gathered:
    """Reads run folders. Raises `UsageError` for what is none, and when there is no sample at all.

    Samples of one label that differ in parameters, settings or folder get labels that say in what they differ. A label on fewer
    problems than others of the task says so, too. Tries of one problem that differ in the seed alone are further epochs. The same try
    once more (its gold answer was corrected) counts once, the last one.
    """
    unique = list(dict.fromkeys(folder.resolve() for folder in folders))
    runs = [Run(folder) for folder in unique]
    if not any(run.samples for run in runs):
        raise UsageError(f"{', '.join(map(str, folders))}: no sample yet; run it again when the first chains are done")
    every = [(sample, run, Arm.of(sample, number)) for number, run in enumerate(runs) for sample in run.samples]
    found = list({(arm, sample.problem, sample.epoch, sample.seed): (sample, run, arm) for sample, run, arm in every}.values())
    first: dict[Arm, Sample] = {}
    for sample, _, arm in found:
        first.setdefault(arm, sample)
    names = _names(unique)
    labels, lacks = _labels(first, names), _lacks(found)
    labels = {arm: label + lacks[arm] for arm, label in labels.items()}
    controlled = {(arm.task, arm.label, arm.folder, arm.settings): label for arm, label in reversed(labels.items())}
    told: list[Sample] = []
    for sample, _, arm in found:
        control_of = sample.control_of and controlled.get((arm.task, sample.control_of, arm.folder, arm.settings), sample.control_of)
        told.append(structs.replace(sample, label=labels[arm], control_of=control_of))
    return Gathered(
        samples=list(zip(_epochs(told), (run for _, run, _ in found), strict=True)),
        runs=[run for run in runs if run.samples],
        empty=[run.path for run in runs if not run.samples],
        folders={(arm.task, label): names[arm.folder] for arm, label in labels.items()},
    )


def _labels(first: Mapping[Arm, Sample], names: Sequence[str]) -> dict[Arm, str]:
    """A label for each arm: its own where it is the only one of that label. Of each arm a sample is given."""
    rivals: dict[tuple[str, str], list[Arm]] = {}
    for arm in first:
        rivals.setdefault((arm.task, arm.label), []).append(arm)
    labels: dict[Arm, str] = {}
    for arms in rivals.values():
        told = [_told(arm, arms, first, names) for arm in arms]
        for place, arm in enumerate(arms):
            again = told[:place].count(told[place])
            labels[arm] = f"{told[place]} #{again + 1}" if again else told[place]
    return labels


def _lacks(found: Iterable[tuple[Sample, Run, Arm]]) -> dict[Arm, str]:
    """For each arm what there is to be said of its problems, which are not all of the task's, or not tried alike; empty if nothing."""
    tries: dict[Arm, Counter[str]] = {}
    whole: dict[str, set[str]] = {}
    for sample, _, arm in found:
        tries.setdefault(arm, Counter())[sample.problem] += 1
        whole.setdefault(arm.task, set()).add(sample.problem)
    lacks: dict[Arm, str] = {}
    for arm, tried in tries.items():
        fewer = [f"{len(tried)} of {len(whole[arm.task])} problems"] if len(tried) < len(whole[arm.task]) else []
        uneven = ["some problems tried more often"] if len(set(tried.values())) > 1 else []
        lacks[arm] = f" ({', '.join([*fewer, *uneven])})" if fewer or uneven else ""
    return lacks


def _told(arm: Arm, arms: Sequence[Arm], first: Mapping[Arm, Sample], names: Sequence[str]) -> str:
    """The label, with the folder and the settings in which it differs from others. (The engines of a folder are told by its name.)"""
    own, differing = _values(first[arm]), list[str]()
    for name, value in own.items():
        rivals = [other for other in arms if other.folder == arm.folder or not _is_engine(name, first[arm])]
        if any(_values(first[other]).get(name) != value for other in rivals):
            differing.append(f"{name}={value}")
    where = f" @ {names[arm.folder]}" if len({other.folder for other in arms}) > 1 else ""
    what = f" [{', '.join(differing)}]" if differing else ""
    return f"{arm.label}{where}{what}"


def _is_engine(name: str, sample: Sample) -> bool:
    """Whether a value says what fills a role: `big`, `big_model`."""
    return name in sample.settings and name.partition("_")[0] in get_args(Role)


def _values(sample: Sample) -> dict[str, str]:
    """Parameters and settings as they are told, those of the sampling one by one."""
    settings = {name: value for name, value in sample.settings.items() if name != "sampling"}
    values = {**sample.settings.get("sampling", {}), **settings, **sample.params}
    return {name: value if isinstance(value, str) else _json(value).decode() for name, value in values.items()}


def _json(value: Any) -> bytes:
    return msgspec.json.encode(value, order="sorted")


def _names(folders: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that tell them apart."""
    for parts in range(1, max(len(folder.parts) for folder in folders) + 1):
        names = ["/".join(folder.parts[-parts:]) for folder in folders]
        if len(set(names)) == len(names):
            return names
    return [str(folder) for folder in folders]


def _epochs(samples: Iterable[Sample]) -> list[Sample]:
    """Every try of a problem has an epoch of its own: the same for all methods, whose chains are paired by it."""
    epochs: dict[tuple[str, str], dict[tuple[int, int], int]] = {}
    numbered: list[Sample] = []
    for sample in samples:
        known = epochs.setdefault((sample.task, sample.problem), {})
        if (place := (sample.epoch, sample.seed)) not in known:
            known[place] = next(epoch for epoch in count(sample.epoch) if epoch not in known.values())
        numbered.append(structs.replace(sample, epoch=known[place]))
    return numbered
