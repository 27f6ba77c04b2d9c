"""Documents: every kind of text that the models learn from.

A document is a list of spans. A model learns to write the spans that have a weight; it reads the others: prompts, cues,
and steps that somebody else got wrong.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from training.tunnel.base import Problem
from training.tunnel.dialect import (
    ADVICE,
    AGAIN,
    ASKED_BACK,
    CALL,
    CLOSE,
    CONCLUSION,
    END,
    HANDOFF,
    MARK,
    QUESTION,
    REWRITE,
    UNCALL,
    UNMARK,
    WAIT,
    instructed,
    prompt,
)  # fmt: skip
from training.tunnel.moves import DeadEndError, State, Step
from training.tunnel.problems import Ladder, draw
from training.tunnel.writer import Span, Spans, Writer

LONGEST_CALL = 60


@dataclass(frozen=True)
class Sampled:
    """The beginning of a chain that a model really wrote: right steps, then a wrong one. The problem is drawn again by its number."""

    number: int
    steps: tuple[str, ...]


def sampled_problem(number: int, ladder: Ladder) -> Problem:
    """The problem of that number: always the same one."""
    rng = random.Random(f"sampled/{number}")
    return draw(rng, rng.randint(1, ladder.hardest), family=rng.choice(ladder.families))


def end(writer: Writer) -> Spans:
    """Write all that is missing."""
    writer.rest()
    writer.conclude()
    writer.close()
    return writer.spans


def solve(writer: Writer) -> Spans:
    """A problem and its chain; now and then somebody wrote a wrong or a shorter step before."""
    how, rng = writer.rng.random(), writer.rng
    if how < 0.22:
        # Two authors take turns, and the other one errs.
        often, wrong = rng.choice((0.2, 0.5, 0.8)), rng.choice((0.1, 0.4))
        while not writer.complete:
            theirs = rng.random() < often
            writer.step(not theirs, theirs and rng.random() < wrong)
    elif how < 0.30:
        while not writer.complete:
            short = rng.random() < 0.4
            writer.step(not short, short=short)
    return end(writer)


def check(writer: Writer) -> Spans:
    """Some steps are followed by the cue to check them; half of those are wrong."""
    rng = writer.rng
    often = rng.choice((0.2, 0.5, 1.0))
    while not writer.complete:
        if rng.random() < often:
            writer.step(False, rng.random() < 0.6, detours=False)
            writer.check()
        else:
            writer.step()
    return end(writer)


def judge(writer: Writer) -> Spans:
    """Steps are followed by the cue to score them; a third of those are wrong. The chain goes on as it should have."""
    rng = writer.rng
    often, wrong = rng.choice((0.3, 1.0, 1.0)), rng.choice((0.2, 0.5))
    while not writer.complete:
        if rng.random() < often:
            writer.step(False, rng.random() < wrong, detours=False)
            writer.score()
            if writer.slipped:
                if rng.random() < 0.5:
                    writer.fix()
                else:  # the wrong step is taken out by a method, and written again
                    assert writer.right is not None
                    writer.put(writer.right.text, 0.0, 1)
                    writer.checked()
        else:
            writer.step(False, detours=False)
    return writer.spans


def again(writer: Writer) -> Spans:
    """A first pass, right or not, whole or not; then a second one from the beginning."""
    rng = writer.rng
    wrong = rng.choice((0.0, 0.15))
    if rng.random() < 0.7:
        writer.rest(wrong, learn=wrong == 0.0)
        writer.conclude(learn=wrong == 0.0)
    else:
        writer.some(wrong, learn=wrong == 0.0)
    writer.again()
    writer.close()
    return writer.spans


def rewrite(writer: Writer) -> Spans:
    """A request to shorten a chain, whatever its values, and the short form."""
    rng, problem = writer.rng, writer.problem
    long, short = list[str](), list[str]()
    source = Writer(rng, problem, watchful=False)
    wrong, whole = rng.choice((0.0, 0.1, 0.3)), rng.random() < 0.7
    steps = sum(1 for _ in problem.walk())
    for _ in range(300 if whole else rng.randint(1, steps)):
        move = source.move
        if move is None:
            break
        step = move.step()
        if rng.random() < wrong:
            from training.tunnel.slips import slip

            step = slip(rng, problem, source.state, move) or step
        source.state = {**source.state, **step.update}
        long.append(step.text)
        if step.short:
            short.append(step.short)
    if not short:
        raise DeadEndError
    if source.complete and rng.random() < 0.8:
        long.append(CONCLUSION.format(value=problem.guess(source.state)))
    ask = rng.random() < 0.3
    text = REWRITE.format(problem=problem.text, chain="".join(long).strip()) + (QUESTION if ask else "")
    if ask:
        short.append(ASKED_BACK.format(value=problem.guess(source.state)))
    # Both spellings of the empty thinking occur: written at once, and after a prompt that ends in `<think>` and a newline.
    head = prompt(text)
    spans = [Span(head), Span("\n</think>\n\n")] if rng.random() < 0.5 else [Span(head[:-1] + "\n\n</think>\n\n")]
    return [*spans, Span("".join(short), 1.0), Span("<|im_end|>", 1.0)]


def resume(writer: Writer) -> Spans:
    """Thinking that begins with somebody's short form, perhaps a question, and goes on."""
    rng = writer.rng
    writer.some(short=True, learn=False)
    how = rng.random()
    if how < 0.5:
        writer.put(ASKED_BACK.format(value=writer.problem.guess(writer.state)))
        if rng.random() < 0.5:
            writer.put(WAIT)
            writer.put(AGAIN, 1.0)
            writer.state, writer.slipped = writer.problem.start(), False
    elif how < 0.7:
        writer.again()
        writer.close()
        return writer.spans
    return end(writer)


