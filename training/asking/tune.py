"""Tuning: train a causal model in Hugging Face's layout on rows, and write it beside its other files."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import AutoModelForCausalLM

from speculative.chain.context import tokenize_prompt
from speculative.engines.tokenizers import loader
from speculative.problem import Problem
from speculative.prompts import find_dialect
from training.asking.rows import Row

CLIP = 1.0
WEIGHTS = ("*.safetensors", "*.bin", "*.index.json")


class Encoder:
    """Rows as the ids that methods would have given the model."""

    def __init__(self, folder: Path, dialect: str | None = None) -> None:
        self.name = "small"
        self.tokenizer = loader.read(folder / loader.FILE)
        self.dialect = dialect or loader.dialect_of(self.tokenizer)
        self.end = find_dialect(self.dialect).think_end

    def encode(self, row: Row) -> tuple[list[int], list[float]]:
        """The ids of a row, and the weight of each."""
        ids = list(tokenize_prompt(self, Problem.of(row.problem)))  # pyright: ignore[reportArgumentType]
        weights = [0.0] * len(ids)
        for span in row.spans:
            piece = self.tokenizer.encode(span.text)
            ids += piece
            weights += [span.weight] * len(piece)
        if row.end is not None and self.end:
            ids.append(self.tokenizer.special_token_id(self.end))
            weights.append(row.end)
        return ids, weights


@dataclass(frozen=True)
class Settings:
    """How long and how fast a model is tuned."""

    epochs: int = 2
    batch: int = 16  # rows
    rate: float = 1e-5
    longest: int = 8192  # tokens; the end of a longer row is not learnt
    seed: int = 0


def batches(rows: Sequence[tuple[list[int], list[float]]], settings: Settings) -> Iterator[list[tuple[list[int], list[float]]]]:
    """Every row once an epoch, in another order each time."""
    for epoch in range(settings.epochs):
        order = iter(random.Random(f"{settings.seed}/{epoch}").sample(range(len(rows)), len(rows)))
        while chosen := list(islice(order, settings.batch)):
            yield [rows[place] for place in chosen]


def loss_of(model: Any, ids: Sequence[int], weights: Sequence[float]) -> tuple[Tensor, float]:
    """The weighted sum of a row's cross-entropies, and the sum of its weights' sizes."""
    device = next(model.parameters()).device
    read, weight = torch.tensor([ids], device=device), torch.tensor(weights[1:], device=device)
    logits = model(input_ids=read, use_cache=False).logits[0, :-1].float()
    losses = functional.cross_entropy(logits, read[0, 1:], reduction="none")
    return (losses * weight).sum(), weight.abs().sum().item()


def tune(folder: Path, rows: Sequence[Row], out: Path, settings: Settings, dialect: str | None = None) -> list[float]:
    """Train all weights of the model in `folder` and write it to `out`. Returns the loss of every step, before it."""
    torch.manual_seed(settings.seed)
    encoder = Encoder(folder, dialect)
    encoded = [(ids[: settings.longest], weights[: settings.longest]) for ids, weights in map(encoder.encode, rows)]
    encoded = [(ids, weights) for ids, weights in encoded if any(weights)]
    if not encoded:
        raise SystemExit("asking: the rows hold nothing to learn; label more problems, or roll out more tries")
    model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    model = model.to("cuda" if torch.cuda.is_available() else "cpu").train()
    tool = torch.optim.AdamW(model.parameters(), lr=settings.rate, betas=(0.9, 0.95), weight_decay=0.0)
    steps = settings.epochs * -(-len(encoded) // settings.batch)
    told: list[float] = []
    for step, batch in enumerate(batches(encoded, settings)):
        for group in tool.param_groups:
            group["lr"] = settings.rate * (1 - step / steps)
        size = sum(abs(weight) for _, weights in batch for weight in weights[1:])
        loss = 0.0
        for ids, weights in batch:
            part, _ = loss_of(model, ids, weights)
            (part / size).backward()
            loss += part.item() / size
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        tool.step()
        tool.zero_grad(set_to_none=True)
        told.append(loss)
        print(f"step {step + 1} of {steps}: loss {loss:.4f}", flush=True)
    write(model, folder, out)
    return told


def write(model: Any, folder: Path, out: Path) -> None:
    """Write the weights, in bfloat16, and copy every other file of the model: tokenizer, template, configuration, graph."""
    out.mkdir(parents=True, exist_ok=True)
    model.to("cpu", torch.bfloat16).save_pretrained(out)
    weights = {path for pattern in WEIGHTS for path in folder.glob(pattern)}
    for path in folder.iterdir():
        if path.is_file() and path not in weights:
            shutil.copyfile(path, out / path.name)
