"""Sampling: a pure function of a row's logits, settings and random numbers."""

from __future__ import annotations

from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from speculative.engines.base import Top
from speculative.engines.local.weights import Array

Doubles = NDArray[np.float64]
Longs = NDArray[np.int64]
COLDEST = 1e-6
"""The lowest temperature that is told from the ones below it: its inverse times a logit still is a number of 32 bits."""
WEYL = np.uint64(0x9E3779B97F4A7C15)


def stream_key(seed: int, prefix: int, completion: int) -> int:
    """Returns the 64-bit key of the random numbers of one completion."""
    return int.from_bytes(blake2b(f"{seed}/{prefix}/{completion}".encode(), digest_size=8).digest(), "little")


def uniforms(keys: NDArray[np.uint64], starts: Longs, count: int) -> Doubles:
    """Returns uniform numbers [count, len(keys)] of SplitMix64 (upper 32 bits).

    Column c holds the numbers of stream keys[c] from starts[c] on.
    """
    places = starts.astype(np.uint64) + np.arange(1, count + 1, dtype=np.uint64)[:, None]
    x = keys + places * WEYL
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return ((x ^ (x >> np.uint64(31))) >> np.uint64(32)).astype(np.float64) * 2.0**-32


class Rule:
    """Holds the sampling settings of R rows as columns.

    `cut` is the number of tokens that top-k drops, `drop` is 1 - top-p.
    """

    def __init__(self, rows: int) -> None:
        self.scale: Array = np.ones((rows, 1), np.float32)
        self.drop: Doubles = np.zeros((rows, 1))
        self.cut: Longs = np.zeros(rows, np.int64)
        self.greedy: NDArray[np.bool_] = np.ones(rows, np.bool_)

    def set(self, row: int, vocabulary: int, temperature: float, top_p: float, top_k: int) -> None:
        """Sets how one row samples."""
        self.greedy[row] = temperature <= 0
        self.scale[row] = 1 / max(temperature, COLDEST) if temperature > 0 else 1
        self.drop[row] = 1 - top_p
        self.cut[row] = vocabulary - top_k if 0 < top_k < vocabulary else 0


class Sampler:
    """Samples a window of rows from their logits [W, V].

    Top-p keeps the most likely tokens that hold the share together; equal weights at a filter's edge are all kept.
    """

    def __init__(self, rule: Rule, first: int, end: int, logits: Array) -> None:
        self._logits = logits
        self._scale, self._drop = rule.scale[first:end], rule.drop[first:end]
        self._cut, self._greedy = rule.cut[first:end], rule.greedy[first:end]
        self._all_greedy, self._any_greedy = bool(self._greedy.all()), bool(self._greedy.any())
        drawn = ~self._greedy
        self._any_cut = bool(self._cut[drawn].any())
        self._filters = self._any_cut or bool(self._drop[drawn].any())
        self._numbers = np.arange(end - first)
        self._weights, self._sorted, self._sums = np.empty_like(logits), np.empty_like(logits), np.empty(logits.shape)
        if end - first == 1:
            self._one = (logits[0], self._weights[0], self._sorted[0], self._sums[0])
            self._one_cut, self._one_drop = int(self._cut[0]), float(self._drop[0, 0])
            self._one_scale = self._scale[0, 0]

    def draw(self, u: Doubles) -> Longs:
        """Returns tokens [W] drawn with uniform numbers [W]."""
        if self._all_greedy:
            return self._logits.argmax(axis=1)
        x, sums = self._weights, self._sums
        np.multiply(self._logits, self._scale, out=x)
        np.subtract(x, np.maximum.reduce(x, axis=1, keepdims=True), out=x)
        np.exp(x, out=x)
        if self._filters:
            x *= x >= self._threshold(x)
        np.add.accumulate(x, axis=1, dtype=np.float64, out=sums)
        tokens: Longs = np.add.reduce(sums <= (u * sums[:, -1])[:, None], axis=1)
        if self._any_greedy:
            return np.where(self._greedy, self._logits.argmax(axis=1), tokens)
        return tokens

    def _threshold(self, x: Array) -> Array:
        """Returns the smallest weight [W, 1] that top-k and then top-p keep."""
        ordered, sums = self._sorted, self._sums
        ordered[:] = x
        ordered.sort(axis=1)
        np.add.accumulate(ordered, axis=1, dtype=np.float64, out=sums)
        whole = sums[:, -1:]
        below = np.where(self._cut > 0, sums[self._numbers, self._cut - 1], 0.0)[:, None] if self._any_cut else 0.0
        limit = below + self._drop * (whole - below)
        index = np.minimum(np.add.reduce(sums <= limit, axis=1), x.shape[1] - 1)
        return ordered[self._numbers, index][:, None]

    def draw_one(self, u: float) -> int:
        """Returns the token of a window of one row, the same that `draw` gives."""
        logits, x, ordered, sums = self._one
        if self._all_greedy:
            return int(logits.argmax())
        np.multiply(logits, self._one_scale, out=x)
        np.subtract(x, np.maximum.reduce(x), out=x)
        np.exp(x, out=x)
        if self._filters:
            ordered[:] = x
            ordered.sort()
            np.add.accumulate(ordered, dtype=np.float64, out=sums)
            below = sums[self._one_cut - 1] if self._one_cut else 0.0
            index = sums.searchsorted(below + self._one_drop * (sums[-1] - below), "right")
            x *= x >= ordered[min(int(index), len(x) - 1)]
        np.add.accumulate(x, dtype=np.float64, out=sums)
        return int(sums.searchsorted(u * sums[-1], "right"))


def top_logprobs(logits: Array, count: int) -> list[Top]:
    """Returns the likeliest tokens of each row [W, V], ties by token.

    They are those before temperature.
    """
    values = all_logprobs(logits)
    found = np.argpartition(-values, min(count, values.shape[1]) - 1, axis=1)[:, :count]
    likely = np.take_along_axis(values, found, 1)
    order = np.lexsort((found, -likely))
    rows = zip(np.take_along_axis(found, order, 1).tolist(), np.take_along_axis(likely, order, 1).tolist(), strict=True)
    return [tuple(zip(*row, strict=True)) for row in rows]


def all_logprobs(logits: Array) -> Array:
    """Returns the log-probabilities of all tokens.

    `logits` is one row [V] or several [W, V].
    """
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.cumsum(np.exp(shifted), axis=-1, dtype=np.float64)[..., -1:]).astype(np.float32)


def logprobs(logits: Array, tokens: Longs) -> Array:
    """Returns the log-probability [W] of one token a row, before temperature."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    chosen = shifted[np.arange(len(tokens)), tokens]
    return chosen - np.log(np.cumsum(np.exp(shifted), axis=1, dtype=np.float64)[:, -1]).astype(np.float32)
