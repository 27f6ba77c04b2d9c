"""Defines events, a small struct for each thing that can happen to a chain.

All events of one chain, in order, are its trace.
`at` is the time when an event was recorded, in seconds since the chain began. `call` is the engine's work and its cost.
"""

from __future__ import annotations

from typing import Any, Literal

from msgspec import Struct

from speculative.engines.base import Completion, Top
from speculative.problem import FinishReason, Problem

Phase = Literal["thinking", "answer"]


class Call(Struct, frozen=True, gc=False):  # `gc=False` here and below: events are in no cycle
    """One call to the engine of a role, in tokens and seconds of wall time.

    It began `began` seconds after the chain and ended `seconds` later. `shared_cache_tokens`: the cached tokens of its prompts that
    another chain had computed. `inner`: the work of the pair inside, if the engine is a tower. `beyond_tokens`: the produced tokens that a
    server wrote behind an end of `until`, here or in a tower; they do not count against `max_produced`.
    """

    role: str
    requests: int
    prompt_tokens: int
    cached_tokens: int
    produced_tokens: int
    scored_tokens: int
    seconds: float
    shared_cache_tokens: int = 0
    began: float = 0.0
    inner: InnerWork | None = None
    beyond_tokens: int = 0


class InnerWork(Struct, frozen=True, gc=False):
    """The work of a tower's pair in one call.

    `calls` has one entry for each of its roles, with the sums of that role's calls; `small/big` is the big model of a tower in the tower.
    `chains` are the events of the chains that the pair wrote for the call.
    """

    calls: tuple[Call, ...]
    chains: tuple[list[AnyEvent], ...] = ()


class Proposal(Struct, frozen=True, gc=False):
    """A new draft. `parent` is the draft that it follows, None for the chain's end.

    `dropped` counts trailing tokens of `completion` that are not in `text`, because their character is unfinished.
    """

    id: int
    parent: int | None
    text: str
    completion: Completion
    dropped: int
    phase: Phase


class Judgement(Struct, frozen=True, gc=False):
    """The score of a draft, its threshold, and the role that gave the score.

    The score is compared with the threshold.
    `threshold` is None where the best of several drafts is taken, or where a number that is computed from the score is compared; `role` is
    None where the method computed the score. `measure` says in a few words what the score is ("mean log-probability of a token").
    """

    score: float
    threshold: float | None = None
    role: str | None = None
    measure: str | None = None


class EngineCard(Struct, frozen=True):
    """The description of an engine in a trace."""

    name: str
    dialect: str
    fingerprint: str
    context: int


class Event(Struct, frozen=True, kw_only=True, gc=False, tag_field="event", tag=str.lower):
    """An event, recorded `at` seconds after the chain began."""

    at: float = 0.0


class Started(Event, frozen=True, kw_only=True):
    """The chain begins, with its problem, method and engines."""

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
    """Drafts were scored. `logprobs` (nats) has one number for each token.

    `digest`: identifies the scored text for a replay.
    `tops`: the most likely tokens at each of their places, if they were asked for.
    """

    call: Call
    drafts: tuple[int, ...]
    logprobs: tuple[tuple[float, ...], ...]
    digest: str
    tops: tuple[tuple[Top, ...], ...] = ()


class Rewarded(Event, frozen=True, kw_only=True):
    """A reward model rewarded drafts; `digest` identifies the text for a replay."""

    call: Call
    drafts: tuple[int, ...]
    rewards: tuple[float, ...]
    digest: str


class Asked(Event, frozen=True, kw_only=True):
    """A model was asked a side question.

    `after`: the draft that it was asked about, None for the chain's end.
    `choices`: the texts whose log-probabilities the completions hold as `choice_logprobs`.
    """

    call: Call
    seed: int
    question: str
    after: int | None
    replies: tuple[str, ...]
    completions: tuple[Completion, ...]
    choices: tuple[str, ...] = ()


