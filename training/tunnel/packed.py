"""Attention over documents that stand one behind the other in a flat batch: no token sees another document."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from training.model import Attend, causal_gradient


@torch.library.custom_op("tunnel::attend", mutates_args=())
def attend(q: Tensor, k: Tensor, v: Tensor, bounds: Tensor, longest: int) -> tuple[Tensor, Tensor]:
    """Attend causally within each document, over (tokens, heads, HEAD). Returns the sums that the gradient needs, too."""
    if q.is_cuda:
        found = torch.ops.aten._flash_attention_forward(q, k, v, bounds, bounds, longest, longest, 0.0, True, False)
        return found[0], found[1]
    out = torch.empty_like(q)
    for piece in documents(bounds):
        heads = (x[piece].transpose(0, 1)[None] for x in (q, k, v))
        out[piece] = functional.scaled_dot_product_attention(*heads, is_causal=True, enable_gqa=True)[0].transpose(0, 1)
    return out, q.new_empty(q.shape[1], q.shape[0], dtype=torch.float32)


@attend.register_fake
def _(q: Tensor, k: Tensor, v: Tensor, bounds: Tensor, longest: int) -> tuple[Tensor, Tensor]:
    return torch.empty_like(q), q.new_empty(q.shape[1], q.shape[0], dtype=torch.float32)


@torch.library.custom_op("tunnel::gradient", mutates_args=())
def gradient(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, sums: Tensor, bounds: Tensor, longest: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the gradients of queries, keys and values."""
    if q.is_cuda:
        states = torch.zeros(2, dtype=torch.uint64, device=q.device), torch.empty(0, device=q.device)  # of a dropout that is off
        return torch.ops.aten._flash_attention_backward(grad, q, k, v, out, sums, bounds, bounds, longest, longest, 0.0, True, *states)
    groups = q.shape[1] // k.shape[1]
    found = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
    for piece in documents(bounds):
        shared = (x[piece].repeat_interleave(groups, 1) for x in (k, v))
        heads = (x.transpose(0, 1)[None] for x in (q[piece], *shared, grad[piece]))
        dq, dk, dv = causal_gradient(*heads)[:, 0].transpose(1, 2)
        found[0][piece] = dq
        found[1][piece], found[2][piece] = (x.unflatten(1, (-1, groups)).sum(2) for x in (dk, dv))
    return found


@gradient.register_fake
def _(
    grad: Tensor, q: Tensor, k: Tensor, v: Tensor, out: Tensor, sums: Tensor, bounds: Tensor, longest: int
) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    q, k, v, bounds, ctx.longest = inputs
    ctx.save_for_backward(q, k, v, *output, bounds)


def _backward(ctx: Any, grad: Tensor, _sums: Tensor) -> tuple[Tensor | None, ...]:
    q, k, v, out, sums, bounds = ctx.saved_tensors
    return *gradient(grad.contiguous(), q, k, v, out, sums, bounds, ctx.longest), None, None


attend.register_autograd(_backward, setup_context=_keep)


def documents(bounds: Tensor) -> list[slice]:
    """The places of all documents."""
    ends = bounds.tolist()
    return [slice(first, last) for first, last in pairwise(ends) if first < last]


class Packed(Attend):
    """Attention within documents. `bounds` (int32) holds where each begins, and the end; more ends may follow."""

    def __init__(self, bounds: Tensor, longest: int) -> None:
        self.bounds, self.longest = bounds, longest

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        q, k, v = (x.to(v.dtype).contiguous() for x in (q, k, v))
        return attend(q, k, v, self.bounds, self.longest)[0]


def positions(bounds: Tensor, tokens: int) -> Tensor:
    """The place of each token within its document."""
    at = torch.arange(tokens, dtype=bounds.dtype, device=bounds.device)
    return at - bounds[torch.searchsorted(bounds[1:], at, right=True)]
