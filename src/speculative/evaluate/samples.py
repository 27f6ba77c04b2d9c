"""A file of samples, one a line: written as they finish, read again to go on where a run stopped."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from speculative.errors import SpeculativeError, UsageError
from speculative.evaluate.compare import Sample, Work, seed_of
from speculative.evaluate.contenders import Contender

BEGINNING = b'{"label":'
"""How every sample begins: a cut-off last line that begins otherwise is somebody else's, and stays."""

_decoder = msgspec.json.Decoder(Sample)


class SampleFile:
    """Appends a line a sample, each written at once. A last line that is cut off is taken away."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.samples = self._read() if path.is_file() else []
        path.touch()

    def matching(self, work: Sequence[Work], rivals: Collection[Contender], settings: Mapping[str, Any], seed: int) -> list[Sample]:
        """The samples that this very comparison would give: same methods, parameters, settings, seeds and problems."""
        wanted = {one.key: seed_of(seed, one.stated.id, one.epoch) for one in work}
        params = {contender.label: (contender.name, contender.params) for contender in rivals}
        found = [sample for sample in self.samples if wanted.get(sample.key) == sample.seed and sample.settings == settings]
        return list({sample.key: sample for sample in found if params[sample.label] == (sample.method, sample.params)}.values())

    def append(self, sample: Sample) -> None:
        """Raises `SpeculativeError` with the file's name."""
        try:
            with self._path.open("ab") as file:
                file.write(msgspec.json.encode(sample) + b"\n")
        except OSError as error:
            raise SpeculativeError(f"{self._path}: {error.strerror}; samples cannot be kept there, give another file") from None

    def _read(self) -> list[Sample]:
        data = self._path.read_bytes()
        whole = data[: data.rfind(b"\n") + 1]
        samples: list[Sample] = []
        for number, line in enumerate(whole.splitlines(), 1):
            try:
                samples.append(_decoder.decode(line))
            except (msgspec.DecodeError, msgspec.ValidationError) as error:
                raise UsageError(f"{self._path}, line {number} is no sample of `speculative compare`: {error}; give another file") from None
        if len(whole) < len(data):
            if not data[len(whole) :].startswith(BEGINNING):
                raise UsageError(f"{self._path} does not end in a sample of `speculative compare`; give another file")
            with self._path.open("r+b") as file:
                file.truncate(len(whole))
        return samples
