"""Every error that a user can meet. Each names the thing, the value and the next step, in one line."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from speculative.trace.trace import Trace


class SpeculativeError(Exception):
    """Base of all errors of this library. `exit_code` is what the command line exits with."""

    exit_code = 1


class UsageError(SpeculativeError):
    """The user asked for something that does not exist or is out of range."""

    exit_code = 2


class UnknownName(UsageError):
    """A name that is not known, with the closest one and the list of valid ones."""

    def __init__(self, kind: str, name: str, known: list[str]) -> None:
        from difflib import get_close_matches

        close = get_close_matches(name, known, n=1, cutoff=0.5)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        super().__init__(f"unknown {kind} {name!r}{hint} (known: {', '.join(sorted(known)) or 'none'})")
        self.kind, self.name, self.known, self.closest = kind, name, known, close[0] if close else None


class BadTrace(SpeculativeError):
    """A file that is not a trace, is cut off, or has another version."""


class BadWeights(SpeculativeError):
    """A model folder that is missing, incomplete or damaged."""


class EngineError(SpeculativeError):
    """An engine failed. `trace` holds what the chain had done until then, when there was a chain.

    `role`: whose engine it was, when a chain called it.
    `lost`: its server is gone, or as good as gone: asking it again would not help (see `Problem.degrade`).
    """

    trace: Trace | None = None
    role: str | None = None
    lost: bool = False


class MethodError(SpeculativeError):
    """A method raised something: a bug in it, or in what it uses. `trace` holds what the chain had done until then."""

    trace: Trace | None = None


class EngineUnreachable(EngineError):
    """No answer from the engine's address."""

    lost = True


class EngineTimeout(EngineError):
    """The engine let a deadline pass: for its first token, between two tokens, or for the whole call."""

    lost = True


class EngineBusy(EngineError):
    """The server turned the call away for now. `retry_after` is in how many seconds it wants to be asked again, if it said so."""

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class EngineRefused(EngineError):
    """The server understood the call and refuses it: a wrong key, an unknown model, a field that it does not take."""


class EngineFault(EngineError):
    """The server broke: an internal error, an answer that is none, or one that was cut off."""

    lost = True


class EngineClosed(EngineError):
    """The engine was closed while, or before, it was asked."""


class ContextExceeded(EngineError):
    """The prefix does not fit into the model's positions."""

    def __init__(self, engine: str, tokens: int, context: int) -> None:
        super().__init__(f"{engine}: a prefix of {tokens} tokens does not fit into its context of {context}; shorten the problem")
        self.engine, self.tokens, self.context = engine, tokens, context


class UnknownMarker(EngineError):
    """The vocabulary has no such marker: the dialect does not belong to this model."""


class UnmetNeeds(UsageError):
    """The method needs an ability that the engine does not have."""


class ReplayMismatch(EngineError):
    """The method asked for something that the saved trace does not hold: it is not the same method, parameters or version."""


class ChainMisuse(RuntimeError):
    """A method used the chain wrongly: a bug in the method, never a user's mistake."""
