"""A trace: all events of one chain, in order. Usage, text and pictures are computed from it and from nothing else.

On disk: JSON lines. The first is a header with the version, then one event a line (docs/trace.md).
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from speculative.errors import TraceFormatError
from speculative.trace.events import AnyEvent, Child, Degraded, Ended, Started
from speculative.trace.state import Ledger, Segment
from speculative.trace.usage import Usage

VERSION = 1

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(AnyEvent)


class Trace:
    """Events of one chain. Two traces are equal when their events are."""

    def __init__(self, events: list[AnyEvent]) -> None:
        self.events = events
        self._ledger, self._applied = Ledger(), 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Trace) and self.events == other.events

    __hash__ = None  # pyright: ignore[reportAssignmentType]  # it can still grow

    def __iter__(self) -> Iterator[AnyEvent]:
        return iter(self.events)

    def __repr__(self) -> str:
        return f"Trace({len(self.events)} events)"

    def add(self, event: AnyEvent) -> int:
        """Takes in what happens; says how many tokens it produced."""
        ledger = self.ledger
        self.events.append(event)
        self._applied += 1
        return ledger.apply(event)

    @property
    def ledger(self) -> Ledger:
        """What the events come to: one ledger, kept, to which those are applied that came since it was asked for last."""
        while self._applied < len(self.events):
            self._ledger.apply(self.events[self._applied])
            self._applied += 1
        return self._ledger

    @property
    def started(self) -> Started:
        """The first event. Raises `TraceFormatError` when there is none."""
        if not self.events or not isinstance(self.events[0], Started):
            raise TraceFormatError("the trace does not begin with a `started` event")
        return self.events[0]

    @property
    def ended(self) -> Ended | None:
        """The last event, or None when the chain did not come to its end."""
        last = self.events[-1] if self.events else None
        return last if isinstance(last, Ended) else None

    @property
    def seconds(self) -> float:
        """Wall time of the chain; of one that was interrupted, until the last event that is known."""
        return self.ended.seconds if self.ended else max((event.at for event in self.walk()), default=0.0)

    @property
    def degraded(self) -> str | None:
        """The role whose server was lost, if the other role's engine went on in its place."""
        return next((event.role for event in self.walk() if isinstance(event, Degraded)), None)

    def usage(self) -> dict[str, Usage]:
        return self.ledger.usage()

    def segments(self) -> list[Segment]:
        return self.ledger.segments()

    def walk(self) -> Iterator[AnyEvent]:
        """All events, those of children right after the event that began them."""
        for event in self.events:
            yield event
            if isinstance(event, Child):
                yield from Trace(event.events).walk()

    def timeless(self) -> list[Any]:
        """The events without anything measured in seconds: equal for two runs that did the same."""
        return [_without_times(msgspec.to_builtins(event)) for event in self.events]

    def dump(self) -> bytes:
        """JSON lines, as `save` writes them."""
        header = _encoder.encode({"speculative_trace": VERSION})
        return b"\n".join([header, *(_encoder.encode(event) for event in self.events), b""])

    def save(self, path: str | Path) -> None:
        """Writes the whole file or nothing. Raises OSError."""
        write_whole(Path(path), self.dump())

    @classmethod
    def load(cls, path: str | Path, *, warn: Callable[[str], None] | None = None) -> Trace:
        """Reads a saved trace. Raises `TraceFormatError` (not a trace, cut off, another version) and OSError.

        `warn`: called with a message, instead of an error, when only the last line is cut off; that line is left out.
        """
        lines = Path(path).read_bytes().splitlines()
        try:
            header = msgspec.json.decode(lines[0], type=dict[str, Any])
            version = header["speculative_trace"]
        except (msgspec.DecodeError, msgspec.ValidationError, IndexError, KeyError):
            raise TraceFormatError(
                f"{path} is not a trace: its first line is no trace header; `speculative ask --trace FILE` writes one"
            ) from None
        if version != VERSION:
            raise TraceFormatError(
                f"{path} is a trace of version {version}, this library reads version {VERSION}; run the chain again to get one"
            )
        events: list[AnyEvent] = []
        for number, line in enumerate(lines[1:], 2):
            try:
                events.append(_decoder.decode(line))
            except (msgspec.DecodeError, msgspec.ValidationError) as error:
                if warn and events and number == len(lines):
                    warn(f"{path} is cut off in line {number}; only the lines before it are read")
                    break
                raise TraceFormatError(f"{path}, line {number} is damaged: {error}; the file may be cut off") from None
        trace = cls(events)
        try:
            trace.usage()
        except (KeyError, IndexError):
            raise TraceFormatError(f"{path} is damaged: an event refers to one that is missing; the file was changed or cut") from None
        return trace


def write_whole(path: Path, data: bytes | Iterable[bytes]) -> None:
    """Writes beside the file, then renames: a full disk or a crash leaves what was there. Raises OSError.

    `data` may come in parts, which need not be in memory together.
    """
    parts = [data] if isinstance(data, bytes) else data
    if path.exists() and not path.is_file():  # a pipe or a device: nothing to rename onto
        with path.open("wb") as file:
            file.writelines(parts)
        return
    path = path.resolve()  # a link goes on pointing to where it points
    beside = path.with_name(f".{path.name[:200]}.{secrets.token_hex(4)}")
    try:
        with beside.open("xb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException as error:
        beside.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:  # a full disk does not say what it had no room for
            error.filename = str(path)
        raise


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_times(inner) for key, inner in value.items() if key not in ("at", "seconds")}  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, list | tuple):
        return [_without_times(inner) for inner in value]  # pyright: ignore[reportUnknownVariableType]
    return value
