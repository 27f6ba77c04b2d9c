"""A writer: puts one chain into spans, and knows where in its story it stands."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from training.slips import slip
from training.stories import Story, conclusion

USER = "<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n<think>\n"
CLOSE = "</think>\n\nThe answer is \\boxed{"
END = "}.<|im_end|>"
AGAIN = ", let me go through it again.\n\n"

Spans = list[tuple[str, bool]]


def prompt(text: str) -> str:
    """A user's message as the chat template writes it, up to where the thinking begins."""
    return USER.format(text=text)


@dataclass
class Writer:
    """Writes one chain about one story, and knows where it stands."""

    rng: random.Random
    story: Story
    spans: Spans = field(default_factory=list)
    index: int = -1  # the operation written last; -1 is the opening, -2 nothing yet
    value: int = 0
    before: int = 0  # the value before the step written last, where a check needs it

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Stand before the first step."""
        self.index, self.value = -2, self.story.start

    @property
    def complete(self) -> bool:
        """Whether every operation is written."""
        return self.index == self.story.level - 1

    def put(self, text: str, learn: bool) -> None:
        """Add text."""
        self.spans.append((text, learn))

    def step(self, learn: bool = True, wrong: bool = False, short: bool = False) -> None:
        """Write the next step; a wrong one is never learnt."""
        self.index += 1
        if self.index == -1:
            self.put(f"{self.story.start} {self.story.things}.\n\n" if short else self.story.opening(), learn)
            return
        operation = self.story.operations[self.index]
        after = operation.apply(self.value)
        if wrong or after is None:  # after somebody's error the right step may leave the whole numbers
            made = slip(self.rng, self.story, self.index, self.value)
            words, equations, after, learn = made.words, made.equations, made.value, False
        else:
            words, equations = operation.words(self.story.pronoun), operation.equations(self.value)
        self.put(f"{equations}.\n\n" if short else f"{words}: {equations}.\n\n", learn)
        self.value = after

    def rest(self, wrong: float = 0.0, short: bool = False, learn: bool = True) -> None:
        """Write the remaining steps, each one wrong with the given chance."""
        while not self.complete:
            self.step(learn, self.index >= -1 and self.rng.random() < wrong, short)

    def some(self, wrong: float = 0.0, short: bool = False, learn: bool = True) -> None:
        """Write at least the opening and at most all steps."""
        for _ in range(self.rng.randint(1, self.story.level + 1)):
            self.step(learn, self.index >= -1 and self.rng.random() < wrong, short)

    def check(self, cued: bool = True) -> None:
        """Recompute the step written last from the value before it, then stand on the right value."""
        self.put("Check:", not cued)
        before = self.before if self.index >= 0 else self.story.start
        if self.index >= 0:
            operation = self.story.operations[self.index]
            after = operation.apply(before)
            assert after is not None
            self.put(f" {operation.equations(before)}.\n\n", True)
            self.value = after
        else:
            self.put(f" {before}.\n\n", True)
            self.value = before

    def checked_step(self, wrong: float) -> None:
        """A step by somebody else, then the cue to check it."""
        self.before = self.value
        if self.index >= -1 and self.story.operations[self.index + 1].apply(self.before) is None:
            raise DeadEndError
        self.step(False, self.index >= -1 and self.rng.random() < wrong)
        self.check()

    def score(self) -> None:
        """Say whether the step written last is right, given the value before it: 9 for yes, 0 for no."""
        self.put("Score:", False)
        right = self.value == (self.story.operations[self.index].apply(self.before) if self.index >= 0 else self.story.start)
        self.put(f" {9 if right else 0}", True)

    def scored_step(self, wrong: float) -> None:
        """A step by somebody else, then the cue to score it; the chain goes on from the step as it stands."""
        self.before = self.value
        self.step(False, self.index >= -1 and self.rng.random() < wrong)
        self.score()
        self.put(".\n\n", False)

    def conclude(self, learn: bool = True) -> None:
        """The step that names the answer."""
        self.put(conclusion(self.value), learn)

    def close(self) -> None:
        """End the thinking and answer."""
        self.put(f"{CLOSE}{self.value}{END}", True)

    def again(self, cued: bool = True) -> None:
        """A second pass from the problem's beginning."""
        self.put("Wait", not cued)
        self.put(AGAIN, True)
        self.restart()
        self.rest()
        self.conclude()


class DeadEndError(Exception):
    """An error led somewhere that the story cannot go on from; draw another document."""
