"""Lets a big and a small reasoning model write one chain of thought together."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.2.0"

if TYPE_CHECKING:
    from speculative.chain.chain import Chain
    from speculative.chain.drafts import Draft
    from speculative.chain.reply import Reply
    from speculative.chain.steps import STEP
    from speculative.engines.base import Engine
    from speculative.errors import EngineError, MethodError, SpeculativeError, UsageError
    from speculative.methods.base import Method, Wrapper
    from speculative.pair import Pair
    from speculative.problem import Message, Problem, Role, Sampling
    from speculative.prompts import Question
    from speculative.result import Result
    from speculative.runner import asolve, solve, stream
    from speculative.trace.events import Event
    from speculative.trace.trace import Trace
    from speculative.trace.usage import Usage

_MODULES = {
    "chain.chain": ("Chain",),
    "chain.drafts": ("Draft",),
    "chain.reply": ("Reply",),
    "chain.steps": ("STEP",),
    "engines.base": ("Engine",),
    "errors": ("EngineError", "MethodError", "SpeculativeError", "UsageError"),
    "methods.base": ("Method", "Wrapper"),
    "pair": ("Pair",),
    "problem": ("Message", "Problem", "Role", "Sampling"),
    "prompts": ("Question",),
    "result": ("Result",),
    "trace.usage": ("Usage",),
    "runner": ("asolve", "solve", "stream"),
    "trace.events": ("Event",),
    "trace.trace": ("Trace",),
}

__all__ = [
    "STEP",
    "Chain",
    "Draft",
    "Engine",
    "EngineError",
    "Event",
    "Message",
    "Method",
    "MethodError",
    "Pair",
    "Problem",
    "Question",
    "Reply",
    "Result",
    "Role",
    "Sampling",
    "SpeculativeError",
    "Trace",
    "Usage",
    "UsageError",
    "Wrapper",
    "__version__",
    "asolve",
    "solve",
    "stream",
]


def __getattr__(name: str) -> Any:
    """Loads a public name on first use, so that `speculative --help` needs none."""
    for module, public in _MODULES.items():
        if name in public:
            value = getattr(import_module(f"speculative.{module}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module 'speculative' has no attribute {name!r}")


def __dir__() -> list[str]:
    """Lists the public names, for tab completion."""
    return sorted(__all__)
