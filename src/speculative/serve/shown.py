"""What clients are shown of an engine: role, model, the kind of its failure. Where its server is, and what that said, is for the log."""

from __future__ import annotations

import re

from msgspec import structs

from speculative.errors import (
    ContextExceededError,
    EngineBusyError,
    EngineClosedError,
    EngineError,
    EngineRefusedError,
    EngineServerError,
    EngineTimeoutError,
    EngineUnreachableError,
)
from speculative.trace.events import AnyEvent, Cancelled, Child, Degraded, Started

ADDRESS = re.compile(r" at \w+://\S+(?: \(and \d+ more\))?")
"""Where the server of an engine is, as the engine's name says it."""
KINDS: dict[type[EngineError], str] = {
    EngineUnreachableError: "'s server cannot be reached",
    EngineTimeoutError: "'s server did not answer in time",
    EngineBusyError: "'s server turned the call away for now",
    EngineRefusedError: "'s server refused the call",
    EngineServerError: "'s server broke",
    EngineClosedError: " was closed",
}


def named(text: str) -> str:
    """An engine's name, or a line with it, without its address."""
    return ADDRESS.sub("", text)


def failed(error: EngineError) -> str:
    """Whose engine failed, and how."""
    who = f"the {error.role} model" if error.role else "a model"
    if isinstance(error, ContextExceededError):
        return f"{who}: {error.what}; {error.advice}"
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
