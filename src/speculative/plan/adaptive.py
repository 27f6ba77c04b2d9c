"""Simulates chains that change their way to go on, as the method `auto` does."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Literal

from speculative.plan.calls import PlannedCall, Program, cancel, run, sleep, start
from speculative.plan.programs import Drawn, MakeProgram, Text, check_drafted

Way = Literal["big", "checked", "checked ahead", "small", "cascade"]
"""The ways to go on: big writes, small's steps are checked (with its next step drafted meanwhile), or small writes.

`cascade` is a way for whole chains: small writes several, and big one where their answers differ.
"""

Choose = Callable[[Way | None, int], Way]
"""Chooses the way of the next step, from the current one and the tokens of the text."""


def adaptive(choose: Choose, *, judge: str = "ask", warm: bool = False) -> MakeProgram:
    """Returns the program of chains that choose a way before each step.

    `warm`: both servers have read the prompt before.
    """

    def write(drawn: Drawn, seed: int) -> Program:
        random, text, left = Random(seed), Text(drawn.prompt), drawn.length
        if warm:
            text.keep(0, "big", "small")
        ahead: PlannedCall | None = None
        way: Way | None = None
        yield sleep(0)  # chains that begin at once are counted before any of them chooses
        while left > 0:
            before, way = way, choose(way, text.size)
            size = min(drawn.step, left)
            left -= size
            decision = random.random()
            if way in ("big", "small"):
                if ahead:
                    yield cancel(ahead)
                    ahead, text.seen["small"] = None, text.size
                yield run(text.call(way, size, goes_on=before == way, room=size + left))
                text.keep(size, way)
                yield "keep", size
                continue
            draft = ahead or text.call("small", size, label="draft")
            yield ("wait" if ahead else "run"), draft
            ahead = None
            if way == "checked ahead" and left:
                ahead = text.draft_ahead(size, drawn.step)
                yield start(ahead)
            ahead = yield from check_drafted(drawn, text, size, judge, ahead, accepted=decision < drawn.acceptance)
            yield "keep", size

    return write
