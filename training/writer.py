"""A writer: puts one chain into spans, and knows where in its story it stands."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from training.slips import misreckon, slip
from training.stories import Story, conclusion

USER = "<|im_start|>user\n{text}<|im_end|>\n<|im_start|>assistant\n<think>\n"
CLOSE = "</think>\n\nThe answer is \\boxed{"
END = "}.<|im_end|>"
CHECK = "Check:"
SCORE = "Score: "
WAIT = "Wait"
AGAIN = ", let me go through it again.\n\n"
RIGHT, WRONG = 9, 0  # the two scores that the models know

Spans = list[tuple[str, bool]]


def prompt(text: str) -> str:
    """A user's message as the chat template writes it, up to where the thinking begins."""
    return USER.format(text=text)


@dataclass
class Writer:
    """Writes one chain about one story, and knows where it stands.

    A `watchful` one never goes on from a wrong step that it has just read: it learns to write a check first.
    """

    rng: random.Random
    story: Story
    watchful: bool = False
    spans: Spans = field(default_factory=list)
    index: int = -2  # the operation written last; -1 is the opening, -2 nothing yet
    value: int = 0  # where the chain stands
    before: int = 0  # where it stood before the step written last
    slipped: bool = False  # whether the step written last is wrong

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Stand before the first step."""
        self.index, self.value, self.before, self.slipped = -2, self.story.start, self.story.start, False

    @property
    def complete(self) -> bool:
        """Whether every operation is written."""
        return self.index == self.story.level - 1

    @property
    def truth(self) -> int:
        """The value that the step written last should end on."""
        after = self.story.operations[self.index].apply(self.before) if self.index >= 0 else self.story.start
        if after is None:
            raise DeadEndError
        return after

    def put(self, text: str, learn: bool) -> None:
        """Add text."""
        self.spans.append((text, learn))

    def step(self, learn: bool = True, wrong: bool = False, short: bool = False) -> None:
        """Write the next step; a wrong one is never learnt."""
        if learn:
            self.watch()
        self.index += 1
        self.before, self.slipped = self.value, False
        if self.index == -1:
            self.put(f"{self.story.start} {self.story.things}.\n\n" if short else self.story.opening(), learn)
            return
        operation = self.story.operations[self.index]
        after = operation.apply(self.value)
        if wrong or after is None:  # after somebody's error the right step may leave the whole numbers
            made = slip(self.rng, self.story, self.index, self.value)
            words, equations, after, learn, self.slipped = made.words, made.equations, made.value, False, True
        else:
            words, equations = operation.words(self.story.pronoun), operation.equations(self.value)
        self.put(f"{equations}.\n\n" if short else f"{words}: {equations}.\n\n", learn)
        self.value = after

    def watch(self) -> None:
        """Where a watchful writer has just read a wrong step, it checks it without being asked."""
        if self.watchful and self.slipped:
            self.check(cued=False)

    def rest(self, wrong: float = 0.0, short: bool = False, learn: bool = True) -> None:
        """Write the remaining steps, each one wrong with the given chance."""
        while not self.complete:
            self.step(learn, self.index >= -1 and self.rng.random() < wrong, short)

    def some(self, wrong: float = 0.0, short: bool = False, learn: bool = True) -> None:
        """Write at least the opening and at most all steps."""
        for _ in range(self.rng.randint(1, self.story.level + 1)):
            self.step(learn, self.index >= -1 and self.rng.random() < wrong, short)

    def read(self, steps: tuple[str, ...], value: int) -> None:
        """Take over the beginning of a chain that somebody wrote; all its steps are right, or all but the last."""
        for step in steps:
            self.put(step, False)
        self.index, self.value = len(steps) - 2, value
        self.before = self.story.values[max(self.index, 0)]
        self.slipped = value != self.truth

    def check(self, cued: bool = True) -> None:
        """Recompute the step written last from the value before it, then stand on the right value."""
        self.put(CHECK, not cued)
        self.value, self.slipped = self.truth, False
        said = self.story.operations[self.index].equations(self.before) if self.index >= 0 else f"{self.value}"
        self.put(f" {said}.\n\n", True)

    def score(self) -> None:
        """Say what the step written last should end on, and whether it does. The chain goes on from it as it stands."""
        self.put(SCORE, False)
        self.put(f"{self.truth}, {WRONG if self.slipped else RIGHT}.\n\n", True)

    def conclude(self, learn: bool = True, wrong: bool = False) -> None:
        """The step that names the answer; a wrong one names another number."""
        if learn and not wrong:
            self.watch()
        said = self.value
        if wrong:
            said = self.rng.choice([value for value in self.story.values if value != self.value] or [misreckon(self.rng, self.value)])
        self.put(conclusion(said), learn and not wrong)

    def close(self) -> None:
        """End the thinking and answer."""
        self.put(f"{CLOSE}{self.value}{END}", True)

    def again(self) -> None:
        """A second pass from the problem's beginning, when cued."""
        self.put(WAIT, False)
        self.put(AGAIN, True)
        self.restart()
        self.rest()
        self.conclude()


class DeadEndError(Exception):
    """An error led somewhere that the story cannot go on from; draw another document."""
