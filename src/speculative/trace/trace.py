"""Saves and reads traces: all events of one chain, in order.

Usage, text and pictures are computed from a trace alone.
On disk: JSON lines. The first is a header with the version, then one event a line (docs/trace.md).
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from speculative.errors import TraceFormatError, UsageError
from speculative.files import STDIN, decode, write_file
from speculative.trace.check import find_damage
from speculative.trace.events import AnyEvent, Call, Child, Degraded, Ended, Started
from speculative.trace.notebook import chain_html
from speculative.trace.state import Ledger, Segment
from speculative.trace.usage import Usage

VERSION = 3
"""The version of the format that is written.

Version 1 lacks `began`, `shared_cache_tokens`, `top_logprobs` and `judgement`; both older ones lack the events `noted` and `rewarded`, and
`choices`, `choice_logprobs`, `cut`, `entries`, `instruction`, `measure` and `tops`. Their seeds are counted in another way, so
they cannot be replayed.
"""

READABLE = (1, 2, VERSION)

_encoder = msgspec.json.Encoder()
_decoder = msgspec.json.Decoder(AnyEvent)


class Trace:
    """The events of one chain.

    Two traces are equal when their events are. `version` is that of the file from which they were read.
    """

    def __init__(self, events: list[AnyEvent], version: int = VERSION) -> None:
        self.events, self.version = events, version
        self._ledger, self._applied = Ledger(), 0

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Trace) and self.events == other.events

    __hash__ = None  # pyright: ignore[reportAssignmentType]  # it can still grow

    def __iter__(self) -> Iterator[AnyEvent]:
        return iter(self.events)

    def __repr__(self) -> str:
        return f"Trace({len(self.events)} events)"

    def _repr_html_(self) -> str:
        """Shows the chain in a notebook."""
        title = self.started.method if self.events and isinstance(self.events[0], Started) else "a trace without a beginning"
        return chain_html(self.segments(), self.usage(), f"{title}, {self.seconds:.2f} s")

    def add(self, event: AnyEvent) -> int:
        """Appends an event and returns the number of tokens that it produced."""
        ledger = self.ledger
        self.events.append(event)
        self._applied += 1
        return ledger.apply(event)

    @property
    def ledger(self) -> Ledger:
        """The chain's state: one ledger, to which new events are applied when it is read."""
        while self._applied < len(self.events):
            self._ledger.apply(self.events[self._applied])
            self._applied += 1
        return self._ledger

    @property
    def started(self) -> Started:
        """The first event. Raises `TraceFormatError` if it is missing."""
        if not self.events or not isinstance(self.events[0], Started):
            raise TraceFormatError("the trace does not begin with a `started` event")
        return self.events[0]

    @property
    def ended(self) -> Ended | None:
        """The last event, or None if the chain did not end."""
        last = self.events[-1] if self.events else None
        return last if isinstance(last, Ended) else None

    @property
    def seconds(self) -> float:
        """Wall time of the chain in seconds.

        An interrupted chain is measured until its last known event.
        """
        return self.ended.seconds if self.ended else max((event.at for event in self.walk()), default=0.0)

    @property
    def degraded(self) -> str | None:
        """The role whose server was lost, if the other role's engine continued; else None.

        A role inside a tower is told as `small/big`.
        """
        return next((role for event in self.walk() if (role := _lost_role(event))), None)

    def usage(self) -> dict[str, Usage]:
        """Returns the usage by role, children included."""
        return self.ledger.usage()

    def segments(self) -> list[Segment]:
        """Returns the text by author, with neighbours joined."""
        return self.ledger.segments()

    def walk(self) -> Iterator[AnyEvent]:
        """Yields all events; those of children follow the event that began them."""
        for event in self.events:
            yield event
            if isinstance(event, Child):
                yield from Trace(event.events).walk()

    def timeless(self) -> list[Any]:
        """Returns the events without times, equal for two runs that did the same."""
        return [_without_times(msgspec.to_builtins(event)) for event in self.events]

    def dump(self) -> bytes:
        """Returns the JSON lines that `save` writes."""
        header = _encoder.encode({"speculative_trace": VERSION})
        return b"\n".join([header, *(_encoder.encode(event) for event in self.events), b""])

    def save(self, path: str | Path) -> None:
        """Writes the whole file or nothing. Raises OSError."""
        write_file(Path(path), self.dump())

    @classmethod
    def load(cls, path: str | Path, *, warn: Callable[[str], None] | None = None) -> Trace:
        """Reads a saved trace of this or an older version.

        It may stand in the object that `ask --json` prints.

        Raises `TraceFormatError` (not a trace, cut off, a newer version) and OSError.

        `-` is standard input.
        `warn`: called with a message, instead of an error, when only the last line is cut off; that line is left out.
        """
        try:
            lines = (
                decode(sys.stdin.buffer.read() if str(path) == STDIN and sys.stdin else Path(path).read_bytes(), "the file")
                .encode()
                .splitlines()
            )
        except UsageError as error:
            raise TraceFormatError(f"{path} is not a trace: {error}") from None
        try:
            header = msgspec.json.decode(lines[0], type=dict[str, Any])
            if "trace" in header:
                header, *rest = _saved_result(header)
                lines = [lines[0], *map(_encoder.encode, rest)]
            version = header["speculative_trace"]
        except (msgspec.DecodeError, RecursionError, IndexError, KeyError):
            raise TraceFormatError(
                f"{path} is not a trace: its first line must be a trace header; `speculative ask --trace FILE` writes one"
            ) from None
        if type(version) is not int or version not in READABLE:  # True is 1
            known = f"this library reads the versions {READABLE[0]} to {VERSION}"
            step = "update the library" if type(version) is int and version > VERSION else "run the chain again"
            raise TraceFormatError(f"{path} is a trace of version {version!r}, {known}; {step}")
        numbered = [(number, line) for number, line in enumerate(lines[1:], 2) if line.strip()]
        events: list[AnyEvent] = []
        for number, line in numbered:
            try:
                events.append(_decoder.decode(_with_new_names(line)))
            except (msgspec.ValidationError, RecursionError) as error:
                raise TraceFormatError(f"{path}, line {number} is damaged: {error}; the file was changed") from None
            except msgspec.DecodeError as error:
                if warn and events and number == numbered[-1][0]:
                    warn(f"{path} is cut off in line {number}; only the lines before it are read")
                    break
                raise TraceFormatError(f"{path}, line {number} is damaged: {error}; the file may be cut off") from None
        if events and not isinstance(events[0], Started):
            raise TraceFormatError(f"{path} must begin with the event `started` after its header; the file was changed or cut")
        try:
            damage = find_damage(events)
        except RecursionError as error:
            raise TraceFormatError(f"{path} is damaged: its children are nested too deeply ({error}); the file was changed") from None
        if damage:
            place, reason = damage
            raise TraceFormatError(f"{path}, line {numbered[place][0]} is damaged: {reason}; the file was changed or cut")
        return cls(events, version)


