"""Where the small model is frozen: as soon as it is about half right on the tuning problems."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from tokenizers import Tokenizer

from training.decode import write
from training.model import Model
from training.reading import boxed
from training.stories import Story, held_out
from training.writer import prompt

HALF = 0.48  # between two checkpoints a model gains up to 0.05
FIRST = 1024  # no look before this step


def accuracy(model: Model, tokenizer: Tokenizer, stories: Sequence[Story]) -> float:
    """Share of the stories that the model solves, greedy."""
    written = write(model.eval(), tokenizer, [prompt(s.problem) for s in stories], limit=300)
    model.train()
    return sum(boxed(tokenizer.decode(ids)) == s.answer for ids, s in zip(written, stories, strict=True)) / len(stories)


def half_right(tokenizer: Tokenizer, log: Path) -> Callable[[int, Model], bool]:
    """Asked at each checkpoint of the small model; writes down what it saw."""

    def enough(step: int, model: Model) -> bool:
        if step < FIRST:
            return False
        share = accuracy(model, tokenizer, held_out("tuning"))
        with log.open("a") as file:
            file.write(f'{{"step": {step}, "tuning_accuracy": {share:.3f}}}\n')
        return share >= HALF

    return enough
