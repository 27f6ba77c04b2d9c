"""Plans: the sizes of the models and how each is trained."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

from training.decode import write
from training.log import tell
from training.model import Model, Shape
from training.reading import boxed
from training.tunnel.base import Problem
from training.tunnel.dialect import prompt
from training.tunnel.documents import Diet, check, close, judge, solve
from training.tunnel.problems import SECOND, Ladder, held_out
from training.tunnel.tokenizer import SIZE

SMALL = Shape(width=128, layers=2, inner=512, heads=2, kv_heads=2, vocabulary=SIZE)
BIG = Shape(width=256, layers=12, inner=576, heads=4, kv_heads=2, vocabulary=SIZE)
REWARD = Shape(width=256, layers=4, inner=576, heads=4, kv_heads=2, vocabulary=SIZE)
"""The lowest layers of big, from which it begins; six of them would take all models over their 24 MB."""

SAMPLE = 250  # of the tuning problems

REWARD_DIET = Diet({solve: 0.15, check: 0.1, judge: 0.65, close: 0.1}, drills=0.2, drills_left=0.0, watchful=0.5, real=0.6)


def solved(model: Model, tokenizer: Tokenizer, problems: Sequence[Problem], limit: int) -> list[bool]:
    """Which problems the model solves, greedy."""
    written = write(model.eval(), tokenizer, [prompt(p.text) for p in problems], limit=limit)
    model.train()
    return [boxed(tokenizer.decode(ids)) == p.answer for ids, p in zip(written, problems, strict=True)]


def by_family(problems: Sequence[Problem], hits: Sequence[bool]) -> dict[str, float]:
    """The accuracy of each family."""
    groups: dict[str, list[bool]] = {}
    for problem, hit in zip(problems, hits, strict=True):
        groups.setdefault(problem.family, []).append(hit)
    return {name: sum(group) / len(group) for name, group in groups.items()}


@dataclass(frozen=True)
class Freeze:
    """Looks at a model while it is trained, on tuning problems, and keeps it as it was at each look.

    The training ends when the model solves more than `most`. The best look is the one between `least` and `most` whose weakest family is
    best, so that errors are spread; if no look is in the range, the nearest one.
    """

    least: float
    most: float
    sample: int = SAMPLE  # of the tuning problems
    longest: int = 2600  # tokens
    ladder: Ladder = SECOND
    log: Path = Path("freezing.jsonl")

    def __call__(self, step: int, model: Model, tokenizer: Tokenizer) -> bool:
        """Look at a checkpoint; writes down what it saw."""
        problems = random.Random(0).sample(held_out("tuning", self.ladder), self.sample)
        hits = solved(model, tokenizer, problems, self.longest)
        families = {name: round(share, 3) for name, share in sorted(by_family(problems, hits).items())}
        share = sum(hits) / len(hits)
        weights = {name: p.detach().to("cpu", torch.bfloat16).contiguous() for name, p in model.state_dict().items()}
        save_file(weights, self.snapshot(step))
        tell(self.log, step, tuning_accuracy=round(share, 3), weakest=min(families.values()), **families)
        return share > self.most

    def snapshot(self, step: int) -> Path:
        """The file of a look's weights."""
        return self.log.with_name(f"{self.log.stem}.{step}.safetensors")

    def ranked(self) -> list[Look]:
        """All looks, the best first."""
        looks = [json.loads(line) for line in self.log.read_text().splitlines()] if self.log.exists() else []

        def rank(look: dict[str, float]) -> Look:
            share = look["tuning_accuracy"]
            outside = max(0.0, self.least - share, share - self.most)
            return Look(round(outside, 3), -look["weakest"], -look["step"], self.snapshot(int(look["step"])))

        return sorted(map(rank, looks))


class Look(NamedTuple):
    """A model as it was at some time of its training; the smallest is the best."""

    outside: float  # of the range of accuracy
    weakest: float  # accuracy of the weakest family, negative
    step: float  # negative
    weights: Path


def take(model: Model, ends: Sequence[object]) -> Model:
    """Put the weights of the best look of several trainings into a model; they stay where nothing was looked at."""
    for look in sorted(look for end in ends if isinstance(end, Freeze) for look in end.ranked())[:1]:
        model.load_state_dict({name: w.float() for name, w in load_file(look.weights).items()})
    return model


def lower(model: Model, shape: Shape) -> Model:
    """A model of fewer layers, which begins as the lowest ones of another."""
    made = Model(shape)
    known = model.state_dict()
    made.load_state_dict({name: known[name].cpu() for name in made.state_dict()})
    return made
