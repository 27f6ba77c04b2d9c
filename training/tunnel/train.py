"""Training of one model, from a seed, going on where it was interrupted: a number of steps, or as many as a time allows."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor

from training.log import tell
from training.model import Model, Shape
from training.origin import claim, digest
from training.tunnel.batches import BLOCK, CHUNK, Course, batches
from training.tunnel.documents import Diet
from training.tunnel.problems import SECOND, Ladder
from training.tunnel.stepper import Stepper, Trainee, optimizers

WARM_UP = 100
LAST = 0.01  # of the rates is left at the end
LONGEST = 400  # blocks: documents are made ahead, and nobody knows yet how many
TOKENS = {"cpu": 4096, "cuda": 32768}
"""Tokens of a step that is not wide."""
LOGGED = 4 * CHUNK  # steps between two lines of the log, each of which waits for the device


@dataclass(frozen=True)
class Plan:
    """How one model is trained."""

    name: str
    shape: Shape
    diet: Diet | None  # None: documents of the asking model
    blocks: int  # of `batches.BLOCK` steps
    ripe: int  # steps within which the mix of documents changes from easy to whole
    tokens: int = 0  # of a step, times `wide`; 0: as many as the device likes
    wide: int = 1
    flat: float = 0.1  # share of the training before the rates begin to fall
    watches: bool = False  # has a head for verdicts while it is trained
    reward: bool = False  # what follows a step is its verdict
    matrix_rate: float = 0.02
    other_rate: float = 3e-3
    end: Callable[[int, Model, Tokenizer], bool] | None = None  # asked at checkpoints whether the model ends here
    end_from: float = 0.0  # share of the training before it is asked
    end_every: int = 1  # blocks
    makers: int = 8
    ladder: Ladder = SECOND


def rate(step: int, steps: int, plan: Plan) -> float:
    """Warm-up, a plateau, then a line down to nearly nothing."""
    fall = min(1.0, max(0.0, (step / steps - plan.flat) / (1 - plan.flat)))
    return min(1.0, (step + 1) / WARM_UP) * (1 - (1 - LAST) * fall)


class Length:
    """How long a training is: a number of blocks, or seconds, each in a file that may be changed while it runs.

    `NAME.blocks` goes before the plan's number; where there is a file `NAME.seconds`, the pace so far decides anew after
    every block, and is written down as `NAME.blocks`.
    """

    def __init__(self, folder: Path, plan: Plan) -> None:
        self.blocks_file, self.seconds_file = (folder / f"{plan.name}.{what}" for what in ("blocks", "seconds"))
        self.plan = plan
        self.last: tuple[int, float] | None = None

    @property
    def steps(self) -> int:
        """The steps of the whole training."""
        return (int(self.blocks_file.read_text()) if self.blocks_file.exists() else self.plan.blocks) * BLOCK

    def pace(self, step: int, seconds: float) -> None:
        """Look at the clock after a block."""
        if self.seconds_file.exists() and self.last is not None:
            left = float(self.seconds_file.read_text()) - seconds
            a_step = (seconds - self.last[1]) / (step - self.last[0])
            self.blocks_file.write_text(f"{max(step // BLOCK, round((step + left / a_step) / BLOCK))}\n")
        self.last = step, seconds


def train(plan: Plan, tokenizer: Tokenizer, folder: Path, seed: int, slips: Path | None = None, hard: Path | None = None,
          begin: Model | None = None) -> Model:  # fmt: skip
    """Train, or go on training, or only load what is finished. Files: `NAME.pt`, its origin, and logs.

    Raises `OtherOriginError` if the checkpoint is one of another plan, seed or tokenizer.
    """
    folder.mkdir(parents=True, exist_ok=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    tokens = plan.wide * (plan.tokens or TOKENS[device])
    torch.manual_seed(seed)
    trainee = Trainee(plan.shape, plan.watches)
    if begin is not None:
        trainee.model.load_state_dict(begin.state_dict())
    trainee = trainee.to(device)
    tools = optimizers(trainee, plan.matrix_rate, plan.other_rate)
    path, start, seconds, seen = folder / f"{plan.name}.pt", 0, 0.0, 0
    length = Length(folder, plan)
    course = Course(f"tunnel {plan.name}/{seed}", plan.ripe, tokens, plan.diet, slips, hard, plan.reward, plan.ladder)
    if claim(path, origin(plan, tokens, seed, tokenizer)):
        state = torch.load(path, map_location=device, weights_only=True)
        trainee.load_state_dict(state["model"])
        for tool, saved in zip(tools, state["tools"], strict=True):
            tool.load_state_dict(saved)
        start, seconds, seen = state["step"], state["seconds"], state["tokens"]
        if state["done"] or start >= length.steps:
            return trainee.model
    stepper = Stepper(trainee, tools, tokens)
    began = time.monotonic() - seconds
    losses: list[Tensor] = []
    steps = length.steps
    cores = len(os.sched_getaffinity(0))
    for step, batch in enumerate(batches(tokenizer, course, start, LONGEST * BLOCK, max(1, min(plan.makers, cores - 1))), start + 1):
        seen += batch.real
        factor = rate(step - 1, steps, plan)
        losses.append(stepper(batch, (plan.matrix_rate * factor, plan.other_rate * factor)))
        if step % LOGGED == 0 or step == CHUNK:
            mean = torch.stack(losses).mean(0).tolist()
            seconds = time.monotonic() - began
            figures = {"loss": round(mean[0], 4), "verdicts": round(mean[1], 4), "rate": round(factor, 3)}
            tell(folder / f"{plan.name}.jsonl", step, **figures, tokens=seen, seconds=round(seconds, 1))
            losses = []
        if step % BLOCK == 0:
            seconds = time.monotonic() - began
            length.pace(step, seconds)
            steps = length.steps
            asked = plan.end is not None and step >= plan.end_from * steps and (step // BLOCK % plan.end_every == 0 or step >= steps)
            ended = asked and plan.end is not None and plan.end(step, trainee.model, tokenizer)
            state = {"model": trainee.state_dict(), "tools": [tool.state_dict() for tool in tools], "step": step}
            save(path, {**state, "seconds": seconds, "tokens": seen, "done": ended})
            if ended or step >= steps:
                break
    return trainee.model


def origin(plan: Plan, tokens: int, seed: int, tokenizer: Tokenizer) -> dict[str, object]:
    """The plan and the data that a model is made from."""
    known = {name: getattr(plan, name) for name in ("name", "shape", "ripe", "flat", "watches", "reward", "matrix_rate", "other_rate")}
    known["ladder"] = plan.ladder.name
    return {"plan": {**known, "diet": plan.diet, "tokens": tokens}, "seed": seed, "tokenizer": digest(tokenizer.to_str())}


def save(path: Path, state: dict[str, object]) -> None:
    """Write a checkpoint so that an interruption leaves the old one whole."""
    part = path.with_suffix(".part")
    torch.save(state, part)
    part.replace(path)
