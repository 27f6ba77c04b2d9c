"""Reading: what a model wrote, compared with the solution of its story."""

from __future__ import annotations

import re
from dataclasses import dataclass

from training.stories import Story

NUMBER = re.compile(r"\d+")
BOXED = re.compile(r"\\boxed\{(\d+)\}")
STEP = re.compile(r"[^\n=]*: [\d*/+=, -]*=\d+\.\n\n")


@dataclass(frozen=True)
class Step:
    """One step of a chain by another author: the steps before it were all right."""

    story: Story
    before: tuple[str, ...]
    text: str
    right: bool

    @property
    def index(self) -> int:
        """The operation that the step is about."""
        return len(self.before) - 1

    @property
    def value(self) -> int:
        """The value that the step ends on."""
        return int(NUMBER.findall(self.text)[-1])

    @property
    def truth(self) -> int:
        """The value that it should end on."""
        return self.story.values[self.index + 1]

    @property
    def chain(self) -> str:
        """The chain before the step."""
        return "".join(self.before)


def boxed(text: str) -> int | None:
    """The answer given, if any."""
    found = BOXED.findall(text)
    return int(found[-1]) if found else None


def steps_of(text: str) -> list[str]:
    """The steps of a chain, each with its blank line."""
    return [f"{step}\n\n" for step in text.split("</think>")[0].split("\n\n") if step.strip()]


def read(story: Story, text: str) -> list[Step]:
    """The steps about operations, up to and including the first wrong one; none if the opening is wrong."""
    parts = steps_of(text)
    if not parts or parts[0] != story.opening():
        return []
    steps: list[Step] = []
    for index, value in enumerate(story.values[1:], start=1):
        if index >= len(parts) or not STEP.fullmatch(parts[index]):
            return steps
        right = int(NUMBER.findall(parts[index])[-1]) == value
        steps.append(Step(story, tuple(parts[:index]), parts[index], right))
        if not right:
            return steps
    return steps
