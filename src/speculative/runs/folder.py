"""Reads and writes run folders.

    DIR/samples.jsonl      one sample a line, appended as each chain ends
    DIR/traces/NAME.jsonl  the trace of a sample, written before the sample
    DIR/provenance.jsonl   one object for each command that wrote here

A process may be killed at any time: only the last line of a file may then be cut off, and the next process removes it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any

import msgspec
from filelock import FileLock, Timeout
from msgspec import structs

from speculative.errors import SpeculativeError, UsageError
from speculative.methods.registry import restored
from speculative.runs.sample import Sample
from speculative.trace.trace import Trace

SAMPLES, LOCK = "samples.jsonl", ".lock"
PROVENANCE = "provenance.jsonl"
TRACES = "traces"

BEGINNING = b'{"task":'
"""The beginning of every sample. A cut-off last line with another beginning shows that the file is not ours."""

IDENTITY = ("model", "weights", "fingerprint")
"""The fields of an engine's description that identify its model (`provenance.describe_engine`)."""

_decoder = msgspec.json.Decoder(Sample)


class Run:
    """A run folder for reading. Raises `UsageError` for other folders."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if not (path / SAMPLES).is_file():
            raise UsageError(f"{path} must be a run folder with {SAMPLES}; `speculative compare --out DIR` writes one")
        self.samples, self._whole = _samples(path / SAMPLES)

    def trace(self, sample: Sample) -> Trace | None:
        """Returns the sample's trace, or None if it was not kept.

        Raises `TraceFormatError`, and `SpeculativeError` for a missing file.
        """
        if sample.trace is None:
            return None
        if Path(sample.trace).is_absolute() or ".." in Path(sample.trace).parts:
            raise SpeculativeError(f"{self.path}: the trace {sample.trace} of a sample cannot be read, it is in another folder")
        try:
            return Trace.load(self.path / sample.trace)
        except OSError as error:
            raise SpeculativeError(f"{self.path / sample.trace}: {error.strerror}; the trace of a sample is missing") from None

    @property
    def provenance(self) -> list[dict[str, Any]]:
        """The provenance of each command that wrote here, the oldest first."""
        path = self.path / PROVENANCE
        data = path.read_bytes() if path.is_file() else b""
        entries: list[dict[str, Any]] = []
        for number, line in enumerate(data[: _whole(data)].splitlines(), 1):
            try:
                entries.append(msgspec.json.decode(line, type=dict[str, Any]))
            except (msgspec.DecodeError, RecursionError) as error:
                raise UsageError(f"{path}, line {number} is damaged: {error}; remove that line") from None
        return entries


class RunFolder(Run):
    """A run folder for writing, by one process at a time."""

    def __init__(self, path: Path) -> None:
        """Opens or makes the folder.

        Raises `UsageError` if it holds other files, and `SpeculativeError` if it cannot be written.
        """
        if str(path) == "-":
            raise UsageError("the folder must have a name, got -; name a folder")
        if path.exists() and not path.is_dir():
            raise UsageError(f"{path} must be a folder, got a file; name a folder")
        if path.is_dir() and any(path.iterdir()) and not (path / SAMPLES).is_file():
            raise UsageError(f"{path} must be empty or a run folder, got other files; name a new folder")
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._file = (path / SAMPLES).open("ab")
        except OSError as error:
            raise SpeculativeError(f"{path} cannot be written: {error.strerror}; name another folder") from None
        self._lock = FileLock(path / LOCK, timeout=0)
        try:
            self._lock.acquire()
            super().__init__(path)
            self._file.truncate(self._whole)
            (path / TRACES).mkdir(exist_ok=True)
            for unfinished in (path / TRACES).glob(".*"):  # from a killed process
                unfinished.unlink()
        except Timeout:
            self._file.close()
            raise UsageError(f"{path} is being written by another process; wait for its end, or name another folder") from None
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def append(self, sample: Sample, trace: Trace | None = None) -> Sample:
        """Writes a sample, its trace first.

        Raises `SpeculativeError` with the file's name.
        """
        try:
            if trace is not None:
                sample = structs.replace(sample, trace=f"{TRACES}/{_name(sample)}.jsonl")
                trace.save(self.path / str(sample.trace))
            self._file.write(msgspec.json.encode(sample) + b"\n")
            self._file.flush()
        except OSError as error:
            raise self._unwritten("samples", error) from None
        self.samples.append(sample)
        return sample

    def note(self, provenance: Mapping[str, Any]) -> None:
        """Writes the provenance of the samples that follow.

        Raises `UsageError` if an engine of the same name was another model for the samples that are here, and `SpeculativeError` for a
        disk that takes no more.
        """
        for change in _changed_models(self.provenance, provenance) if self.samples else ():
            raise UsageError(f"{self.path} has samples of {change}; name another folder")
        path = self.path / PROVENANCE
        try:
            with path.open("ab") as file:
                file.truncate(_whole(path.read_bytes()))
                file.write(msgspec.json.encode(provenance) + b"\n")
        except OSError as error:
            raise self._unwritten("provenance", error) from None

    def _unwritten(self, things: str, error: OSError) -> SpeculativeError:
        return SpeculativeError(f"{things} cannot be written to {self.path}: {error.strerror}; name another folder")

    def admit(self, task: str, problems: Collection[str]) -> None:
        """Raises `UsageError` if the folder has samples of other problems of the task.

        `problems` are all problems of the task's data. Either set may be a subset of the other.
        """
        there, coming = {sample.problem for sample in self.samples if sample.task == task}, set(problems)
        if there - coming and coming - there:
            foreign = f"{len(there - coming)} of {len(there)} are not in the data of this command"
            raise UsageError(f"{self.path} has samples of {task} on other problems: {foreign}; name another folder with --out")

    def close(self) -> None:
        """Lets another process write here."""
        self._file.close()
        self._lock.release()


def _samples(path: Path) -> tuple[list[Sample], int]:
    """Returns the samples, and the number of bytes that are whole lines."""
    data = path.read_bytes()
    whole = _whole(data)
    cut = data[whole:]
    if not (cut.startswith(BEGINNING) or BEGINNING.startswith(cut)):
        raise UsageError(f"{path} must end in a sample, got other text; the file was changed, or is not of a run folder")
    samples: list[Sample] = []
    methods: dict[bytes, tuple[str, dict[str, Any]]] = {}
    for number, line in enumerate(data[:whole].splitlines(), 1):
        try:
            samples.append(_restored(_decoder.decode(line), methods))
        except (msgspec.DecodeError, RecursionError) as error:
            raise UsageError(f"{path}, line {number} must be a sample: {error}; name another folder") from None
    return samples, whole


def _restored(sample: Sample, known: dict[bytes, tuple[str, dict[str, Any]]]) -> Sample:
    """Returns the sample with its method in this version's spelling."""
    kept = msgspec.json.encode((sample.method, sample.params))
    if kept not in known:
        known[kept] = restored(sample.method, sample.params)
    method, params = known[kept]
    return sample if (method, params) == (sample.method, sample.params) else structs.replace(sample, method=method, params=params)


