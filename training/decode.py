"""Batched writing and scoring with a trained model, for evaluation and for collecting a model's real slips."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional

from training.model import Attend, Model, shape_of
from training.tokenizer import END

ROWS = {"cpu": 512, "cuda": 8192}
"""Rows that are written at once, times layers."""


class Cached(Attend):
    """Attention over a cache, prompts padded on the left. Called once a layer, in turn."""

    def __init__(self, layers: int, padding: Tensor, room: int) -> None:
        self.keys: list[Tensor] = []
        self.values: list[Tensor] = []
        self.layers, self.room = layers, room
        self.padding = padding  # (rows,): pads before each prompt
        self.layer = self.length = 0

    def __call__(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        rows, new, heads, size = q.shape
        if len(self.keys) < self.layers:
            self.keys.append(k.new_zeros(rows, k.shape[2], self.room, size))
            self.values.append(k.new_zeros(rows, k.shape[2], self.room, size))
        total = self.length + new
        keys, values = self.keys[self.layer][:, :, :total], self.values[self.layer][:, :, :total]
        keys[:, :, self.length :], values[:, :, self.length :] = k.transpose(1, 2), v.transpose(1, 2)
        at = torch.arange(total, device=q.device)
        mask = (at[None, :] <= at[self.length :, None]) & (at >= self.padding[:, None])[:, None, :]
        mask = mask | (at[None, :] == at[self.length :, None])  # a pad sees itself: no row is empty
        # The heads that share keys go in as more queries, so that keys are read once and never copied.
        groups = heads // k.shape[2]
        q = q.unflatten(2, (-1, groups)).permute(0, 2, 3, 1, 4).flatten(2, 3)
        mask = mask.repeat(1, groups, 1)[:, None]
        out = functional.scaled_dot_product_attention(q, keys, values, attn_mask=mask)
        self.layer = (self.layer + 1) % self.layers
        self.length = total if self.layer == 0 else self.length
        return out.unflatten(2, (groups, new)).permute(0, 3, 1, 2, 4).flatten(2, 3)

    def keep(self, rows: Tensor) -> None:
        """Forget all other rows."""
        self.padding = self.padding[rows]
        self.keys = [x[rows] for x in self.keys]
        self.values = [x[rows] for x in self.values]


def load(folder: Path) -> tuple[Model, Tokenizer]:
    """An exported model, as it ships."""
    model = Model(shape_of(json.loads((folder / "config.json").read_text())))
    model.load_state_dict({name: w.float() for name, w in load_file(folder / "model.safetensors").items()})
    return model.to("cuda" if torch.cuda.is_available() else "cpu").eval(), Tokenizer.from_file(str(folder / "tokenizer.json"))


@torch.inference_mode()
def write(
    model: Model, tokenizer: Tokenizer, prefixes: Sequence[str], *, temperature: float = 0.0, limit: int = 400,
    seed: int = 0, stop: str | None = None,
) -> list[list[int]]:  # fmt: skip
    """Go on from each prefix until the end marker (not included) or the token `stop` (included)."""
    device = model.model.embed_tokens.weight.device
    end = tokenizer.token_to_id(END)
    ends = {end, tokenizer.token_to_id(stop)} if stop else {end}
    encoded = [e.ids for e in tokenizer.encode_batch(list(prefixes))]
    written: list[list[int]] = [[] for _ in prefixes]
    generator = torch.Generator(device).manual_seed(seed)
    order = sorted(range(len(prefixes)), key=lambda i: len(encoded[i]))
    batch = ROWS[device.type] // model.shape.layers
    for first in range(0, len(order), batch):
        rows = order[first : first + batch]
        length = max(len(encoded[i]) for i in rows)
        padding = torch.tensor([length - len(encoded[i]) for i in rows], device=device)
        ids = torch.tensor([[0] * (length - len(encoded[i])) + encoded[i] for i in rows], device=device)
        cache, at, going = Cached(model.shape.layers, padding, length + limit), 0, [True] * len(rows)
        for _ in range(limit):
            positions = torch.arange(at, at + ids.shape[1], device=device)
            logits = model.logits(model(ids, positions, cache)[:, -1])
            at += ids.shape[1]
            if temperature == 0.0:
                ids = logits.argmax(-1, keepdim=True)
            else:
                ids = torch.multinomial(torch.softmax(logits / temperature, -1), 1, generator=generator)
            for place, token in enumerate(ids[:, 0].tolist()):
                if going[place] and token != end:
                    written[rows[place]].append(token)
                going[place] = going[place] and token not in ends
            if not any(going):
                break
            if sum(going) < 0.7 * len(rows):  # stop computing the rows that are done
                kept = [place for place, more in enumerate(going) if more]
                rows, going, ids = [rows[place] for place in kept], [True] * len(kept), ids[kept]
                cache.keep(torch.tensor(kept, device=device))
    return written


@torch.inference_mode()
def score(model: Model, prefixes: Sequence[Sequence[int]], pieces: Sequence[Sequence[int]]) -> list[list[float]]:
    """Log-probability of each token of each piece after its prefix."""
    device = model.model.embed_tokens.weight.device
    results: list[list[float]] = [[] for _ in prefixes]
    order = sorted(range(len(prefixes)), key=lambda i: len(prefixes[i]) + len(pieces[i]))
    for first in range(0, len(order), 32):
        rows = order[first : first + 32]
        texts = [[*prefixes[i], *pieces[i]] for i in rows]
        length = max(map(len, texts))
        padding = torch.tensor([length - len(t) for t in texts], device=device)
        ids = torch.tensor([[0] * (length - len(t)) + t for t in texts], device=device)
        hidden = model(ids, torch.arange(length, device=device), Cached(model.shape.layers, padding, length))
        logs = torch.log_softmax(model.logits(hidden), -1)[:, :-1].gather(2, ids[:, 1:, None])[..., 0]
        for row, i in enumerate(rows):
            results[i] = logs[row, length - 1 - len(pieces[i]) :].tolist()
    return results
