"""What clients are shown of an engine: role, model, the kind of its failure. Where its server is, and what that said, is for the log."""

from __future__ import annotations

import re

from msgspec import structs

from speculative.errors import (
    ContextExceeded,
    EngineBusy,
    EngineClosed,
    EngineError,
    EngineFault,
    EngineRefused,
    EngineTimeout,
    EngineUnreachable,
)
from speculative.trace.events import AnyEvent, Cancelled, Child, Degraded, Started

ADDRESS = re.compile(r" at \w+://\S+(?: \(and \d+ more\))?")
"""Where the server of an engine is, as the engine's name says it."""
KINDS: dict[type[EngineError], str] = {
    EngineUnreachable: "'s server cannot be reached",
    EngineTimeout: "'s server did not answer in time",
    EngineBusy: "'s server turned the call away for now",
    EngineRefused: "'s server refused the call",
    EngineFault: "'s server broke",
    EngineClosed: " was closed",
}


def named(text: str) -> str:
    """An engine's name, or a line with it, without its address."""
    return ADDRESS.sub("", text)


def failed(error: EngineError) -> str:
    """Whose engine failed, and how."""
    who = f"the {error.role} model" if error.role else "a model"
    if isinstance(error, ContextExceeded):
        return f"{who}: a prefix of {error.tokens} tokens does not fit into its context of {error.context}; shorten the problem"
    return who + KINDS.get(type(error), " failed")


def event(happened: AnyEvent) -> AnyEvent:
    """The same event without addresses, and those of a child in it."""
    match happened:
        case Started(engines=engines):
            cards = {role: structs.replace(card, name=named(card.name)) for role, card in engines.items()}
            return structs.replace(happened, engines=cards)
        case Degraded(role=role):
            return structs.replace(happened, error=_lost(role))
        case Cancelled(call=call, error=error, lost=lost) if error:
            return structs.replace(happened, error=_lost(call.role) if lost else f"the {call.role} model failed")
        case Child(events=events):
            return structs.replace(happened, events=[event(inner) for inner in events])
        case _:
            return happened


def _lost(role: str) -> str:
    return f"the {role} model's server was lost"
