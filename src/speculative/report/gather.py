"""The samples of several run folders, so that every method of a task has a label of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, structs

from speculative.errors import UsageError
from speculative.runs import Run
from speculative.sample import Sample

Arm = tuple[str, bytes, int]
"""What may not be put together: parameters of the method, settings of the chain, the run folder."""


class Gathered(Struct, frozen=True):
    """Samples and the run that each is from; `empty` are folders without any."""

    samples: list[Sample]
    runs: list[Run]
    empty: list[Path]


def gather(folders: Sequence[Path]) -> Gathered:
    """Reads run folders. Raises `UsageError` for what is none, and when there is no sample at all.

    Samples of one label that differ in parameters, settings or folder get labels that say in what they differ. Tries of one
    problem that differ in the seed alone are further epochs.
    """
    unique = list(dict.fromkeys(folder.resolve() for folder in folders))
    runs = [Run(folder) for folder in unique]
    if not any(run.samples for run in runs):
        raise UsageError(f"{', '.join(map(str, folders))}: no sample yet; run it again when the first chains are done")
    found = [(sample, run, number) for number, run in enumerate(runs) for sample in run.samples]
    labels = _labels([(sample, number) for sample, _, number in found], _names(unique))
    told = [structs.replace(sample, label=labels[sample.task, _arm(sample, number)]) for sample, _, number in found]
    return Gathered(_epochs(told), [run for _, run, _ in found], [run.path for run in runs if not run.samples])


def _arm(sample: Sample, folder: int) -> Arm:
    return (sample.label, msgspec.json.encode([sample.method, sample.params, sample.settings], order="sorted"), folder)


def _labels(found: Iterable[tuple[Sample, int]], names: Sequence[str]) -> dict[tuple[str, Arm], str]:
    """A label for each arm of each task: its own where it is the only one of that label."""
    rivals: dict[tuple[str, str], dict[Arm, Sample]] = {}
    for sample, number in found:
        rivals.setdefault((sample.task, sample.label), {}).setdefault(_arm(sample, number), sample)
    labels: dict[tuple[str, Arm], str] = {}
    for (task, label), arms in rivals.items():
        told = [_told(label, arm, arms, names) for arm in arms]
        for place, arm in enumerate(arms):
            again = told[:place].count(told[place])
            labels[task, arm] = f"{told[place]} #{again + 1}" if again else told[place]
    return labels


def _told(label: str, arm: Arm, arms: Mapping[Arm, Sample], names: Sequence[str]) -> str:
    folders = {number for *_, number in arms}
    here = [sample for other, sample in arms.items() if other[2] == arm[2]]
    values = [_values(sample) for sample in here]
    own = _values(arms[arm])
    differing = [f"{name}={value}" for name, value in own.items() if any(other.get(name) != value for other in values)]
    where = f" @ {names[arm[2]]}" if len(folders) > 1 else ""
    what = f" [{', '.join(differing)}]" if differing else ""
    return f"{label}{where}{what}"


def _values(sample: Sample) -> dict[str, str]:
    """Parameters and settings as they are told."""
    return {name: value if isinstance(value, str) else _json(value) for name, value in {**sample.settings, **sample.params}.items()}


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def _names(folders: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that tell them apart."""
    for parts in range(1, max(len(folder.parts) for folder in folders) + 1):
        names = ["/".join(folder.parts[-parts:]) for folder in folders]
        if len(set(names)) == len(names):
            return names
    return [str(folder) for folder in folders]


def _epochs(samples: Iterable[Sample]) -> list[Sample]:
    """Every try of a problem has an epoch of its own."""
    taken: set[tuple[str, str, str, int]] = set()
    numbered: list[Sample] = []
    for sample in samples:
        while sample.key in taken:
            sample = structs.replace(sample, epoch=sample.epoch + 1)
        taken.add(sample.key)
        numbered.append(sample)
    return numbered
