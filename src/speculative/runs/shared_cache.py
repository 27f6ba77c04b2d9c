"""What a chain found in an engine's cache that it had not computed itself: other chains on the same problem had left it there."""

from __future__ import annotations

from speculative.trace.events import AnyEvent, Asked, Call, Drafted, Rewound, Scored
from speculative.trace.trace import Trace


def lent(trace: Trace) -> dict[str, int]:
    """By role, the cached tokens that are not the chain's own.

    Of a call these are the ones beyond the longest text that the role had been given, or had written, in a call of the chain that began
    before it. So a chain's first prompt is lent, and so is what another model wrote if the role had read the same words in another chain.
    What was written and then taken back is no part of that text. Where it is open whose tokens were found (a rejected draft, or a child's
    text, was as long), they are the chain's own: none is charged for what it computed itself.
    """
    found: dict[str, int] = {}
    given: dict[str, float] = {}
    longest: dict[str, float] = {}
    own = {id(event) for event in trace}
    for event in sorted(trace.walk(), key=_began):
        if isinstance(event, Rewound) and id(event) in own:
            longest = dict(given)
        if (call := _call(event)) is None:
            continue
        prefixes = max(1, call.requests, _prefixes(event))
        each, had = call.prompt_tokens / prefixes, longest.get(call.role, 0)
        shared = (prefixes - 1) * each  # the first computes what several share
        found[call.role] = found.get(call.role, 0) + max(0, call.cached_tokens - round(had + shared))
        given[call.role] = max(given.get(call.role, 0), each)
        longest[call.role] = max(had, each + _written(event, call))
    return found


def _call(event: AnyEvent) -> Call | None:
    return getattr(event, "call", None)


def _began(event: AnyEvent) -> float:
    """When an event, which is recorded at its end, began."""
    call = _call(event)
    return event.at - (call.seconds if call else 0)


def _prefixes(event: AnyEvent) -> int:
    """How many texts a call was given, at the least: an engine may send each apart, or count what several share once."""
    if isinstance(event, Drafted):
        return len({proposal.parent for proposal in event.proposals})
    return len(event.drafts) if isinstance(event, Scored) else 1


def _written(event: AnyEvent, call: Call) -> float:
    """How many tokens of the call's longest text came after what it was given."""
    if isinstance(event, Drafted):
        return max((len(proposal.completion.ids) for proposal in event.proposals), default=0)
    if isinstance(event, Scored):
        return max(map(len, event.logprobs), default=0)
    return max(map(len, (one.ids for one in event.completions)), default=0) if isinstance(event, Asked) else call.produced_tokens