def _whole(data: bytes) -> int:
    """Returns the number of bytes that are whole lines."""
    return data.rfind(b"\n") + 1


def _changed_models(before: Sequence[Mapping[str, Any]], now: Mapping[str, Any]) -> Iterator[str]:
    """Yields the engines whose model changed, with both values."""
    for role, card in now.get("engines", {}).items():
        settings = _engine_settings(now, role)
        alike = [note for note in before if _engine_settings(note, role) == settings]
        old: dict[str, Any] = alike[-1].get("engines", {}).get(role, {}) if alike else {}
        other = [name for name in IDENTITY if name in old and name in card and old[name] != card[name]]
        if other and role in settings:
            yield f"{other[0]} {old[other[0]]!r} as {role}, and {settings[role]} has {card[other[0]]!r} now"


def _engine_settings(note: Mapping[str, Any], role: str) -> dict[str, Any]:
    """Returns the settings of a role's engine, as samples have them."""
    return {name: value for name, value in note.get("settings", {}).items() if name == role or name.startswith(f"{role}_")}


def _name(sample: Sample) -> str:
    """Returns a readable and unique file name for a sample."""
    chosen = [sample.task, sample.label, sample.problem, sample.epoch, sample.seed, sample.settings]
    chosen += [sample.method, sample.params, sample.gold]
    digest = blake2b(msgspec.json.encode(chosen), digest_size=8).hexdigest()
    words = re.sub(r"[^A-Za-z0-9]+", "-", f"{sample.label} {sample.problem}").strip("-")
    return f"{words[:80]}-{sample.epoch}-{digest}"