class Accepted(Event, frozen=True, kw_only=True):
    """Drafts entered the chain: `drafts` from its end to the accepted one.

    `judgement`: the reason, if there is one.
    `cut`: the tokens and the characters of the last one that entered; None for all of it.
    """

    drafts: tuple[int, ...]
    judgement: Judgement | None = None
    cut: tuple[int, int] | None = None


class Rejected(Event, frozen=True, kw_only=True):
    """Drafts were rejected. `judgement`: the score behind the reason, if any."""

    drafts: tuple[int, ...]
    reason: str
    judgement: Judgement | None = None


class Inserted(Event, frozen=True, kw_only=True):
    """Text that no model wrote was added, which takes back any end of the chain."""

    text: str
    phase: Phase


class Rewound(Event, frozen=True, kw_only=True):
    """Text was taken back; `pieces` is the number of pieces that are left.

    `entries`: the number of pieces and notes together that are left.
    """

    pieces: int
    entries: int | None = None


class Prefilled(Event, frozen=True, kw_only=True):
    """An idle model prefilled what it had not seen."""

    call: Call
    seed: int
    completion: Completion


class Cancelled(Event, frozen=True, kw_only=True):
    """A call was cancelled, or failed with `error`.

    Its tokens are discarded unless `proposal` is accepted later.
    `proposal` is the text that it had written. `lost` is True if its server is gone.
    """

    call: Call
    verb: str
    seed: int = 0
    error: str = ""
    lost: bool = False
    proposal: Proposal | None = None


class Degraded(Event, frozen=True, kw_only=True):
    """A role's server is gone (`error`); the engine of `survivor` serves its calls.

    This holds for all later calls of the role.
    """

    role: str
    survivor: str
    error: str


class Noted(Event, frozen=True, kw_only=True):
    """A note was added to the prompt of one role, outside the text of the chain.

    `tokens`: its length in tokens of that role's model.
    """

    role: str
    text: str
    tokens: int


class Chose(Event, frozen=True, kw_only=True):
    """The method chose a way to go on, with the reason in words."""

    way: str
    reason: str


class Instructed(Event, frozen=True, kw_only=True):
    """An instruction was added to the problem for one role alone.

    `tokens`: the tokens that the prompt of that role grew by.
    """

    role: str
    text: str
    tokens: int


class Child(Event, frozen=True, kw_only=True):
    """A child chain on the same problem began; its events are nested and grow with it.

    `instruction` was added to the problem for this child alone.
    """

    index: int
    seed: int
    events: list[AnyEvent]
    instruction: str = ""


class Became(Event, frozen=True, kw_only=True):
    """The chain took over the text of a child in place of its own."""

    index: int


class Stopped(Event, frozen=True, kw_only=True):
    """The thinking was ended from outside, or for lack of room.

    `finish`: the finish reason that follows.
    """

    reason: str
    finish: FinishReason


class Answered(Event, frozen=True, kw_only=True):
    """The thinking was closed and the answer written.

    `cue`: the beginning of the answer, which no model wrote.
    """

    call: Call
    seed: int
    cue: str
    proposal: Proposal


class Ended(Event, frozen=True, kw_only=True):
    """The chain is over, after `seconds` of wall time."""

    finish_reason: FinishReason
    seconds: float


AnyEvent = (
    Started
    | Wrote
    | Drafted
    | Scored
    | Rewarded
    | Asked
    | Accepted
    | Rejected
    | Inserted
    | Rewound
    | Noted
    | Instructed
    | Chose
    | Prefilled
    | Cancelled
    | Degraded
    | Child
    | Became
    | Stopped
    | Answered
    | Ended
)


class TextDelta(Struct, frozen=True, gc=False):
    """New text of a call, for listeners only; it is not part of the trace.

    `draft` is the id that the text will have. `committed` is False while the text is a proposal.
    """

    role: str
    text: str
    draft: int
    phase: Phase
    committed: bool
    chain: tuple[int, ...] = ()