def _saved_result(result: dict[str, Any]) -> list[dict[str, Any]]:
    """Returns the header and the events of the object that `ask --json` prints."""
    trace = msgspec.convert(result["trace"], dict[str, Any])
    return [trace, *msgspec.convert(trace["events"], list[dict[str, Any]])]


def _lost_role(event: AnyEvent) -> str | None:
    if isinstance(event, Degraded):
        return event.role
    call: Call | None = getattr(event, "call", None)
    inner = next((role for chain in call.inner.chains if (role := Trace(chain).degraded)), None) if call and call.inner else None
    return f"{call.role}/{inner}" if call and inner else None


OLD_NAMES = {b'"event":"warmed"': b'"event":"prefilled"', b'"warm_every":': b'"prefill_every":', b'"verb":"warm"': b'"verb":"prefill"'}
"""Names in traces of version 1. Quotes inside of a text are escaped, so no text can hold one of them."""


def _with_new_names(line: bytes) -> bytes:
    for old, new in OLD_NAMES.items():
        line = line.replace(old, new)
    return line


def _without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_times(inner) for key, inner in value.items() if key not in ("at", "began", "seconds")}  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, list | tuple):
        return [_without_times(inner) for inner in value]  # pyright: ignore[reportUnknownVariableType]
    return value