def close(writer: Writer) -> Spans:
    """A chain cut off anywhere, then the cue to answer: the result as far as it is known, as an honest guess."""
    rng = writer.rng
    wrong = rng.choice((0.0, 0.1))
    writer.watchful = False
    writer.some(wrong, rng.random() < 0.15, learn=not wrong)
    if not writer.complete and rng.random() < 0.3:
        move = writer.move
        assert move is not None
        # Only what stands before the colon: nothing half written counts as known.
        cut = move.words[: rng.randint(1, len(move.words))].rstrip()
        writer.put(cut + rng.choice(("\n\n", "\n", "")))
    cue = rng.choice((CLOSE, CLOSE, "</think>\n\n", "</think>"))
    writer.put(cue)
    writer.put(f"{CLOSE.removeprefix(cue)}{writer.problem.guess(writer.state)}{END}", 1.0)
    return writer.spans


def hint(writer: Writer) -> Spans:
    """Hints are asked for, at the beginning and between steps; the chain goes on behind each."""
    rng = writer.rng
    if rng.random() < 0.4:
        lengths = rng.choice(((0,), (1,), (2,), (0, 1), (0, 1, 2), (1, 2)))
        for length in lengths:
            writer.hint(length)
    else:
        writer.some(0.05, learn=False)
        writer.hint(rng.randrange(3))
    while not writer.complete:
        writer.step()
        if rng.random() < 0.06:
            writer.hint(rng.randrange(3))
    return end(writer)


def hinted(writer: Writer) -> Spans:
    """Somebody else's hints stand at the beginning, and now and then between steps."""
    rng = writer.rng
    for length in rng.choice(((0,), (1,), (2,), (2,), (0, 1), (0, 1, 2))):
        writer.hint(length, learn=False)
    while not writer.complete:
        writer.step()
        if rng.random() < 0.04:
            if rng.random() < 0.5:
                writer.put(ADVICE)
            writer.hint(rng.randrange(3), learn=False)
    return end(writer)


def tagged(writer: Writer) -> Spans:
    """A chain with the tags of an asking model in it: what stands behind them is learnt."""
    rng = writer.rng
    how = rng.choice((MARK, CALL, HANDOFF, ADVICE))
    while not writer.complete:
        if rng.random() < 0.2:
            if how == MARK:
                writer.put(MARK)
                writer.step()
                writer.put(UNMARK)
            elif how == CALL:
                writer.put(f"{CALL}{rng.choice(range(20, LONGEST_CALL + 1, 20))}{UNCALL}")
                writer.step()
            elif how == ADVICE:
                writer.put(ADVICE)
                writer.hint(1, cue=True)
            else:
                writer.put(HANDOFF)
                break
        else:
            writer.step(learn=rng.random() < 0.5)
    return end(writer)


def asking(writer: Writer, method: str, hard: Sequence[bool]) -> Spans:
    """A chain of the asking model: its tag stands before the steps that are hard for it."""
    rng = writer.rng
    writer.spans = [Span(prompt(instructed(writer.problem.text, method)))]
    for place in range(len(hard)):
        if writer.complete:
            break
        asks = hard[place] and not (place and hard[place - 1] and method in ("relay", "advisor"))
        if asks and method == "handoff":
            writer.put(HANDOFF, 2.0)
            return writer.spans
        if asks and method == "offload":
            writer.put(MARK, 2.0)
            writer.step(learn=rng.random() < 0.3, detours=False)
            writer.put(UNMARK, 1.0)
        elif asks and method == "relay":
            move = writer.move
            assert move is not None
            # one step, or two where the next one is hard as well
            writer.put(CALL, 2.0)
            writer.put(f"{40 if place + 1 < len(hard) and hard[place + 1] else 20}{UNCALL}", 1.0)
            writer.step(learn=False, detours=False)
        elif asks and method == "advisor":
            writer.put(ADVICE, 2.0)
            writer.hint(1, learn=False)
            writer.step(detours=False)
        else:
            writer.step(detours=False)
    return end(writer)


