"""Batches: documents of a training run, tokenized and laid out in rows, made ahead by processes of their own."""

from __future__ import annotations

import os
import random
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import chain, islice

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from training.documents import Diet, Sampled
from training.makers import chunks
from training.origin import digest
from training.writer import Spans

Rows = tuple[tuple[int, int], ...]

# A step is (number of rows, length): one document a row, so causal attention needs no mask and no row is much too long.
ROWS: Rows = ((4, 128), (5, 192), (4, 256), (4, 320), (3, 384), (3, 512), (1, 768))
MAKERS = 5  # processes that make documents, where there are cores for them
CHUNK = 32  # steps that are made together, from a seed of their own: a run can go on at any chunk
SAMPLED_FROM = 0.2  # share of a training after which real wrong steps are mixed in
SAMPLE = 2  # steps of a chunk that stand for all its documents
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


def times(rows: Rows, wide: int) -> Rows:
    """A step that is so many times as wide."""
    return tuple((count * wide, length) for count, length in rows)


def lay_out(documents: deque[tuple[list[int], list[bool]]], rows: Rows) -> Batch:
    """Fill the rows of one step, taking documents from the queue; each goes into the shortest row that is free."""
    tokens = sum(count * length for count, length in rows)
    ids = np.zeros(tokens, np.int64)
    targets = np.full(tokens, IGNORE, np.int64)
    starts: dict[int, list[int]] = {}
    at = real = 0
    for count, length in rows:
        starts[length] = [at + row * length for row in range(count)]
        at += count * length
    skipped: list[tuple[list[int], list[bool]]] = []
    while documents and any(starts.values()):
        document, marks = documents.popleft()
        length = next((n for n, free in starts.items() if free and n >= len(document)), None)
        if length is None:
            skipped.append((document, marks))
            continue
        start = starts[length].pop()
        ids[start : start + len(document)] = document
        following = [token if mark else IGNORE for token, mark in zip(document, marks, strict=True)][1:]
        targets[start : start + len(following)] = following
        real += len(document)
    documents.extendleft(reversed(skipped))
    return Batch(ids, targets, real)


@dataclass(frozen=True)
class Course:
    """The rows that a model reads: fixed by a seed, in a schedule of so many steps, each so many times as wide as `ROWS`."""

    seed: str
    steps: int
    wide: int
    diet: Diet
    sampled: Sequence[Sampled]

    def chunk(self, tokenizer: Tokenizer, number: int) -> Iterator[Batch]:
        """The steps of one chunk: always the same ones."""
        rng = random.Random(f"{self.seed}/{number}")
        progress = number * CHUNK / self.steps
        sampled = self.sampled if progress >= SAMPLED_FROM else ()
        rows = times(ROWS, self.wide)
        per_step = sum(count for count, _ in rows)
        waiting: deque[tuple[list[int], list[bool]]] = deque()
        for _ in range(CHUNK):
            missing = 3 * per_step - len(waiting)
            made = [self.diet.document(rng, progress, sampled) for _ in range(max(0, missing))]
            waiting.extend(d for d in encode(tokenizer, made) if len(d[0]) <= rows[-1][1])
            yield lay_out(waiting, rows)

    def sample(self, tokenizer: Tokenizer) -> str:
        """A digest of some of what is read, early and late: other documents have another."""
        narrow = replace(self, wide=1)
        read = [step for number in (0, (self.steps - 1) // CHUNK) for step in islice(narrow.chunk(tokenizer, number), SAMPLE)]
        return digest(*(part.tobytes() for step in read for part in (step.ids, step.targets)))


def batches(tokenizer: Tokenizer, course: Course, start: int) -> Iterator[Batch]:
    """All batches from step `start` (a multiple of CHUNK) on."""
    makers = max(1, min(MAKERS, len(os.sched_getaffinity(0)) - 2))
    numbers = range(start // CHUNK, -(-course.steps // CHUNK))
    with closing(chunks(tokenizer, course, numbers, makers, ahead=2)) as made:
        yield from chain.from_iterable(made)
