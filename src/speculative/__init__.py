"""Speculative Reasoning: a big and a small reasoning model write one chain of thought together."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from speculative.version import VERSION as __version__  # noqa: N811  the name that Python expects

if TYPE_CHECKING:
    from speculative.chain.chain import Chain
    from speculative.chain.drafts import Draft
    from speculative.errors import EngineError, MethodError, SpeculativeError, UsageError
    from speculative.methods.base import Method, Wrapper
    from speculative.pair import Pair
    from speculative.problem import Message, Problem, Sampling
    from speculative.result import Result
    from speculative.runner import asolve, solve
    from speculative.trace.trace import Trace
    from speculative.trace.usage import Usage

_ROOMS = {
    "chain.chain": ("Chain",),
    "chain.drafts": ("Draft",),
    "errors": ("EngineError", "MethodError", "SpeculativeError", "UsageError"),
    "methods.base": ("Method", "Wrapper"),
    "pair": ("Pair",),
    "problem": ("Message", "Problem", "Sampling"),
    "result": ("Result",),
    "trace.usage": ("Usage",),
    "runner": ("asolve", "solve"),
    "trace.trace": ("Trace",),
}

__all__ = [
    "Chain",
    "Draft",
    "EngineError",
    "Message",
    "Method",
    "MethodError",
    "Pair",
    "Problem",
    "Result",
    "Sampling",
    "SpeculativeError",
    "Trace",
    "Usage",
    "UsageError",
    "Wrapper",
    "__version__",
    "asolve",
    "solve",
]


def __getattr__(name: str) -> Any:
    """Loads a public name when it is first used: `speculative --help` needs none of them."""
    for room, public in _ROOMS.items():
        if name in public:
            value = getattr(import_module(f"speculative.{room}"), name)
            globals()[name] = value
            return value
    raise AttributeError(f"module 'speculative' has no attribute {name!r}")
