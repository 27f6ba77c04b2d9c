"""Training of one model: a fixed number of steps, from a seed, going on where it was interrupted."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional

from training.batches import CHUNK, IGNORE, Rows
from training.log import tell
from training.model import Layer, Model, Shape, rotation
from training.model import Rows as RowsAttend
from training.origin import claim, digest
from training.train import CLIP, hand_over, save
from training.tunnel.batches import BLOCK, NO_VERDICT, ROWS, Batch, Course, batches
from training.tunnel.documents import Diet
from training.tunnel.muon import StackedMuon

WARM_UP = 100
LONGEST = 200  # blocks: documents are made ahead, and nobody knows yet how many
VERDICT_SHARE = 0.02  # of the loss: the head that tells wrong steps at their ends
LAYERS_LEFT = 2  # that head stands below so many layers, so that the tokens behind a step can read what it found


@dataclass(frozen=True)
class Plan:
    """How one model is trained."""

    name: str
    shape: Shape
    diet: Diet | None  # None: documents of the asking model
    blocks: int  # of `batches.BLOCK` steps
    ripe: int  # steps within which the mix of documents changes from easy to whole
    decay: int  # so many steps before the end the rates begin to fall; before that a training may still be made longer
    rows: Rows = ROWS
    watches: bool = False  # has a head for verdicts while it is trained
    reward: bool = False  # what follows a step is its verdict
    matrix_rate: float = 0.02
    other_rate: float = 3e-3
    end: Callable[[int, Model, Tokenizer], bool] | None = None  # asked at each checkpoint whether the model ends here
    end_from: int = 0
    makers: int = 8


def rate(step: int, steps: int, plan: Plan) -> float:
    """Warm-up, a plateau, then a line down to nearly nothing."""
    fall = max(0.0, 1 - (steps - step) / plan.decay)
    return min(1.0, (step + 1) / WARM_UP) * (1 - 0.98 * fall)


class Trainee(nn.Module):
    """A model, and while it is trained a head for verdicts."""

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self.model = Model(plan.shape)
        self.head = nn.Linear(plan.shape.width, 1) if plan.watches else None
        self.below = plan.shape.layers - LAYERS_LEFT

    def forward(self, ids: Tensor, positions: Tensor, attend: RowsAttend, run: Any) -> tuple[Tensor, Tensor | None]:
        """Hidden states after the last norm, and the head's verdicts (logits of right)."""
        inner = self.model.model
        x = inner.embed_tokens(ids)
        cos, sin = rotation(positions)
        verdicts = None
        for number, layer in enumerate(inner.layers):
            if number == self.below and self.head is not None:
                verdicts = self.head(functional.rms_norm(x.float(), (x.shape[-1],)))[:, 0]
            x = run(layer, x, cos, sin, attend)
        return inner.norm(x), verdicts


def blocks(folder: Path, plan: Plan) -> int:
    """How many blocks the training takes: a number in the file `NAME.blocks`, which may change while it runs, else the plan's."""
    path = folder / f"{plan.name}.blocks"
    return int(path.read_text()) if path.exists() else plan.blocks


