"""Training of one model: a fixed number of steps, from a seed, going on where it was interrupted."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional

from training.batches import CHUNK, IGNORE, ROWS, SAMPLED_FROM, Batch, Course, batches, times
from training.documents import Diet, Sampled
from training.freezing import Freeze
from training.log import tell
from training.model import Layer, Model, Rows, Shape
from training.origin import claim, digest

WARM_UP = 60
CLIP = 1.0


@dataclass(frozen=True)
class Plan:
    """How one model is trained."""

    name: str
    shape: Shape
    diet: Diet
    steps: int  # length of the schedule: of the cosine, and of the change in the mix of documents
    wide: int = 1  # a step is so many times as wide as `batches.ROWS`
    keep_every: int = 8 * CHUNK  # steps between two checkpoints
    matrix_rate: float = 0.02
    other_rate: float = 3e-3
    freeze: Freeze | None = None


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
    part = path.with_suffix(".part")
    torch.save(state, part)
    part.replace(path)


def train(plan: Plan, tokenizer: Tokenizer, folder: Path, seed: int, sampled: Sequence[Sampled] = ()) -> Model:
    """Train, or go on training, or only load what is finished. Files: `NAME.pt`, its origin, and logs.

    Raises `OtherOriginError` if the checkpoint is one of another plan, seed or tokenizer, or of other documents.
    """
    folder.mkdir(parents=True, exist_ok=True)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(seed)
    model = Model(plan.shape).to(device)
    tools = optimizers(model, plan)
    path, start, seconds, seen = folder / f"{plan.name}.pt", 0, 0.0, 0
    course = Course(f"{plan.name}/{seed}", plan.steps, plan.wide, plan.diet, sampled)
    if claim(path, origin(plan, seed, tokenizer, course)):
        state = torch.load(path, map_location=device, weights_only=True)
        model.load_state_dict(state["model"])
        for tool, saved in zip(tools, state["tools"], strict=True):
            tool.load_state_dict(saved)
        start, seconds, seen = state["step"], state["seconds"], state["tokens"]
        if state["done"]:
            return model

    rows = times(ROWS, plan.wide)
    positions = torch.cat([torch.arange(length).repeat(count) for count, length in rows]).to(device)
    attend = Rows(rows)
    layer = torch.compile(Layer.forward, dynamic=False)  # one layer, compiled once for all

    def loss_of(ids: Tensor, targets: Tensor) -> Tensor:
        """Mean cross-entropy of what is to be written."""
        logits = model.logits(model(ids, positions, attend, layer))
        return functional.cross_entropy(logits.float(), targets, ignore_index=IGNORE)

    began = time.monotonic() - seconds
    losses: list[Tensor] = []
    for step, batch in enumerate(batches(tokenizer, course, start), start + 1):
        seen += batch.real
        losses.append(update(model, tools, plan, loss_of, batch, step - 1, device))
        if step % CHUNK == 0 or step == plan.steps:
            seconds = time.monotonic() - began
            loss = torch.stack(losses).mean().item()
            tell(folder / f"{plan.name}.jsonl", step, loss=round(loss, 4), tokens=seen, seconds=round(seconds))
            losses = []
        if step % plan.keep_every == 0 or step == plan.steps:
            frozen = plan.freeze is not None and plan.freeze.reached(step, model, tokenizer, folder / f"{plan.name}.freezing.jsonl")
            done = frozen or step == plan.steps
            tools_now = [tool.state_dict() for tool in tools]
            state = {"model": model.state_dict(), "tools": tools_now, "step": step, "seconds": seconds, "tokens": seen, "done": done}
            save(path, state)
            if done:
                break
    return model


def origin(plan: Plan, seed: int, tokenizer: Tokenizer, course: Course) -> dict[str, object]:
    """The plan and the data that a model is made from."""
    return {
        "plan": plan,
        "seed": seed,
        "rows": ROWS,
        "sampled_from": SAMPLED_FROM,
        "warm_up": WARM_UP,
        "clip": CLIP,
        "tokenizer": digest(tokenizer.to_str()),
        "slips": digest(*map(repr, course.sampled)),
        "documents": course.sample(tokenizer),
    }


def update(
    model: Model,
    tools: list[torch.optim.Optimizer],
    plan: Plan,
    loss_of: Callable[[Tensor, Tensor], Tensor],
    batch: Batch,
    step: int,
    device: str,
) -> Tensor:
    """One step of training; the loss before it."""
    factor = rate(step, plan)
    for tool, top in zip(tools, (plan.matrix_rate, plan.other_rate), strict=True):
        for group in tool.param_groups:
            group["lr"] = top * factor
    ids, targets = (hand_over(torch.from_numpy(x), device) for x in (batch.ids, batch.targets))
    with torch.autocast(device, torch.bfloat16):
        loss = loss_of(ids, targets)
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
    for tool in tools:
        tool.step()
        tool.zero_grad(set_to_none=True)
    return loss.detach()


def hand_over(x: Tensor, device: str) -> Tensor:
    """To the device, without waiting for what it is computing."""
    return x if device == "cpu" else x.pin_memory().to(device, non_blocking=True)
