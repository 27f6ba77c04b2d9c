"""Training of one model: a fixed number of steps, from a seed, going on where it was interrupted."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional

from training.batches import CHUNK, IGNORE, ROWS, Batch, Course, batches, times
from training.documents import Sampled
from training.model import Model, Rows, Shape

WARM_UP = 60
CLIP = 1.0
KEEP_EVERY = 8 * CHUNK


@dataclass(frozen=True)
class Plan:
    """How one model is trained."""

    name: str
    shape: Shape
    steps: int  # length of the schedule: of the cosine, and of the change in the mix of documents
    last: int  # training stops here: at the schedule's end, or before it (frozen early)
    wide: int = 1  # a step is so many times as wide as `batches.ROWS`
    matrix_rate: float = 0.02
    other_rate: float = 3e-3
    drilled: float = 0.5  # share of the steps after which drills are rare


def rate(step: int, plan: Plan) -> float:
    """Warm-up, then a cosine down to nearly nothing."""
    return min(1.0, (step + 1) / WARM_UP) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * step / plan.steps)))


def optimizers(model: Model, plan: Plan) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, AdamW for everything else."""
    matrices = [p for p in model.model.layers.parameters() if p.ndim == 2]
    chosen = {id(p) for p in matrices}
    others = [p for p in model.parameters() if id(p) not in chosen]
    muon = torch.optim.Muon(matrices, lr=plan.matrix_rate, weight_decay=0.01, momentum=0.95, nesterov=True)
    return [muon, torch.optim.AdamW(others, lr=plan.other_rate, betas=(0.9, 0.95), weight_decay=0.0)]


def save(path: Path, state: dict[str, object]) -> None:
    """Write a checkpoint so that an interruption leaves the old one whole."""
    torch.save(state, path.with_suffix(".part"))
    path.with_suffix(".part").replace(path)


def train(
    plan: Plan,
    tokenizer: Tokenizer,
    folder: Path,
    seed: int,
    sampled: Sequence[Sampled] = (),
    kept: Callable[[int, Model], None] = lambda step, model: None,
) -> Model:
    """Train, or go on training, or only load what is finished. Files: `NAME.pt`, `NAME.jsonl`. `kept` is told of each checkpoint."""
    folder.mkdir(parents=True, exist_ok=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(seed)
    model = Model(plan.shape).to(device)
    tools = optimizers(model, plan)
    path, start, seconds, seen = folder / f"{plan.name}.pt", 0, 0.0, 0
    if path.exists():
        state = torch.load(path, map_location=device, weights_only=True)
        model.load_state_dict(state["model"])
        for tool, saved in zip(tools, state["tools"], strict=True):
            tool.load_state_dict(saved)
        start, seconds, seen = state["step"], state["seconds"], state["tokens"]
    if start >= plan.last:
        return model

    rows = times(ROWS, plan.wide)
    positions = torch.cat([torch.arange(length).repeat(count) for count, length in rows]).to(device)
    attend = Rows(rows)

    def loss_of(ids: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy of what is to be written."""
        logits = model.logits(model(ids, positions, attend))
        return functional.cross_entropy(logits.float(), targets, ignore_index=IGNORE)

    compiled = torch.compile(loss_of, dynamic=False)
    began = time.monotonic() - seconds
    log = (folder / f"{plan.name}.jsonl").open("a", buffering=1)
    losses: list[Tensor] = []
    course = Course(f"{plan.name}/{seed}", plan.steps, plan.last, plan.wide, plan.drilled, sampled)
    for step, batch in enumerate(batches(tokenizer, course, start), start):
        if step >= plan.last:
            break
        seen += batch.real
        losses.append(update(model, tools, plan, compiled, batch, step, device))
        if (step + 1) % CHUNK == 0 or step + 1 == plan.last:
            seconds = time.monotonic() - began
            loss = torch.stack(losses).mean().item()
            log.write(json.dumps({"step": step + 1, "loss": round(loss, 4), "tokens": seen, "seconds": round(seconds)}) + "\n")
            losses = []
        if (step + 1) % KEEP_EVERY == 0 or step + 1 == plan.last:
            saved = [tool.state_dict() for tool in tools]
            save(path, {"model": model.state_dict(), "tools": saved, "step": step + 1, "seconds": seconds, "tokens": seen})
            kept(step + 1, model)
    log.close()
    return model


def update(
    model: Model, tools: list[torch.optim.Optimizer], plan: Plan, compiled: object, batch: Batch, step: int, device: str
) -> Tensor:
    """One step of training; the loss before it."""
    factor = rate(step, plan)
    for tool, top in zip(tools, (plan.matrix_rate, plan.other_rate), strict=True):
        for group in tool.param_groups:
            group["lr"] = top * factor
    ids, targets = (torch.from_numpy(x).to(device) for x in (batch.ids, batch.targets))
    with torch.autocast(device, torch.bfloat16):
        loss = compiled(ids, targets)  # type: ignore[operator]
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
    for tool in tools:
        tool.step()
        tool.zero_grad(set_to_none=True)
    return loss.detach()