def optimizers(trainee: Trainee, plan: Plan) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, AdamW for everything else."""
    matrices = [p for p in trainee.model.model.layers.parameters() if p.ndim == 2]
    chosen = {id(p) for p in matrices}
    others = [p for p in trainee.parameters() if id(p) not in chosen]
    return [StackedMuon(matrices, plan.matrix_rate), torch.optim.AdamW(others, lr=plan.other_rate, betas=(0.9, 0.95), weight_decay=0.0)]


def train(plan: Plan, tokenizer: Tokenizer, folder: Path, seed: int, slips: Path | None = None, hard: Path | None = None,
          begin: Model | None = None) -> Model:  # fmt: skip
    """Train, or go on training, or only load what is finished. Files: `NAME.pt`, its origin, and logs.

    Raises `OtherOriginError` if the checkpoint is one of another plan, seed or tokenizer.
    """
    folder.mkdir(parents=True, exist_ok=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(seed)
    trainee = Trainee(plan)
    if begin is not None:
        trainee.model.load_state_dict(begin.state_dict())
    trainee = trainee.to(device)
    tools = optimizers(trainee, plan)
    path, start, seconds, seen = folder / f"{plan.name}.pt", 0, 0.0, 0
    course = Course(f"tunnel {plan.name}/{seed}", plan.ripe, plan.rows, plan.diet, slips, hard, plan.reward)
    if claim(path, origin(plan, seed, tokenizer)):
        state = torch.load(path, map_location=device, weights_only=True)
        trainee.load_state_dict(state["model"])
        for tool, saved in zip(tools, state["tools"], strict=True):
            tool.load_state_dict(saved)
        start, seconds, seen = state["step"], state["seconds"], state["tokens"]
        if state["done"] or start >= blocks(folder, plan) * BLOCK:
            return trainee.model
    positions = torch.cat([torch.arange(length).repeat(count) for count, length in plan.rows]).to(device)
    attend = RowsAttend(plan.rows)
    layer = torch.compile(Layer.forward, dynamic=False)  # one layer, compiled once for all
    head = torch.compile(loss_of_tokens, dynamic=False)
    began = time.monotonic() - seconds
    losses: list[Tensor] = []
    steps = blocks(folder, plan) * BLOCK
    cores = len(os.sched_getaffinity(0))
    for step, batch in enumerate(batches(tokenizer, course, start, LONGEST * BLOCK, max(1, min(plan.makers, cores - 1))), start + 1):
        seen += batch.real
        if step % BLOCK == 1:
            steps = blocks(folder, plan) * BLOCK
        factor = rate(step - 1, steps, plan)
        for tool, top in zip(tools, (plan.matrix_rate, plan.other_rate), strict=True):
            for group in tool.param_groups:
                group["lr"] = top * factor
        losses.append(update(trainee, tools, batch, positions, attend, layer, head, device))
        if step % CHUNK == 0:
            seconds = time.monotonic() - began
            mean = torch.stack(losses).mean(0).tolist()
            tell(
                folder / f"{plan.name}.jsonl", step, loss=round(mean[0], 4), verdicts=round(mean[1], 4), tokens=seen, seconds=round(seconds)
            )
            losses = []
        if step % BLOCK == 0:
            ended = plan.end is not None and step >= plan.end_from and plan.end(step, trainee.model, tokenizer)
            state = {"model": trainee.state_dict(), "tools": [tool.state_dict() for tool in tools], "step": step}
            save(path, {**state, "seconds": seconds, "tokens": seen, "done": ended})
            if ended or step >= steps:
                break
    return trainee.model


def loss_of_tokens(hidden: Tensor, embedding: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean cross-entropy of what is to be written."""
    losses = functional.cross_entropy(functional.linear(hidden, embedding).float(), targets, ignore_index=IGNORE, reduction="none")
    return (losses * weights).sum() / weights.sum().clamp(min=1)


def update(trainee: Trainee, tools: list[torch.optim.Optimizer], batch: Batch, positions: Tensor, attend: RowsAttend, layer: Any,
           head: Any, device: str) -> Tensor:  # fmt: skip
    """One step of training; the losses before it."""
    ids, targets, weights, verdicts = (
        hand_over(torch.from_numpy(x), device) for x in (batch.ids, batch.targets, batch.weights, batch.verdicts)
    )
    with torch.autocast(device, torch.bfloat16):
        hidden, found = trainee(ids, positions, attend, layer)
        loss = head(hidden, trainee.model.model.embed_tokens.weight, targets, weights)
    graded = torch.zeros_like(loss)
    if found is not None:
        known = (verdicts != NO_VERDICT).float()
        # a wrong step is rare and counts more
        known = known * torch.where(verdicts == 0, 3.0, 1.0)
        each = functional.binary_cross_entropy_with_logits(found.float(), verdicts.clamp(min=0).float(), reduction="none")
        graded = (each * known).sum() / known.sum().clamp(min=1)
    (loss + VERDICT_SHARE * graded).backward()
    torch.nn.utils.clip_grad_norm_(trainee.parameters(), CLIP)
    for tool in tools:
        tool.step()
        tool.zero_grad(set_to_none=True)
    return torch.stack((loss.detach(), graded.detach()))


def origin(plan: Plan, seed: int, tokenizer: Tokenizer) -> dict[str, object]:
    """What a model is made of."""
    known = {name: getattr(plan, name) for name in ("name", "shape", "ripe", "rows", "watches", "reward", "matrix_rate", "other_rate")}
    return {"plan": {**known, "diet": plan.diet}, "seed": seed, "tokenizer": digest(tokenizer.to_str())}
