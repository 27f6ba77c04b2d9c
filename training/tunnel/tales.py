"""Tales: the stories of the task `stories`, word for word, as a family of this dialect."""

from __future__ import annotations

import random
from dataclasses import dataclass

from training import stories
from training.tunnel.base import Problem
from training.tunnel.moves import PREVIOUS, Move, State, Sum


@dataclass(frozen=True)
class Tale(Problem):
    """A story with one number that changes."""

    family = "tales"
    story: stories.Story

    @property
    def structure(self) -> str:
        return self.story.structure  # and so in the set that the story is in

    @property
    def goal(self) -> str:
        return self.story.things

    def start(self) -> State:
        return {"at": -1}

    def result(self, state: State) -> int | None:
        return state["value"] if state["at"] == len(self.story.operations) else None

    def numbers(self, state: State) -> list[int]:
        known = [state["value"]] if "value" in state else []
        return known + [number for operation in self.story.operations[:4] for number in (operation.a, operation.b) if number]

    def move(self, state: State) -> Move | None:
        at, story = state["at"], self.story
        if at < 0:
            words = f"{story.name} starts with {story.start} {story.things}"
            return Move(words, key="value", value=story.start, update={"at": 0}, opening=f"{story.start} {story.things}")
        if at == len(story.operations):
            return None
        operation, value = story.operations[at], state["value"]
        product: Sum = (operation.a, "*", operation.b)
        sums: tuple[Sum, ...] = (
            (product, (value, operation.sign, PREVIOUS)) if operation.grouped else ((value, operation.sign, operation.a),)
        )
        return Move(operation.words(story.pronoun), "Then", sums, "value", update={"at": at + 1}, join=": ")


def draw_tale(rng: random.Random, level: int) -> Tale:
    """A tale of a level; there are ten."""
    level = min(level, max(stories.LEVELS))
    story = stories.word(rng, *stories.draw_structure(rng, level))
    return Tale(story.problem, level, story)
