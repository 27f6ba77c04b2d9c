"""Muon over stacks: matrices of one shape are orthogonalized together, which takes a tenth of the launches."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor

A, B, C = 3.4445, -4.775, 2.0315
ROUNDS = 5


def orthogonalize(stack: Tensor) -> Tensor:
    """The nearest orthogonal matrices, about, of a stack (matrices, rows, columns)."""
    x = stack.bfloat16()
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.mT
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(ROUNDS):
        gram = x @ x.mT
        x = A * x + (B * gram + C * gram @ gram) @ x
    return (x.mT if tall else x).to(stack.dtype)


class StackedMuon(torch.optim.Optimizer):
    """Momentum, then a step along orthogonal matrices, with weight decay."""

    def __init__(self, matrices: Iterable[Tensor], lr: float | Tensor, momentum: float = 0.95, weight_decay: float = 0.01) -> None:
        super().__init__(matrices, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step."""
        for group in self.param_groups:
            shapes: dict[torch.Size, list[Tensor]] = {}
            for matrix in group["params"]:
                if matrix.grad is not None:
                    shapes.setdefault(matrix.shape, []).append(matrix)
            for shape, matrices in shapes.items():
                for matrix in matrices:
                    if "momentum" not in self.state[matrix]:
                        self.state[matrix]["momentum"] = torch.zeros_like(matrix)
                averages, gradients = [self.state[m]["momentum"] for m in matrices], [m.grad for m in matrices]
                torch._foreach_lerp_(averages, gradients, 1 - group["momentum"])
                ahead = torch._foreach_lerp(gradients, averages, group["momentum"])
                moves = orthogonalize(torch.stack(ahead)) * max(1.0, shape[0] / shape[1]) ** 0.5
                # the rate may be a tensor, whose value changes between two replays of a recorded step
                torch._foreach_mul_(matrices, 1 - group["lr"] * group["weight_decay"])
                torch._foreach_add_(matrices, list((moves * -group["lr"]).unbind()))
        return None if closure is None else closure()
