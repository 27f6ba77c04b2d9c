"""Freezing: a model ends before its schedule does, as soon as it solves so many of the tuning problems."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from training.decode import write
from training.log import tell
from training.model import Model
from training.reading import boxed
from training.stories import Story, held_out
from training.writer import prompt


def accuracy(model: Model, tokenizer: Tokenizer, stories: Sequence[Story]) -> float:
    """Share of the stories that the model solves, greedy."""
    written = write(model.eval(), tokenizer, [prompt(s.problem) for s in stories], limit=300)
    model.train()
    return sum(boxed(tokenizer.decode(ids)) == s.answer for ids, s in zip(written, stories, strict=True)) / len(stories)


@dataclass(frozen=True)
class Freeze:
    """When a model is frozen: at its first checkpoint that solves this share of the tuning problems."""

    share: float
    first: int = 0  # no look before this step

    def reached(self, step: int, model: Model, tokenizer: Tokenizer, log: Path) -> bool:
        """Asked at each checkpoint; writes down what it saw."""
        if step < self.first:
            return False
        share = accuracy(model, tokenizer, held_out("tuning"))
        tell(log, step, tuning_accuracy=round(share, 3))
        return share >= self.share