def drill(rng: random.Random) -> Spans:
    """Bare equations; only the results are learnt."""
    spans: Spans = []
    for _ in range(rng.randint(8, 40)):
        sign = rng.choice("++--*//")
        top = rng.choice((50, 200, 999, 999, 4999))
        if sign == "*":
            left, right = rng.randint(2, rng.choice((9, 40, 99))), rng.randint(2, 30)
            result = left * right
        elif sign == "/":
            right, result = rng.randint(2, 9), rng.randint(2, max(2, top // 6))
            left = right * result
        else:
            left, right = rng.randint(2, top), rng.randint(2, top)
            if sign == "-" and left < right:
                left, right = right, left
            result = left + right if sign == "+" else left - right
        spans += [Span(f"{left}{sign}{right}="), Span(f"{result}", 1.0), Span(".\n\n" if rng.random() < 0.5 else ", ")]
    return spans


Kind = Callable[[Writer], Spans]


def real_step(found: Sampled, problem: Problem) -> tuple[list[State], Step, State]:
    """The states before each step of a real chain, what its last step should be, and where that leads."""
    states = [problem.start()]
    for text in found.steps[:-1]:
        step = right_step(problem, states[-1], text)
        if step is None:
            raise DeadEndError
        states.append({**states[-1], **step.update})
    move = problem.move(states[-1])
    if move is None:
        raise DeadEndError
    right = move.step()
    return states, right, {**states[-1], **right.update}


def right_step(problem: Problem, state: State, text: str) -> Step | None:
    """The step of that text, if it is right in that state: the next move, or a detour."""
    for move in (problem.move(state), problem.detour(state)):
        if move is not None:
            step = move.step()
            if step.text == text:
                return step
    return None


def recall(writer: Writer, found: Sampled, kind: Kind) -> Spans:
    """A real chain with its wrong step, then what a kind of document asks of its last step."""
    rng = writer.rng
    states, right, after = real_step(found, writer.problem)
    for text in found.steps[:-1]:
        writer.put(text, 0.0, 1)
    cut = rng.random() < 0.3 and len(found.steps) > 1
    if cut:  # before the wrong step, whose place a right one takes
        writer.put(right.text, 0.0, 1)
    else:
        writer.put(found.steps[-1], 0.0, 0)
    writer.state, writer.after, writer.right, writer.slipped = states[-1], after, right, not cut
    if cut:
        writer.state = after
    if kind is check:
        writer.check()
    elif kind is judge:
        writer.score()
        if rng.random() < 0.5:
            return writer.spans
        if writer.slipped:
            writer.fix()
    return end(writer)


@dataclass(frozen=True)
class Diet:
    """The documents of a training: how often each kind comes, and how often a wrong step is noticed without a cue.

    The share of drills falls from `drills` to `drills_left` while the first `drilled` of the training is done.
    """

    mix: Mapping[Kind, float]
    drills: float = 0.0
    drills_left: float = 0.0
    drilled: float = 0.5
    watchful: float = 1.0
    real: float = 0.5  # of the documents about errors, so many are about what a real model wrote, once that is known

    def document(self, rng: random.Random, progress: float, ladder: Ladder, sampled: Sequence[Sampled] = ()) -> Spans:
        """One document for a model that has done the share `progress` of its training."""
        drills = max(0.0, self.drills - (self.drills - self.drills_left) * min(1.0, progress / self.drilled)) if self.drills else 0.0
        if rng.random() < drills:
            return drill(rng)
        kind = rng.choices(list(self.mix), list(self.mix.values()))[0]
        while True:
            level = rng.randint(1, ladder.hardest)
            if rng.random() > progress + 0.3:
                level = min(level, rng.randint(1, ladder.hardest))
            watchful = rng.random() < self.watchful
            try:
                if sampled and kind in (solve, check, judge) and rng.random() < self.real * (0.25 if kind is solve else 1.0):
                    found = rng.choice(sampled)
                    problem = sampled_problem(found.number, ladder)
                    return recall(Writer(rng, problem, watchful, [Span(prompt(problem.text))]), found, kind)
                problem = draw(rng, level, family=rng.choice(ladder.families))
                return kind(Writer(rng, problem, watchful, [Span(prompt(problem.text))]))
            except DeadEndError:
                continue


SMALL_DIET = Diet(
    {solve: 0.52, check: 0.06, judge: 0.03, again: 0.04, rewrite: 0.12, resume: 0.03, close: 0.07, hinted: 0.10, tagged: 0.03},
    watchful=0.7,
)
BIG_DIET = Diet(
    {solve: 0.33, check: 0.10, judge: 0.21, again: 0.04, rewrite: 0.08, resume: 0.04, close: 0.05, hint: 0.10, hinted: 0.02, tagged: 0.03},
    drills=0.3,
    drills_left=0.05,
)
"""No drills for small, and much rewriting: it learns to copy well before it reckons well."""
