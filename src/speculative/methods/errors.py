"""Describes errors of methods to their authors.

An error is one line that ends with the file and line of the author.
"""

from __future__ import annotations

import asyncio
import inspect
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from speculative.chain.authors import Place, home_of, line_of
from speculative.errors import ChainStateError, MethodError, SpeculativeError
from speculative.methods.base import Method
from speculative.methods.wrapper import Wrapper
from speculative.problem import Problem
from speculative.trace.trace import Trace


def prepare(method: Method, problem: Problem) -> Problem:
    """Returns the problem in the form that the models see.

    Raises `MethodError` if the method fails or does not return a problem.
    """
    try:
        prepared = method.prepare(problem)
        if not isinstance(prepared, Problem):  # pyright: ignore[reportUnnecessaryIsInstance]  of a method that is not typed
            raise ChainStateError(f"prepare must return a Problem, got {prepared!r}")
    except Exception as raised:
        if isinstance(raised, SpeculativeError):
            raise
        raise method_error(method, raised, verb="prepare") from raised
    return prepared


def is_own(raised: BaseException) -> bool:
    """Returns True if a method raised an exception of its own.

    Ctrl-C and a cancellation from outside are not its own.
    """
    leaf = _leaf(raised)
    if isinstance(leaf, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is not None and not task.cancelling()
    return not isinstance(raised, SpeculativeError) and not isinstance(leaf, KeyboardInterrupt | GeneratorExit)


def method_error(method: Method, raised: BaseException, trace: Trace | None = None, verb: str = "think") -> MethodError:
    """Describes the failure of a method for its user, with the author's file and line."""
    leaf, homes = _leaf(raised), _homes(method)
    file, line = getattr(leaf, "where", None) or line_of(leaf, homes) or line_of(raised, homes) or _definition(method, verb)
    error = MethodError(f"the method {method.full_name} failed: {_one_line(leaf)} ({file}, line {line})")
    error.trace = trace
    return error


def _one_line(leaf: BaseException) -> str:
    """Returns an error as one line."""
    if isinstance(leaf, ValidationError):
        first = leaf.errors(include_url=False)[0]
        text = ": ".join(part for part in (".".join(map(str, first["loc"])), first["msg"]) if part)
    else:
        text = " ".join(str(leaf).split())
    if isinstance(leaf, ChainStateError):
        return text
    return f"{type(leaf).__name__}: {text}" if text else type(leaf).__name__


def _leaf(raised: BaseException) -> BaseException:
    """Returns the first error in a group of tasks that is not a group itself."""
    while isinstance(raised, BaseExceptionGroup):
        raised = cast("BaseExceptionGroup[BaseException]", raised).exceptions[0]
    return raised


def _classes(method: Method) -> list[type[Method]]:
    """Returns the classes that make a method, the innermost first."""
    inner = _classes(method.inner) if isinstance(method, Wrapper) else []
    return [*inner, *(kind for kind in type(method).__mro__ if issubclass(kind, Method) and kind not in (Method, Wrapper))]


def _functions(kind: type[Method]) -> dict[str, Any]:
    """Returns the functions that a class defines itself.

    Other functions were put into it, by pydantic or by hand.
    """
    return {name: one for name, one in vars(kind).items() if inspect.isfunction(one) and one.__module__ == kind.__module__}


def _homes(method: Method) -> set[Path]:
    """Returns the files of a method's classes.

    For an installed class, this is its whole package. For a class of this library, it is the class's file.
    """
    library = Path(__file__).parents[1]
    files = {one.__code__.co_filename for kind in _classes(method) for one in _functions(kind).values()}
    return {Path(file) if Path(file).is_relative_to(library) else home_of(file) for file in files}


def _definition(method: Method, verb: str) -> Place:
    """Returns the line that defines the function that failed, or else the class.

    It stands in an error that passed no line of the author's. The function is `verb`, or else `run`.
    """
    kinds = _classes(method)
    for kind in kinds:
        for name in (verb, "run"):
            if found := _functions(kind).get(name):
                return found.__code__.co_filename, found.__code__.co_firstlineno
    try:
        return inspect.getfile(kinds[0]), inspect.getsourcelines(kinds[0])[1]
    except (OSError, TypeError):  # a class that was written in a shell has no file
        return "?", 0
