"""Documents: every kind of text that the models learn from.

A document is a list of spans. A model learns to write the spans marked `learn`; it reads the others: prompts, cues, and
steps that somebody else got wrong.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from training.stories import LARGEST, LEVELS, Operation, Story, conclusion, draw
from training.writer import CHECK, CLOSE, END, RIGHT, SCORE, WRONG, DeadEndError, Spans, Writer, prompt

REWRITE = "{problem}\n\nReasoning so far:\n\n{chain}\n\nRewrite the reasoning, shorter."
QUESTION = " End with a question."


@dataclass(frozen=True)
class Sampled:
    """The beginning of a chain that a model really wrote: right steps, then one wrong one."""

    story: Story
    steps: tuple[str, ...]
    value: int


def begin(rng: random.Random, story: Story, watchful: bool) -> Writer:
    """A writer with the problem in front of it."""
    return Writer(rng, story, watchful, [(prompt(story.problem), False)])


def end(writer: Writer) -> Spans:
    """Write all that is missing."""
    writer.rest()
    writer.conclude()
    writer.close()
    return writer.spans


def solve(writer: Writer) -> Spans:
    """A problem and its chain; now and then somebody wrote a wrong or a shorter step before."""
    how, rng = writer.rng.random(), writer.rng
    if how < 0.25:
        # Two authors take turns, and the other one errs.
        often, wrong = rng.choice((0.2, 0.5, 0.8)), rng.choice((0.1, 0.4))
        while not writer.complete:
            theirs = rng.random() < often
            writer.step(not theirs, theirs and writer.index >= -1 and rng.random() < wrong)
    elif how < 0.35:
        while not writer.complete:
            short = rng.random() < 0.4
            writer.step(not short, short=short)
    return end(writer)


def solve_sampled(writer: Writer) -> Spans:
    """Go on from what a model really wrote; now and then it wrote one more step after its error."""
    if writer.slipped and not writer.complete and writer.rng.random() < 0.15:
        writer.step(learn=False)
    return end(writer)


def check(writer: Writer) -> Spans:
    """Some steps are followed by the cue to check them; half of those are wrong."""
    rng = writer.rng
    often = rng.choice((0.2, 0.5, 1.0))
    while not writer.complete:
        if rng.random() < often:
            writer.step(False, writer.index >= -1 and rng.random() < 0.6, short=rng.random() < 0.1)
            writer.check()
        else:
            writer.step()
    if rng.random() < 0.15:
        writer.conclude(False, wrong=rng.random() < 0.5)
        writer.put(CHECK, False)
        writer.put(f" {writer.value}.\n\n", True)
    return end(writer)


def check_sampled(writer: Writer) -> Spans:
    """Check the last step of a chain that a model really wrote, and go on."""
    writer.check()
    return end(writer)


def judge(writer: Writer) -> Spans:
    """Some steps are followed by the cue to score them; half of those are wrong. The chain need not end."""
    rng = writer.rng
    often, wrong = rng.choice((0.2, 1.0, 1.0)), rng.choice((0.2, 0.5))
    last = writer.story.level - 1 if rng.random() < 0.7 else rng.randrange(writer.story.level)
    while writer.index < last:
        writer.step(False, writer.index >= -1 and rng.random() < wrong, short=rng.random() < 0.1)
        if rng.random() < often or writer.index == last:
            writer.score()
            if rng.random() < 0.1:
                writer.check()
    if writer.complete and rng.random() < 0.3:
        slipped = rng.random() < 0.4
        writer.conclude(False, wrong=slipped)
        writer.put(SCORE, False)
        writer.put(f"{writer.value}, {WRONG if slipped else RIGHT}.\n\n", True)
    return writer.spans


def judge_sampled(writer: Writer) -> Spans:
    """Score the last step of a chain that a model really wrote."""
    writer.score()
    return writer.spans


def again(writer: Writer) -> Spans:
    """A first pass, right or not, whole or not; then a second one from the beginning, now and then a third."""
    rng = writer.rng
    wrong = rng.choice((0.0, 0.3))
    short = rng.random() < 0.2
    learn = wrong == 0.0 and not short
    if rng.random() < 0.7:
        writer.rest(wrong, short, learn)
        if not short or rng.random() < 0.5:
            writer.conclude(learn)
    else:
        writer.some(wrong, short, learn)
    writer.again()
    if writer.story.level <= 5 and rng.random() < 0.3:
        writer.again()
    writer.close()
    return writer.spans


def again_sampled(writer: Writer) -> Spans:
    """Go through it again after a wrong step that a model really wrote."""
    if writer.rng.random() < 0.7:
        writer.rest(learn=False)
        writer.conclude(learn=False)
    writer.again()
    writer.close()
    return writer.spans


def rewrite(writer: Writer) -> Spans:
    """A request to shorten a chain, whatever its values, and the short form."""
    rng, story = writer.rng, writer.story
    source = Writer(rng, story)
    wrong = rng.choice((0.0, 0.2, 0.5))
    (source.rest if rng.random() < 0.7 else source.some)(wrong)
    lines = [text for text, _ in source.spans]
    short = [line.rpartition(": ")[2] for line in lines]
    short[0] = f"{story.start} {story.things}.\n\n"
    whole = source.complete and rng.random() < 0.8
    chain = [line if rng.random() < 0.9 else brief for line, brief in zip(lines, short, strict=True)]
    if whole:
        chain.append(conclusion(source.value))
    ask = rng.random() < 0.3
    text = REWRITE.format(problem=story.problem, chain="".join(chain).strip()) + (QUESTION if ask else "")
    if ask:
        short.append(f"Is {source.value} right?\n\n")
    # Both spellings of the empty thinking occur: written at once, and after a prompt that ends in `<think>` and a newline.
    head = prompt(text)
    spans: Spans = [(head, False), ("\n</think>\n\n", False)]
    if rng.random() < 0.5:
        spans = [(head[:-1] + "\n\n</think>\n\n", False)]
    return [*spans, ("".join(short), True), ("<|im_end|>", True)]


def resume(writer: Writer) -> Spans:
    """Thinking that begins with somebody's short form, perhaps a question, and goes on."""
    rng = writer.rng
    wrong = rng.choice((0.0, 0.0, 0.1))
    steps = rng.randint(1, writer.story.level + 1)
    for number in range(steps):
        last = number == steps - 1 and writer.index >= -1 and rng.random() < 0.4
        writer.step(False, last or (writer.index >= -1 and rng.random() < wrong), short=True)
    how = rng.random()
    if how < 0.6:
        writer.put(f"Is {writer.value} right?\n\n", False)
        writer.check(cued=False)
    elif how < 0.8:
        writer.again()
        writer.close()
        return writer.spans
    return end(writer)


