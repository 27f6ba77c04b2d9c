"""Helps the tests of the methods: one chain by a scripted pair, and who wrote which of its text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from strategies import check_books

from speculative import Pair, Result, solve
from speculative.testing import ScriptedEngine


def solved(method: str, big: Any, small: Any, *, judge: Any = None, **settings: Any) -> Result:
    """Solves with engines that are scripts, or scripted engines already; no text is added to the problem."""
    engines = {"big": big, "small": small} | ({} if judge is None else {"judge": judge})
    made = {role: one if isinstance(one, ScriptedEngine) else ScriptedEngine(one, name=role) for role, one in engines.items()}
    result = solve("?", method, pair=Pair(**made), **{"answer_instruction": "", **settings})
    check_books(result.trace, made)
    return result


def steps(*texts: str, then: str = "</think>42") -> str:
    """A whole script of these steps."""
    return "".join(f"{text}\n\n" for text in texts) + then


def numbered(*texts: str) -> Callable[[str, int], str]:
    """A model that goes on with the step of the number that the chain is at, whatever the steps before it say."""

    def script(seen: str, seed: int) -> str:
        thought = seen.rpartition("<think>\n")[2]
        if "</think>" in thought:
            return "42"
        *done, partial = thought.split("\n\n")
        return steps(*texts[len(done) :])[len(partial) :]

    return script


def by(role: str) -> Callable[[str, int], str]:
    """A model that writes five steps which say who wrote them."""
    return numbered(*(f"{role} {number}." for number in range(5)))


def texts(result: Result) -> list[str]:
    """The author's first letter and the text of each segment of the thinking."""
    return [f"{segment.author[0]} {segment.text}" for segment in result.trace.segments() if segment.phase == "thinking" and segment.text]


def authors(result: Result) -> str:
    """The first letters of the authors of the thinking's segments, in order."""
    return "".join(text[0] for text in texts(result))


def counts(result: Result, name: str, role: str | None = None) -> int:
    """How many events of a kind there are, of a role's calls."""
    found = [event for event in result.trace.walk() if type(event).__name__ == name]
    return sum(role is None or (getattr(event, "call", None) is not None and event.call.role == role) for event in found)  # type: ignore[union-attr]


def reasons(result: Result) -> list[str]:
    """The reasons of all rejections."""
    return [event.reason for event in result.trace.walk() if type(event).__name__ == "Rejected"]  # type: ignore[union-attr]


def thought_of(seen: str) -> str:
    """The thinking in what a model sees, whatever is asked behind it."""
    return seen.partition("<think>\n")[2].partition("</think>")[0].removesuffix("\n")
