"""Documents: every kind of text that the models learn from.

A document is a list of spans. A model learns to write the spans marked `learn`; it reads the others: prompts, cues, and
steps that somebody else got wrong.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from training.stories import LARGEST, LEVELS, Operation, Story, conclusion, draw
from training.writer import CLOSE, END, DeadEndError, Spans, Writer, prompt

REWRITE = "{problem}\n\nReasoning so far:\n\n{chain}\n\nRewrite the reasoning, shorter."
QUESTION = " End with a question."


@dataclass(frozen=True)
class Sampled:
    """The beginning of a chain that a model really wrote: right steps, then one wrong one."""

    story: Story
    steps: tuple[str, ...]
    value: int


def begin(rng: random.Random, story: Story) -> Writer:
    """A writer with the problem in front of it."""
    return Writer(rng, story, [(prompt(story.problem), False)])


def solve(rng: random.Random, story: Story) -> Spans:
    """A problem and its chain; now and then somebody wrote a wrong or a shorter step before."""
    writer = begin(rng, story)
    how = rng.random()
    if how < 0.12:
        writer.rest(wrong=0.2)
    elif how < 0.2:
        writer.some(wrong=0.1, learn=False)
        writer.rest()
    elif how < 0.3:
        while not writer.complete:
            writer.step(learn=(short := rng.random() < 0.4) is False, short=short)
    else:
        writer.rest()
    writer.conclude()
    writer.close()
    return writer.spans


def check(rng: random.Random, story: Story) -> Spans:
    """Some steps are followed by the cue to check them; half of those are wrong."""
    writer = begin(rng, story)
    often = rng.choice((0.2, 0.5, 1.0))
    while not writer.complete:
        if rng.random() < often:
            writer.checked_step(wrong=0.6)
        else:
            writer.step()
    writer.conclude(learn=rng.random() < 0.8)
    if rng.random() < 0.1:
        writer.put("Check:", False)
        writer.put(f" {writer.value}.\n\n", True)
        writer.conclude()
    writer.close()
    return writer.spans


def check_sampled(rng: random.Random, sampled: Sampled) -> Spans:
    """Check the wrong step of a chain that a model really wrote, and go on."""
    writer = begin(rng, sampled.story)
    for step in sampled.steps:
        writer.put(step, False)
    writer.index = len(sampled.steps) - 2
    writer.before, writer.value = writer.story.values[max(writer.index, 0)], sampled.value
    writer.check()
    writer.rest()
    writer.conclude()
    writer.close()
    return writer.spans


def judge(rng: random.Random, story: Story) -> Spans:
    """Some steps are followed by the cue to score them; half of those are wrong."""
    writer = begin(rng, story)
    often = rng.choice((0.2, 0.5, 1.0))
    while not writer.complete:
        if rng.random() < often:
            writer.scored_step(wrong=0.5)
        else:
            writer.step()
    return writer.spans


def judge_sampled(rng: random.Random, sampled: Sampled) -> Spans:
    """Score a step of a chain that a model really wrote: the wrong one, which is the last, or a right one."""
    writer = begin(rng, sampled.story)
    last = len(sampled.steps) - 1
    judged = last if rng.random() < 0.5 else rng.randint(0, last)
    for step in sampled.steps[: judged + 1]:
        writer.put(step, False)
    writer.index = judged - 1
    values = [writer.story.start, *writer.story.values]
    writer.before, writer.value = values[judged], sampled.value if judged == last else values[judged + 1]
    writer.score()
    return writer.spans


def again_sampled(rng: random.Random, sampled: Sampled) -> Spans:
    """Go through it again after a wrong step that a model really wrote."""
    writer = begin(rng, sampled.story)
    for step in sampled.steps:
        writer.put(step, False)
    writer.index, writer.value = len(sampled.steps) - 2, sampled.value
    if rng.random() < 0.7:
        writer.rest(learn=False)
        writer.conclude(learn=False)
    writer.again()
    writer.close()
    return writer.spans


def again(rng: random.Random, story: Story) -> Spans:
    """A first pass, right or not, whole or not; then a second one from the beginning, now and then a third."""
    writer = begin(rng, story)
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
    if story.level <= 5 and rng.random() < 0.3:
        writer.again()
    writer.close()
    return writer.spans


def rewrite(rng: random.Random, story: Story) -> Spans:
    """A request to shorten a chain, whatever its values, and the short form."""
    source = Writer(rng, story)
    wrong = rng.choice((0.0, 0.2))
    (source.rest if rng.random() < 0.6 else source.some)(wrong)
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


def resume(rng: random.Random, story: Story) -> Spans:
    """Thinking that begins with somebody's short form, perhaps a question, and goes on."""
    writer = begin(rng, story)
    wrong = rng.choice((0.0, 0.0, 0.1))
    steps = rng.randint(1, story.level + 1)
    for number in range(steps):
        last = number == steps - 1 and writer.index >= -1 and rng.random() < 0.4
        writer.before = writer.value
        writer.step(False, last or (writer.index >= -1 and rng.random() < wrong), short=True)
    how = rng.random()
    if how < 0.6:
        writer.put(f"Is {writer.value} right?\n\n", False)
        if writer.index >= 0 and story.operations[writer.index].apply(writer.before) is None:
            raise DeadEndError
        writer.check(cued=False)
    elif how < 0.8:
        writer.again()
        writer.close()
        return writer.spans
    writer.rest()
    writer.conclude()
    writer.close()
    return writer.spans


def close(rng: random.Random, story: Story) -> Spans:
    """A chain cut off anywhere, then the cue to answer: the last value known, as an honest guess."""
    writer = begin(rng, story)
    wrong = rng.choice((0.0, 0.15))
    short = rng.random() < 0.15
    writer.some(wrong, short, learn=not short)
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


def drill(rng: random.Random, _: Story) -> Spans:
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


MIX: dict[Callable[[random.Random, Story], Spans], float] = {
    solve: 0.40, check: 0.16, judge: 0.09, again: 0.08, rewrite: 0.14, resume: 0.06, close: 0.07,
}  # fmt: skip


SAMPLED = {check: check_sampled, judge: judge_sampled, again: again_sampled}
"""The kinds about errors, and their like about the wrong steps of a real model."""


def document(rng: random.Random, progress: float, sampled: Sequence[Sampled] = (), drilled: float = 0.5) -> Spans:
    """One document for a model that has done the share `progress` of its training.

    Drills are half of the documents at the start, and a tenth from the share `drilled` of the training on. Half of the
    documents about errors come from `sampled`, the wrong steps of a real model.
    """
    if rng.random() < max(0.1, 0.5 - 0.4 * progress / drilled):
        return drill(rng, NOBODY)
    level = min(rng.choice(LEVELS), rng.choice(LEVELS)) if rng.random() > progress + 0.3 else rng.choice(LEVELS)
    kind = rng.choices(list(MIX), list(MIX.values()))[0]
    if sampled and kind in SAMPLED and rng.random() < 0.5:
        return SAMPLED[kind](rng, rng.choice(sampled))
    while True:
        try:
            return kind(rng, draw(rng, level))
        except DeadEndError:
            continue


NOBODY = Story(0, (), "", "", "", "")
