"""Look at a device before a training: is attention right on it, and how many tokens a second does each model take?

python -m training.tunnel.probe --tokens 32768 65536
"""

from __future__ import annotations

import argparse
import time

import torch
from torch import Tensor
from torch.nn import functional

from training.tunnel import tokenizer
from training.tunnel.batches import Batch, Course
from training.tunnel.make import PLANS
from training.tunnel.packed import Packed, documents
from training.tunnel.stepper import UNRECORDED, Stepper, Trainee, optimizers

TIMED = 20


def difference(device: str) -> float:
    """The largest difference of attention and its gradients from a plain computation, with some empty documents."""
    ends = torch.tensor([0, 1, 130, 130, 700, 1000, 1024, 1024, 1024], dtype=torch.int32, device=device)
    torch.manual_seed(0)
    mine = [torch.randn(1024, heads, 64, device=device, dtype=torch.bfloat16, requires_grad=True) for heads in (4, 2, 2)]
    plain = [x.detach().float().requires_grad_() for x in mine]
    above = torch.randn(1024, 4, 64, device=device)
    out = Packed(ends, 1024)(*mine)
    out.backward(above.bfloat16())
    parts: list[Tensor] = []
    for piece in documents(ends):
        heads = (x[piece].repeat_interleave(4 // x.shape[1], 1).transpose(0, 1)[None] for x in plain)
        parts.append(functional.scaled_dot_product_attention(*heads, is_causal=True)[0].transpose(0, 1))
    wanted = torch.cat(parts)
    wanted.backward(above)
    pairs = [(out, wanted), *((a.grad, b.grad) for a, b in zip(mine, plain, strict=True))]
    return max((a.float() - b.float()).abs().max().item() for a, b in pairs if a is not None and b is not None)


def pace(name: str, batch: Batch, device: str) -> tuple[float, list[float]]:
    """Seconds a step on one batch, and how its loss falls."""
    plan = PLANS[name]
    torch.manual_seed(0)
    trainee = Trainee(plan.shape, plan.watches).to(device)
    stepper = Stepper(trainee, optimizers(trainee, plan.matrix_rate, plan.other_rate), len(batch.ids))
    losses = [stepper(batch, (0.002, 0.001)) for _ in range(UNRECORDED + 2)]
    losses[-1].tolist()  # waits for the device
    began = time.monotonic()
    losses += [stepper(batch, (0.002, 0.001)) for _ in range(TIMED)]
    losses[-1].tolist()
    return (time.monotonic() - began) / TIMED, [round(x[0].item(), 3) for x in losses]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, nargs="+", default=[4096])
    parser.add_argument("--models", nargs="*", choices=list(PLANS), default=["big"])
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    print(f"{device}: attention differs by {difference(device):.4f} at most", flush=True)
    tokens = tokenizer.train(0, 200)
    for name in options.models:
        for count in options.tokens:
            course = Course("probe", 1, count, PLANS["big"].diet)
            began = time.monotonic()
            batch = next(course.chunk(tokens, 0))
            made = time.monotonic() - began
            began = time.monotonic()
            seconds, losses = pace(name, batch, device)
            print(
                f"{name}, {count} tokens: {1 / seconds:.1f} steps/s, {batch.real / seconds:.0f} tokens/s; "
                f"loss {losses[0]} to {losses[-1]}; {made:.1f} s for the documents, {time.monotonic() - began:.0f} s with compiling",
                flush=True,
            )


if __name__ == "__main__":
    main()
