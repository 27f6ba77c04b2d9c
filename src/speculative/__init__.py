"""Lets a big and a small reasoning model write one chain of thought together.

Public names are loaded on first use. `__init__.pyi` names them for type checkers.
"""

from importlib import import_module
from typing import Any

__version__ = "0.2.0"

_MODULES = {
    "chain.chain": ("Chain",),
    "chain.drafts": ("Draft",),
    "chain.reply": ("Reply",),
    "chain.steps": ("STEP",),
    "engines.base": ("Engine",),
    "errors": ("EngineError", "MethodError", "SpeculativeError", "UsageError"),
    "methods.base": ("Method",),
    "methods.wrapper": ("Wrapper",),
    "pair": ("Pair",),
    "problem": ("Message", "Problem", "Role", "Sampling"),
    "prompts": ("Question",),
    "result": ("Result",),
    "trace.usage": ("Usage",),
    "runner": ("asolve", "solve", "stream"),
    "trace.events": ("Event",),
    "trace.trace": ("Trace",),
}

__all__ = sorted(["__version__", *(name for names in _MODULES.values() for name in names)])  # pyright: ignore[reportUnsupportedDunderAll]


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
