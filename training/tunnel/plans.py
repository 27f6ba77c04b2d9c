"""Plans: the sizes of the models and how each is trained."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

from training.decode import write
from training.log import tell
from training.model import Model, Shape
from training.tunnel.base import Problem
from training.tunnel.dialect import prompt
from training.tunnel.documents import Diet, check, close, judge, solve
from training.tunnel.problems import held_out
from training.tunnel.reading import boxed
from training.tunnel.tokenizer import SIZE

SMALL = Shape(width=128, layers=2, inner=512, heads=2, kv_heads=2, vocabulary=SIZE)
BIG = Shape(width=256, layers=12, inner=576, heads=4, kv_heads=2, vocabulary=SIZE)
REWARD = Shape(width=192, layers=5, inner=384, heads=3, kv_heads=1, vocabulary=SIZE)

SAMPLE = 250  # of the tuning problems

REWARD_DIET = Diet({solve: 0.15, check: 0.1, judge: 0.65, close: 0.1}, drills=0.2, drills_left=0.0, watchful=0.5, real=0.6)


def accuracy(model: Model, tokenizer: Tokenizer, problems: Sequence[Problem], limit: int = 2100) -> float:
    """Share of the problems that the model solves, greedy."""
    written = write(model.eval(), tokenizer, [prompt(p.text) for p in problems], limit=limit)
    model.train()
    return sum(boxed(tokenizer.decode(ids)) == p.answer for ids, p in zip(written, problems, strict=True)) / len(problems)


@dataclass(frozen=True)
class Freeze:
    """A model ends before its schedule does, as soon as it solves this share of the tuning problems."""

    share: float
    log: str = "small.freezing.jsonl"

    def __call__(self, step: int, model: Model, tokenizer: Tokenizer) -> bool:
        """Asked at each checkpoint; writes down what it saw."""
        from pathlib import Path

        share = accuracy(model, tokenizer, random.Random(0).sample(held_out("tuning"), SAMPLE))
        save_file({name: p.detach().to("cpu", torch.bfloat16).contiguous() for name, p in model.state_dict().items()}, f"{self.log}.{step}")
        tell(Path(self.log), step, tuning_accuracy=round(share, 3))
        return share >= self.share
