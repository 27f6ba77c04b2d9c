"""One small struct for each thing that can happen to a chain. All events of one chain, in order, are its trace.

`at` is seconds since the chain began. `call` is what the engine was asked for and what it cost.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from speculative.engines.base import Completion
from speculative.problem import FinishReason, Problem

Phase = Literal["thinking", "answer"]


class Call(Struct, frozen=True, gc=False):  # `gc=False` here and below: no event is in a cycle, so there is nothing to look for
    """One call to the engine of a role. Tokens; seconds of wall time."""

    role: str
    requests: int
    prompt_tokens: int
    cached_tokens: int
    produced_tokens: int
    scored_tokens: int
    seconds: float


class Proposal(Struct, frozen=True, gc=False):
    """One draft as it was made. `parent` is the draft that it hangs off, None for the chain's end.

    `dropped` counts trailing tokens that are in `completion` but not in `text`, because they began a character and did not end it.
    """

    id: int
    parent: int | None
    text: str
    completion: Completion
    dropped: int
    phase: Phase


class EngineCard(Struct, frozen=True):
    """What the trace keeps of an engine."""

    name: str
    dialect: str
    fingerprint: str
    context: int


class Event(Struct, frozen=True, kw_only=True, gc=False, tag_field="event", tag=str.lower):
    """Something that happened, `at` seconds after the chain began."""

    at: float = 0.0


class Started(Event, frozen=True, kw_only=True):
    """The chain begins: what is asked, of whom, and how."""

    problem: Problem
    method: str
    params: dict[str, Any]
    engines: dict[str, EngineCard]
    library: str


class Wrote(Event, frozen=True, kw_only=True):
    """A model wrote at the chain's end."""

    call: Call
    seed: int
    proposal: Proposal


class Drafted(Event, frozen=True, kw_only=True):
    """Models proposed text; nothing is committed."""

    call: Call
    seed: int
    proposals: tuple[Proposal, ...]


class Scored(Event, frozen=True, kw_only=True):
    """Given drafts were scored. `logprobs` (nats): one for each token. `digest` names what was scored, for a replay."""

    call: Call
    drafts: tuple[int, ...]
    logprobs: tuple[tuple[float, ...], ...]
    digest: str


class Asked(Event, frozen=True, kw_only=True):
    """A side question. `after`: the draft that it was asked about, None for the chain's end."""

    call: Call
    seed: int
    question: str
    after: int | None
    replies: tuple[str, ...]
    completions: tuple[Completion, ...]


class Accepted(Event, frozen=True, kw_only=True):
    """`drafts`: from the chain's end to the accepted one."""

    drafts: tuple[int, ...]


class Rejected(Event, frozen=True, kw_only=True):
    """These drafts will not be in the chain."""

    drafts: tuple[int, ...]
    reason: str


class Inserted(Event, frozen=True, kw_only=True):
    """Text that no model wrote. If the chain had come to an end, the end is taken back."""

    text: str
    phase: Phase


class Rewound(Event, frozen=True, kw_only=True):
    """`pieces`: how many pieces of text are left."""

    pieces: int


class Warmed(Event, frozen=True, kw_only=True):
    """An idle model prefilled what it had not seen."""

    call: Call
    seed: int
    completion: Completion


class Cancelled(Event, frozen=True, kw_only=True):
    """A call that was cancelled, or failed with `error`: all that it produced is discarded, unless `proposal` is accepted later.

    `proposal`: what had been written of it by then, and told where somebody listens. `lost`: its server is gone.
    """

    call: Call
    verb: str
    seed: int = 0
    error: str = ""
    lost: bool = False
    proposal: Proposal | None = None


class Degraded(Event, frozen=True, kw_only=True):
    """The server of a role is gone, as `error` tells; from here on the engine of `survivor` does what is asked of that role."""

    role: str
    survivor: str
    error: str


class Child(Event, frozen=True, kw_only=True):
    """A chain on the same problem; its events are nested and grow with it."""

    index: int
    seed: int
    events: list[AnyEvent]


class Became(Event, frozen=True, kw_only=True):
    """The text of a child was taken over, in place of what the chain had."""

    index: int


class Stopped(Event, frozen=True, kw_only=True):
    """The thinking ended from outside or for want of something: `finish` is what that makes of the finish reason."""

    reason: str
    finish: FinishReason


class Answered(Event, frozen=True, kw_only=True):
    """The thinking was closed and the answer written. `cue` is text that no model wrote, at the answer's beginning."""

    call: Call
    seed: int
    cue: str
    proposal: Proposal


class Ended(Event, frozen=True, kw_only=True):
    """The chain is over. `seconds` of wall time."""

    finish_reason: FinishReason
    seconds: float


AnyEvent = (
    Started
    | Wrote
    | Drafted
    | Scored
    | Asked
    | Accepted
    | Rejected
    | Inserted
    | Rewound
    | Warmed
    | Cancelled
    | Degraded
    | Child
    | Became
    | Stopped
    | Answered
    | Ended
)


class TextDelta(Struct, frozen=True, gc=False):
    """For a listener only, never part of the trace: text as it is written.

    `draft` is the id that the text will have; `committed` is False while it is only proposed.
    """

    role: str
    text: str
    draft: int
    phase: Phase
    committed: bool
    chain: tuple[int, ...] = ()
