"""Batches: documents of a training run, tokenized and laid out in rows, made ahead by a process of their own."""

from __future__ import annotations

import multiprocessing as mp
import random
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.queues import Queue

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from training.documents import Sampled, document
from training.writer import Spans

# A step is (number of rows, length): one document a row, so causal attention needs no mask and no row is much too long.
ROWS = (
    (1, 96), (3, 128), (3, 160), (3, 192), (3, 224), (3, 256), (3, 288), (2, 320), (2, 352), (2, 384), (1, 416),
    (1, 448), (1, 640),
)  # fmt: skip
TOKENS = sum(count * length for count, length in ROWS)
CHUNK = 32  # steps that are made together, from a seed of their own: a run can go on at any chunk
SAMPLED_FROM = 0.7  # share of a training after which real wrong steps are mixed in
IGNORE = -100


@dataclass(frozen=True)
class Batch:
    """The tokens of one step, flat: inputs, and what is to be written next (IGNORE where nothing is learnt)."""

    ids: NDArray[np.int64]
    targets: NDArray[np.int64]
    real: int  # tokens that are not padding


def encode(tokenizer: Tokenizer, documents: Sequence[Spans]) -> list[tuple[list[int], list[bool]]]:
    """Ids, and whether each is learnt."""
    texts = [text for spans in documents for text, _ in spans]
    learns = [learn for spans in documents for _, learn in spans]
    pieces = iter(zip(tokenizer.encode_batch_fast(texts), learns, strict=True))
    result: list[tuple[list[int], list[bool]]] = []
    for spans in documents:
        ids: list[int] = []
        marks: list[bool] = []
        for _ in spans:
            piece, learn = next(pieces)
            ids += piece.ids
            marks += [learn] * len(piece.ids)
        result.append((ids, marks))
    return result


def lay_out(documents: deque[tuple[list[int], list[bool]]]) -> Batch:
    """Fill the rows of one step, taking documents from the queue; each goes into the shortest row that is free."""
    ids = np.zeros(TOKENS, np.int64)
    targets = np.full(TOKENS, IGNORE, np.int64)
    starts: dict[int, list[int]] = {}
    at = real = 0
    for count, length in ROWS:
        starts[length] = [at + row * length for row in range(count)]
        at += count * length
    skipped: list[tuple[list[int], list[bool]]] = []
    while documents and any(starts.values()):
        tokens, marks = documents.popleft()
        length = next((n for n, free in starts.items() if free and n >= len(tokens)), None)
        if length is None:
            skipped.append((tokens, marks))
            continue
        start = starts[length].pop()
        ids[start : start + len(tokens)] = tokens
        following = [token if mark else IGNORE for token, mark in zip(tokens, marks, strict=True)][1:]
        targets[start : start + len(following)] = following
        real += len(tokens)
    documents.extendleft(reversed(skipped))
    return Batch(ids, targets, real)


def chunk(tokenizer: Tokenizer, seed: str, number: int, progress: float, sampled: Sequence[Sampled], drilled: float) -> list[Batch]:
    """The steps of one chunk: the same ones for the same arguments."""
    rng = random.Random(f"{seed}/{number}")
    per_step = sum(count for count, _ in ROWS)
    waiting: deque[tuple[list[int], list[bool]]] = deque()
    batches: list[Batch] = []
    for _ in range(CHUNK):
        missing = 3 * per_step - len(waiting)
        made = [document(rng, progress, sampled, drilled) for _ in range(max(0, missing))]
        waiting.extend(d for d in encode(tokenizer, made) if len(d[0]) <= ROWS[-1][1])
        batches.append(lay_out(waiting))
    return batches


def work(
    queue: Queue[list[Batch]], tokenizer: str, seed: str, start: int, last: int, steps: int, sampled: Sequence[Sampled], drilled: float
) -> None:
    """The process that makes chunks ahead."""
    loaded = Tokenizer.from_str(tokenizer)
    for number in range(start // CHUNK, -(-last // CHUNK)):
        progress = number * CHUNK / steps
        queue.put(chunk(loaded, seed, number, progress, sampled if progress >= SAMPLED_FROM else (), drilled))


def batches(
    tokenizer: Tokenizer, seed: str, start: int, last: int, steps: int, sampled: Sequence[Sampled], drilled: float
) -> Iterator[Batch]:
    """All batches from step `start` (a multiple of CHUNK) to `last`, of a schedule of `steps`."""
    context = mp.get_context("spawn")
    queue: Queue[list[Batch]] = context.Queue(maxsize=4)
    args = (queue, tokenizer.to_str(), seed, start, last, steps, sampled, drilled)
    worker = context.Process(target=work, args=args, daemon=True)
    worker.start()
    try:
        for _ in range(start // CHUNK, -(-last // CHUNK)):
            yield from queue.get()
    finally:
        worker.terminate()
