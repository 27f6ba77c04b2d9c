"""Checks the fields and the coroutines of a method when its class is made."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Set
from types import FunctionType
from typing import Any, cast, get_args

from speculative.chain.requests import ABILITIES
from speculative.errors import UnknownNameError, UsageError, quote
from speculative.problem import Role

RUNNER_OWNS = frozenset(
    [
        "answer_instruction",
        "answer_tokens",
        "big",
        "degrade",
        "epochs",
        "events",
        "json",
        "judge",
        "limit",
        "max_produced",
        "max_seconds",
        "max_thinking",
        "max_tokens",
        "messages",
        "method",
        "methods",
        "model",
        "n",
        "pair",
        "params",
        "problem",
        "seed",
        "small",
        "stop",
        "stream",
        "temperature",
        "thinking_budget",
        "top_k",
        "top_p",
        "trace",
        "user",
        "prefill_every",
        "with",
        "wrappers",
    ]
)
"""Names that the runner and the doors own: no method may have a field called so."""


def check_field_names(method: str, fields: Iterable[str]) -> None:
    """Raises `TypeError` if a field has a name that the runner owns."""
    if taken := sorted(RUNNER_OWNS.intersection(fields)):
        words = "names {} belong to the runner; choose others" if taken[1:] else "name {} belongs to the runner; choose another"
        raise TypeError(f"{method}: the field {words.format(', '.join(taken))}")


def check_needs(method: str, needs: object) -> None:
    """Raises `UsageError` unless `needs` names roles with sets of abilities."""
    if not isinstance(needs, Mapping):
        raise UsageError(f'{method}.needs must be a dict of roles, got {quote(needs)}; write {{"big": {{"score"}}}}')
    for role, abilities in cast("Mapping[Any, Any]", needs).items():
        if role not in get_args(Role):
            raise UsageError(f"{method}.needs: {UnknownNameError('role', role, list(get_args(Role)))}")
        if not isinstance(abilities, Set):
            raise UsageError(f"{method}.needs must have a set of abilities for {role}, got {quote(abilities)}")
        if unknown := sorted(map(str, cast("Set[object]", abilities) - ABILITIES)):
            raise UsageError(f"{method}.needs: {UnknownNameError('ability', unknown[0], sorted(ABILITIES))}")


def check_definition(method: str, function: FunctionType) -> None:
    """Checks that `think` or `run` is a coroutine function of a chain.

    Raises `UsageError` if it is not.
    """
    name, place = function.__name__, f"({function.__code__.co_filename}, line {function.__code__.co_firstlineno})"
    if not inspect.iscoroutinefunction(function) and not hasattr(function, "__wrapped__"):
        raise UsageError(f"{method}.{name} must be `async def`, without `yield` {place}")
    try:
        inspect.signature(function).bind(None, None)
    except TypeError:
        raise UsageError(f"{method}.{name} must take a chain: `async def {name}(self, chain)` {place}") from None
