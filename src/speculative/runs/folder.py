"""A run folder: the samples of comparisons and evaluations, with their traces and where they come from.

    DIR/samples.jsonl      a sample a line, appended as each chain ends
    DIR/traces/NAME.jsonl  the trace of a sample, there before its sample is
    DIR/provenance.jsonl   an object for each command that wrote here

A process may be killed at any moment: what is there is whole, but for a last line, which is then taken away.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import IO, Any

import msgspec
from msgspec import structs

from speculative.errors import SpeculativeError, UsageError
from speculative.methods.registry import restored
from speculative.runs.sample import Sample
from speculative.trace.trace import Trace

SAMPLES = "samples.jsonl"
PROVENANCE = "provenance.jsonl"
TRACES = "traces"

BEGINNING = b'{"task":'
"""How every sample begins: a cut-off last line that begins otherwise is somebody else's, and stays."""

IDENTITY = ("model", "weights", "fingerprint")
"""What tells one model from another, of what a note says of an engine (`provenance.card`)."""

_decoder = msgspec.json.Decoder(Sample)


class Run:
    """A run folder that is only read. Raises `UsageError` for what is none."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not (path / SAMPLES).is_file():
            raise UsageError(f"{path} is no run folder: it has no {SAMPLES}; `speculative compare --out DIR` writes one")
        self.samples, self._whole = _samples(path / SAMPLES)

    def trace(self, sample: Sample) -> Trace | None:
        """The sample's trace; None if none was kept. Raises `TraceFormatError`, and `SpeculativeError` for a file that is missing."""
        if sample.trace is None:
            return None
        if Path(sample.trace).is_absolute() or ".." in Path(sample.trace).parts:
            raise SpeculativeError(f"{self.path}: the trace {sample.trace} of a sample is in another folder, and not read")
        try:
            return Trace.load(self.path / sample.trace)
        except OSError as error:
            raise SpeculativeError(f"{self.path / sample.trace}: {error.strerror}; the trace of a sample is missing") from None

    @property
    def provenance(self) -> list[dict[str, Any]]:
        """What is known of each command that wrote here, the oldest first."""
        path = self.path / PROVENANCE
        data = path.read_bytes() if path.is_file() else b""
        try:
            return [msgspec.json.decode(line, type=dict[str, Any]) for line in data[: _whole(data)].splitlines()]
        except msgspec.DecodeError as error:
            raise UsageError(f"{path} is damaged: {error}; take its last line away") from None


class RunFolder(Run):
    """A run folder that is written to, by one process at a time."""

    def __init__(self, path: Path) -> None:
        """Makes the folder, unless it is there. Raises `UsageError` if something else is there, or `SpeculativeError`."""
        if str(path) == "-":
            raise UsageError("- is not taken as a folder to write; name a folder")
        if path.exists() and not path.is_dir():
            raise UsageError(f"{path} is a file; name a folder")
        if path.is_dir() and any(path.iterdir()) and not (path / SAMPLES).is_file():
            raise UsageError(f"{path} holds something else than a run; name a new folder")
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._file = (path / SAMPLES).open("ab")
        except OSError as error:
            raise SpeculativeError(f"{path} cannot be written: {error.strerror}; name another folder") from None
        try:
            _lock(self._file, path)
            super().__init__(path)
            self._file.truncate(self._whole)
            (path / TRACES).mkdir(exist_ok=True)
            for unfinished in (path / TRACES).glob(".*"):  # a trace that a kill cut off
                unfinished.unlink()
        except BaseException:
            self._file.close()
            raise

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def append(self, sample: Sample, trace: Trace | None = None) -> Sample:
        """Keeps a sample, its trace first. Raises `SpeculativeError` with the file's name."""
        try:
            if trace is not None:
                sample = structs.replace(sample, trace=f"{TRACES}/{_name(sample)}.jsonl")
                trace.save(self.path / str(sample.trace))
            self._file.write(msgspec.json.encode(sample) + b"\n")
            self._file.flush()
        except OSError as error:
            raise SpeculativeError(f"{self.path}: {error.strerror}; samples cannot be kept there, name another folder") from None
        self.samples.append(sample)
        return sample

    def note(self, provenance: Mapping[str, Any]) -> None:
        """Writes down where the samples that follow come from.

        Raises `UsageError` if a model is another one than it was, at the same place, for samples that are here.
        """
        for told in _changed(self.provenance, provenance) if self.samples else ():
            raise UsageError(f"{self.path} has samples of {told}; name another folder for its own")
        path = self.path / PROVENANCE
        with path.open("ab") as file:
            file.truncate(_whole(path.read_bytes()))
            file.write(msgspec.json.encode(provenance) + b"\n")

    def admit(self, task: str, problems: Collection[str]) -> None:
        """Raises `UsageError` if samples of the task are of other problems than these (all that the task's data has): their right
        answers would be counted together. Samples of some of them are well, and so is data that has some of the samples' problems."""
        there, coming = {sample.problem for sample in self.samples if sample.task == task}, set(problems)
        if there - coming and coming - there:
            foreign = f"{len(there - coming)} of {len(there)} are not in the data that is named now"
            raise UsageError(f"{self.path} has samples of {task} on other problems: {foreign}; name another folder with --out")

    def close(self) -> None:
        """Lets another process write here."""
        self._file.close()


