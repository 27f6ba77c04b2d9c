"""One step of a training. On a GPU it is recorded once and replayed: there a step is hundreds of small launches."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.model import Layer, Model, Shape, rotation
from training.tunnel.batches import IGNORE, NO_VERDICT, Batch, bounds_of, longest
from training.tunnel.muon import StackedMuon
from training.tunnel.packed import Packed, positions

CLIP = 1.0
VERDICT_SHARE = 0.05  # of the loss: the head that tells wrong steps at their ends
LAYERS_LEFT = 2  # that head stands below so many layers, so that the tokens behind a step can read what it found
UNRECORDED = 4  # steps before the recording: compilers and optimizers set themselves up in them


class Trainee(nn.Module):
    """A model, and while it is trained a head for verdicts."""

    def __init__(self, shape: Shape, watches: bool) -> None:
        super().__init__()
        self.model = Model(shape)
        self.head = nn.Linear(shape.width, 1) if watches else None
        self.below = shape.layers - LAYERS_LEFT

    def forward(self, ids: Tensor, places: Tensor, attend: Packed, run: Any) -> tuple[Tensor, Tensor | None]:
        """Hidden states after the last norm, and the head's verdicts (logits of right)."""
        inner = self.model.model
        x = inner.embed_tokens(ids)
        cos, sin = rotation(places)
        verdicts = None
        for number, layer in enumerate(inner.layers):
            if number == self.below and self.head is not None:
                verdicts = self.head(functional.rms_norm(x.float(), (x.shape[-1],)))[:, 0]
            x = run(layer, x, cos, sin, attend)
        return inner.norm(x), verdicts


def optimizers(trainee: Trainee, matrix_rate: float, other_rate: float) -> list[torch.optim.Optimizer]:
    """Muon for the matrices of the layers, AdamW for everything else."""
    matrices = [p for p in trainee.model.model.layers.parameters() if p.ndim == 2]
    chosen = {id(p) for p in matrices}
    others = [p for p in trainee.parameters() if id(p) not in chosen]
    on_gpu = matrices[0].is_cuda
    adam = torch.optim.AdamW(others, lr=other_rate, betas=(0.9, 0.95), weight_decay=0.0, fused=on_gpu, capturable=on_gpu)
    return [StackedMuon(matrices, matrix_rate), adam]


def loss_of_tokens(hidden: Tensor, embedding: Tensor, targets: Tensor, weights: Tensor) -> Tensor:
    """Weighted mean cross-entropy of what is to be written."""
    losses = functional.cross_entropy(functional.linear(hidden, embedding).float(), targets, ignore_index=IGNORE, reduction="none")
    return (losses * weights).sum() / weights.sum().clamp(min=1)


class Stepper:
    """Steps of one training, all of the same number of tokens."""

    def __init__(self, trainee: Trainee, tools: list[torch.optim.Optimizer], tokens: int) -> None:
        self.trainee, self.tools = trainee, tools
        self.device = next(trainee.parameters()).device
        with torch.device(self.device):
            self.ids, self.targets = torch.zeros(tokens, dtype=torch.int16), torch.zeros(tokens, dtype=torch.int16)
            self.weights, self.verdicts = torch.zeros(tokens), torch.zeros(tokens, dtype=torch.int8)
        self.bounds = torch.from_numpy(bounds_of([0], tokens, tokens)).to(self.device)
        self.attend = Packed(self.bounds, longest(tokens))
        self.layer = torch.compile(Layer.forward, dynamic=False)  # one layer, compiled once for all
        self.loss = torch.compile(loss_of_tokens, dynamic=False)
        self.done = 0
        self.recorded: torch.cuda.CUDAGraph | None = None
        self.losses = torch.zeros(2, device=self.device)
        if self.on_gpu:
            for group in (group for tool in tools for group in tool.param_groups):
                group["lr"] = torch.as_tensor(group["lr"], dtype=torch.float32, device=self.device)

    @property
    def on_gpu(self) -> bool:
        """Whether steps are recorded."""
        return self.device.type == "cuda"

    def __call__(self, batch: Batch, rates: tuple[float, ...]) -> Tensor:
        """Take one step with these rates. Returns the losses before it: of the text, of the verdicts."""
        places = (self.ids, self.targets, self.weights, self.verdicts, self.bounds)
        for place, part in zip(places, (batch.ids, batch.targets, batch.weights, batch.verdicts, batch.bounds), strict=True):
            whole = torch.from_numpy(part)
            place.copy_(whole.pin_memory() if self.on_gpu else whole, non_blocking=True)
        for tool, rate in zip(self.tools, rates, strict=True):
            for group in tool.param_groups:
                group["lr"] = group["lr"].fill_(rate) if self.on_gpu else rate
        self.done += 1
        if not self.on_gpu:
            return self.step()
        if self.done <= UNRECORDED:
            return self.beside()
        if self.recorded is None:
            self.recorded = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self.recorded):
                self.losses = self.step(keep=True)
        self.recorded.replay()
        return self.losses.clone()

    def beside(self) -> Tensor:
        """A step as a recording wants the ones before it: on another stream."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            losses = self.step()
        torch.cuda.current_stream().wait_stream(stream)
        return losses

    def step(self, keep: bool = False) -> Tensor:
        """Compute one step. A recording keeps the gradients: every replay writes to them."""
        trainee, targets, verdicts = self.trainee, self.targets.long(), self.verdicts
        with torch.autocast(self.device.type, torch.bfloat16):
            hidden, found = trainee(self.ids.long(), positions(self.bounds, len(self.ids)), self.attend, self.layer)
            loss = self.loss(hidden, trainee.model.model.embed_tokens.weight, targets, self.weights)
        graded = torch.zeros_like(loss)
        if found is not None:
            # a wrong step is rare and counts more
            known = (verdicts != NO_VERDICT).float() * torch.where(verdicts == 0, 3.0, 1.0)
            each = functional.binary_cross_entropy_with_logits(found.float(), verdicts.clamp(min=0).float(), reduction="none")
            graded = (each * known).sum() / known.sum().clamp(min=1)
        (loss + VERDICT_SHARE * graded).backward()
        torch.nn.utils.clip_grad_norm_(trainee.parameters(), CLIP)
        for tool in self.tools:
            tool.step()
            if not keep:
                tool.zero_grad(set_to_none=True)
        return torch.stack((loss.detach(), graded.detach()))