def close(writer: Writer) -> Spans:
    """A chain cut off anywhere, then the cue to answer: the last value known, as an honest guess."""
    rng, story = writer.rng, writer.story
    wrong = rng.choice((0.0, 0.15))
    short = rng.random() < 0.15
    writer.some(wrong, short, learn=not short and not wrong)
    if not writer.complete and rng.random() < 0.3:
        step = story.step(writer.index + 1, writer.value) if fits(writer) else story.opening()
        letters = rng.randint(1, len(step) - 4)
        # Only what stands before the result: nothing half written counts as known.
        cut = step[:letters].partition("=")[0].rstrip()
        writer.put(cut + rng.choice(("\n\n", "\n", "")), False)
    cue = rng.choice((CLOSE, CLOSE, "</think>\n\n", "</think>"))
    writer.put(cue, False)
    writer.put(f"{CLOSE.removeprefix(cue)}{writer.value}{END}", True)
    return writer.spans


def fits(writer: Writer) -> bool:
    """Whether the story can go on from the value written last."""
    return writer.story.operations[writer.index + 1].apply(writer.value) is not None


def drill(rng: random.Random) -> Spans:
    """Bare equations; only the results are learnt."""
    spans: Spans = []
    for _ in range(rng.randint(8, 40)):
        value = rng.randint(2, rng.choice((100, 200, 300, 300)))
        sign = rng.choice("++--*/g")
        if sign == "g":
            a, b = rng.randint(2, 9), rng.randint(2, 12)
            spans += [(f"{a}*{b}=", False), (f"{a * b}", True), (", ", False)]
            sign, amount = rng.choice("+-"), a * b
        else:
            amount = rng.randint(2, 9) if sign in "*/" else rng.randint(2, 300)
        if sign == "*":
            value = rng.randint(2, max(2, 300 // amount))
        elif sign == "/":
            value = amount * rng.randint(2, max(2, 300 // amount))
        elif sign == "-":
            value = max(value, amount) + (rng.randint(0, 100) if value < amount else 0)
        elif value + amount > LARGEST // 2:
            amount = rng.randint(2, 99)
        after = Operation({"+": "gain", "-": "lose", "*": "times", "/": "share"}[sign], amount).apply(value)
        assert after is not None
        spans += [(f"{value}{sign}{amount}=", False), (f"{after}", True), (".\n\n", False)]
    return spans


Kind = Callable[[Writer], Spans]

SAMPLED: dict[Kind, Kind] = {solve: solve_sampled, check: check_sampled, judge: judge_sampled, again: again_sampled}
"""The kinds about errors, and their like about the wrong steps of a real model."""


@dataclass(frozen=True)
class Diet:
    """The documents of a training: how often each kind comes, and whether a wrong step is noticed without a cue.

    The share of drills falls from `drills` to `drills_left` while the first `drilled` of the training is done.
    """

    mix: dict[Kind, float]
    watchful: bool
    drills: float
    drills_left: float = 0.05
    drilled: float = 0.5
    real: float = 0.6  # of the documents about errors, so many are about what a real model wrote, once that is known

    def drilling(self, progress: float) -> float:
        """The share of drills."""
        return max(0.0, self.drills - (self.drills - self.drills_left) * min(1.0, progress / self.drilled))

    def document(self, rng: random.Random, progress: float, sampled: Sequence[Sampled] = ()) -> Spans:
        """One document for a model that has done the share `progress` of its training."""
        if rng.random() < self.drilling(progress):
            return drill(rng)
        level = min(rng.choice(LEVELS), rng.choice(LEVELS)) if rng.random() > progress + 0.3 else rng.choice(LEVELS)
        kind = rng.choices(list(self.mix), list(self.mix.values()))[0]
        real = sampled and kind in SAMPLED and rng.random() < self.real
        while True:
            try:
                if real:
                    found = rng.choice(sampled)
                    return SAMPLED[kind](recall(begin(rng, found.story, self.watchful), found))
                return kind(begin(rng, draw(rng, level), self.watchful))
            except DeadEndError:
                continue


def recall(writer: Writer, found: Sampled) -> Writer:
    """Put a real chain in front: two times in three with its wrong step, else cut before it."""
    if writer.rng.random() < 0.67:
        writer.read(found.steps, found.value)
    else:
        right = writer.rng.randint(1, len(found.steps) - 1)
        writer.read(found.steps[:right], found.story.values[right - 1])
    return writer


SMALL_DIET = Diet(
    {solve: 0.30, check: 0.10, judge: 0.03, again: 0.05, rewrite: 0.42, resume: 0.04, close: 0.06},
    watchful=False,
    drills=0.0,
    drills_left=0.0,
)
BIG_DIET = Diet({solve: 0.32, check: 0.15, judge: 0.14, again: 0.08, rewrite: 0.18, resume: 0.06, close: 0.07}, watchful=True, drills=0.3)
"""No drills for small, and much rewriting: it learns to copy well before it reckons well."""
