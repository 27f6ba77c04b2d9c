"""Defines the calls of simulated chains, and the programs that make them."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, Literal, TypeVar

Operation = Literal["run", "start", "wait", "cancel", "sleep", "keep"]


class PlannedCall:
    """One call to a server on the virtual clock.

    Args:
        role: The role of the model.
        prompt: Tokens of the prompt.
        tokens: Tokens that it writes, at least 1.
        known: Leading tokens of the prompt that the server has seen before in this text.
        label: Its purpose, such as `draft` or `judge`.
        branch: Distinguishes texts of one chain that go on side by side.
        goes_on: It is the rest of a stream that did not end, so it reaches the server at once.
        room: Tokens that may follow the prompt, for which the cache must have room.
        joined: It is a further sequence of the request that was made just before.
    """

    __slots__ = (
        *("began", "branch", "cancelled", "chain", "done", "ended", "first", "goes_on", "joined", "known", "label", "left", "pinned"),
        *("placed", "prompt", "role", "room", "scheduled", "server", "tokens", "waiter", "written"),
    )

    def __init__(
        self,
        role: str,
        prompt: int,
        tokens: int,
        known: int = 0,
        label: str = "write",
        branch: int = 0,
        *,
        goes_on: bool = False,
        room: int = 0,
        joined: bool = False,
    ) -> None:
        self.goes_on, self.joined, self.room = goes_on, joined, max(1, tokens, room)
        self.role, self.prompt, self.tokens, self.known, self.label, self.branch = role, prompt, max(1, tokens), known, label, branch
        self.began = self.placed = self.scheduled = self.first = self.ended = 0.0
        self.left = -1
        """New tokens of the prompt that are not read yet; -1 before the server looks."""
        self.written = 0
        self.pinned = 0
        self.done = self.cancelled = False
        self.chain: Any = None
        self.server: Any = None
        self.waiter: Any = None


Action = tuple[Operation, Any]
"""Runs, starts, awaits or cancels a call, sleeps for seconds, or tells tokens that are kept."""

R = TypeVar("R")
Actions = Generator[Action, Any, R]
"""Yields a part of the actions of one chain, and returns what follows from them."""

Program = Actions[None]
"""Yields the actions of one chain, in order."""


def run(call: PlannedCall) -> Action:
    """Returns the action that makes a call and waits for its end."""
    return "run", call


def start(call: PlannedCall) -> Action:
    """Returns the action that begins a call and goes on."""
    return "start", call


def wait(call: PlannedCall) -> Action:
    """Returns the action that waits for the end of a call that was begun."""
    return "wait", call


def cancel(call: PlannedCall) -> Action:
    """Returns the action that cancels a call."""
    return "cancel", call


def sleep(seconds: float) -> Action:
    """Returns the action that waits for seconds, without any server."""
    return "sleep", seconds