def _samples(path: Path) -> tuple[list[Sample], int]:
    """The samples, and how many bytes of the file are whole lines."""
    data = path.read_bytes()
    whole = _whole(data)
    cut = data[whole:]
    if not (cut.startswith(BEGINNING) or BEGINNING.startswith(cut)):
        raise UsageError(f"{path} does not end in a sample; it was changed, or it is another file")
    samples: list[Sample] = []
    methods: dict[bytes, tuple[str, dict[str, Any]]] = {}
    for number, line in enumerate(data[:whole].splitlines(), 1):
        try:
            samples.append(_restored(_decoder.decode(line), methods))
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise UsageError(f"{path}, line {number} is no sample: {error}; name another folder") from None
    return samples, whole


def _restored(sample: Sample, known: dict[bytes, tuple[str, dict[str, Any]]]) -> Sample:
    """The sample with its method as this version writes it: a run that an older version began goes on."""
    kept = msgspec.json.encode((sample.method, sample.params))
    if kept not in known:
        known[kept] = restored(sample.method, sample.params)
    method, params = known[kept]
    return sample if (method, params) == (sample.method, sample.params) else structs.replace(sample, method=method, params=params)


def _whole(data: bytes) -> int:
    """How many bytes are whole lines."""
    return data.rfind(b"\n") + 1


def _changed(before: Sequence[Mapping[str, Any]], now: Mapping[str, Any]) -> Iterator[str]:
    """Which engines are another model now than when they were last spelled so: what they were, and are."""
    for role, card in now.get("engines", {}).items():
        spelled = _spelled(now, role)
        alike = [note for note in before if _spelled(note, role) == spelled]
        old: dict[str, Any] = alike[-1].get("engines", {}).get(role, {}) if alike else {}
        other = [name for name in IDENTITY if name in old and name in card and old[name] != card[name]]
        if other and role in spelled:
            yield f"{other[0]} {old[other[0]]!r} as {role}, and {spelled[role]} has {card[other[0]]!r} now"


def _spelled(note: Mapping[str, Any], role: str) -> dict[str, Any]:
    """What fills a role, and how, as the settings of samples have it."""
    return {name: value for name, value in note.get("settings", {}).items() if name == role or name.startswith(f"{role}_")}


def _name(sample: Sample) -> str:
    """A file name that says what is in it, and differs for samples that differ in anything that was chosen."""
    chosen = [sample.task, sample.label, sample.problem, sample.epoch, sample.seed, sample.settings]
    chosen += [sample.method, sample.params, sample.gold]
    digest = blake2b(msgspec.json.encode(chosen), digest_size=8).hexdigest()
    words = re.sub(r"[^A-Za-z0-9]+", "-", f"{sample.label} {sample.problem}").strip("-")
    return f"{words[:80]}-{sample.epoch}-{digest}"


def _lock(file: IO[bytes], path: Path) -> None:
    if sys.platform == "win32":
        return
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise UsageError(f"{path} is being written by another process; wait for it, or name another folder") from None
