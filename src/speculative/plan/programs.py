"""Draws chains of methods: their calls, with forced decisions.

Each program has the calls of one method of the library, for a text of a given length. The random numbers decide as
`random.Random(seed).random() < acceptance`, once for each step, so two programs with one seed decide alike.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from msgspec import Struct

from speculative.errors import UnknownNameError
from speculative.plan.calls import Actions, PlannedCall, Program, cancel, run, start, wait


class Drawn(Struct, frozen=True):
    """The sizes of drawn chains, in tokens.

    Attributes:
        length: tokens of the text.
        step: tokens of a step.
        acceptance: the share of steps that are kept; for a cascade the chance that small's answers agree.
        prompt: tokens of the problem.
        question: tokens of a question to a judge.
        big_share: big's share of the chunks of `random_switch`.
        chunk: tokens of a chunk of `random_switch`.
        lead: tokens of big's turn of `cue_switch`.
        tail: tokens of small's turn of `cue_switch`.
        samples: chains of small in a cascade.
        answer: tokens of an answer that big writes behind the text, where both models write.
    """

    length: int = 8000
    step: int = 50
    acceptance: float = 0.8
    prompt: int = 256
    question: int = 24
    big_share: float = 0.2
    chunk: int = 16
    lead: int = 30
    tail: int = 20
    samples: int = 3
    answer: int = 0


MakeProgram = Callable[[Drawn, int], Program]
"""Makes the program of one chain with a seed."""


class Text:
    """The text of one chain, as its servers have seen it. Lengths are in tokens."""

    def __init__(self, prompt: int) -> None:
        self.size = prompt
        self.seen: dict[str, int] = {}

    def call(self, role: str, tokens: int, *, extra: int = 0, label: str = "write", goes_on: bool = False, room: int = 0) -> PlannedCall:
        """Makes a call with the text as its prompt.

        `extra`: tokens behind the text that are not kept, or not yet.
        """
        return PlannedCall(role, self.size + extra, tokens, self.seen.get(role, 0), label, goes_on=goes_on, room=room)

    def draft_ahead(self, size: int, tokens: int) -> PlannedCall:
        """Makes small's call for the step behind a drafted one of `size` tokens.

        Its server has just written that one, so it knows the whole prompt.
        """
        return PlannedCall("small", self.size + size, tokens, self.size + size, "draft")

    def keep(self, tokens: int, *roles: str) -> None:
        """Adds tokens to the text. The servers of `roles` have read all of it."""
        self.size += tokens
        for role in roles:
            self.seen[role] = self.size


def check_drafted(
    drawn: Drawn, text: Text, size: int, judge: str, ahead: PlannedCall | None, *, accepted: bool
) -> Actions[PlannedCall | None]:
    """Judges a drafted step, and has big write it again if it is not accepted.

    Returns the draft ahead of it; None if that was thrown away with the step.
    """
    yield run(text.call("big", 1, extra=size + (drawn.question if judge == "ask" else 0), label="judge"))
    if accepted:
        text.keep(size, "big", "small")
        return ahead
    if ahead:
        yield cancel(ahead)
    text.seen["big"] = text.seen["small"] = text.size
    yield run(text.call("big", size, label="rewrite"))
    text.keep(size, "big")
    return None


def alone(role: str) -> MakeProgram:
    """Returns the program in which one model writes everything."""

    def write(drawn: Drawn, seed: int) -> Program:
        yield run(PlannedCall(role, drawn.prompt, drawn.length))

    return write


def random_switch(drawn: Drawn, seed: int) -> Program:
    """Gives each chunk to big or small at random."""
    random, text, left = Random(seed), Text(drawn.prompt), drawn.length
    while left > 0:
        role, size = ("big" if random.random() < drawn.big_share else "small"), min(drawn.chunk, left)
        yield run(text.call(role, size))
        text.keep(size, role)
        left -= size
    if drawn.answer:
        yield run(text.call("big", drawn.answer, label="answer"))


def cue_switch(drawn: Drawn, seed: int) -> Program:
    """Lets big and small write in turns, as cue words would switch them."""
    text, left, place = Text(drawn.prompt), drawn.length, 0
    while left > 0:
        role, size = (("big", drawn.lead), ("small", drawn.tail))[place % 2]
        size = min(size, left)
        yield run(text.call(role, size))
        text.keep(size, role)
        left, place = left - size, place + 1
    if drawn.answer:
        yield run(text.call("big", drawn.answer, label="answer"))


def checked(judge: str, pipeline: bool) -> MakeProgram:
    """Returns the program of checked steps.

    `judge`: `ask` puts a question of one token to big, `score` has big read the step.
    """

    def write(drawn: Drawn, seed: int) -> Program:
        random, text, left = Random(seed), Text(drawn.prompt), drawn.length
        ahead: PlannedCall | None = None
        while left > 0:
            size = min(drawn.step, left)
            draft = ahead or text.call("small", size, label="draft")
            yield ("wait" if ahead else "run"), draft
            ahead = text.draft_ahead(size, drawn.step) if pipeline and left > size else None
            if ahead:
                yield start(ahead)
            ahead = yield from check_drafted(drawn, text, size, judge, ahead, accepted=random.random() < drawn.acceptance)
            left -= size
        if drawn.answer:
            yield run(text.call("big", drawn.answer, label="answer"))

    return write


def cascade(drawn: Drawn, seed: int) -> Program:
    """Lets small write several chains, and big one if their answers differ."""
    samples = [PlannedCall("small", drawn.prompt, drawn.length, 0, "sample", branch) for branch in range(drawn.samples)]
    for sample in samples:
        yield start(sample)
    for sample in samples:
        yield wait(sample)
    if Random(seed).random() >= drawn.acceptance:
        yield run(PlannedCall("big", drawn.prompt, drawn.length))


PROGRAMS: dict[str, MakeProgram] = {
    "big_only": alone("big"),
    "small_only": alone("small"),
    "random_switch": random_switch,
    "cue_switch": cue_switch,
    "step_verify": checked("ask", pipeline=False),
    "step_verify,pipeline=accept": checked("ask", pipeline=True),
    "likelihood_verify": checked("score", pipeline=False),
    "likelihood_verify,pipeline=accept": checked("score", pipeline=True),
    "cascade": cascade,
}
"""The methods whose chains can be drawn."""


def find_program(method: str) -> MakeProgram:
    """Returns the program of a method. Raises `UnknownNameError`."""
    if method not in PROGRAMS:
        raise UnknownNameError("method to draw", method, list(PROGRAMS))
    return PROGRAMS[method]
