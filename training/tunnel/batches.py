"""Batches: documents of a training run, tokenized and laid out in rows, made ahead by processes of their own."""

from __future__ import annotations

import json
import multiprocessing as mp
import os
import random
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.queues import Queue
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from training.batches import CHUNK, IGNORE, Rows, leave_with, taken
from training.tunnel.dialect import RIGHT, WRONG
from training.tunnel.documents import Diet, Sampled, asking, sampled_problem
from training.tunnel.moves import DeadEndError
from training.tunnel.writer import Spans, Writer

# A step is (number of rows, length): one document a row, so causal attention needs no mask. Only the last, longest row
# takes several, one behind the other. Few lengths: a GPU waits for launches here, and padding costs it next to nothing.
ROWS: Rows = ((26, 512), (12, 1024), (5, 2048), (1, 4096))
NARROW: Rows = ((10, 512), (6, 1024), (2, 2048), (1, 4096))
SAMPLED_FROM = 0.4  # share of a training after which real wrong steps are mixed in
GROUP, USES = 8, 3  # so many chunks are used so often: making documents is what takes time
BLOCK = GROUP * USES * CHUNK
NO_VERDICT = -1
ROOM = 200  # tokens that are left in the long row when a step is full
REWARD_WEIGHT = 3.0
PATIENCE = 1200.0  # seconds to wait for real wrong steps that another process is still collecting


@dataclass(frozen=True)
class Batch:
    """The tokens of one step, flat: inputs, what is to be written next and how much it weighs, and verdicts at the ends of steps."""

    ids: NDArray[np.int64]
    targets: NDArray[np.int64]
    weights: NDArray[np.float32]
    verdicts: NDArray[np.int64]
    real: int  # tokens that are not padding


@dataclass(frozen=True)
class Encoded:
    """A document as ids, with a weight and a verdict for each."""

    ids: list[int]
    weights: list[float]
    verdicts: list[int]


def encode(tokenizer: Tokenizer, documents: Sequence[Spans]) -> list[Encoded]:
    """Ids with weights; the verdict on a step stands at its last token."""
    pieces = iter(tokenizer.encode_batch_fast([span.text for spans in documents for span in spans]))
    result: list[Encoded] = []
    for spans in documents:
        ids: list[int] = []
        weights: list[float] = []
        verdicts: list[int] = []
        for span in spans:
            piece = next(pieces).ids
            ids += piece
            weights += [span.weight] * len(piece)
            verdicts += [NO_VERDICT] * len(piece)
            if piece:
                verdicts[-1] = span.verdict
        result.append(Encoded(ids, weights, verdicts))
    return result


def lay_out(documents: deque[Encoded], rows: Rows, marks: tuple[int, int] | None) -> Batch:
    """Fill the rows of one step, taking documents from the queue; each goes into the shortest row that is free.

    With `marks`, the tokens for wrong and right, the end of a step is followed by its verdict: a reward model.
    """
    tokens = sum(count * length for count, length in rows)
    ids = np.zeros(tokens, np.int64)
    targets = np.full(tokens, IGNORE, np.int64)
    weights = np.zeros(tokens, np.float32)
    verdicts = np.full(tokens, NO_VERDICT, np.int64)
    starts: dict[int, list[int]] = {}
    at = real = 0
    for count, length in rows[:-1]:
        starts[length] = [at + row * length for row in range(count)]
        at += count * length
    skipped: list[Encoded] = []
    while documents and (any(starts.values()) or tokens - at >= ROOM):
        document = documents.popleft()
        size = len(document.ids)
        length = next((n for n, free in starts.items() if free and n >= size), None)
        if length is None and size > tokens - at:
            skipped.append(document)
            continue
        if length is None:
            start, at = at, at + size
        else:
            start = starts[length].pop()
        ids[start : start + size] = document.ids
        weights[start : start + size - 1] = document.weights[1:]
        targets[start : start + size - 1] = document.ids[1:]
        verdicts[start : start + size] = document.verdicts
        real += size
    if marks:
        graded = verdicts != NO_VERDICT
        targets[graded] = np.array(marks)[verdicts[graded]]
        weights[graded] = REWARD_WEIGHT
    targets[weights == 0] = IGNORE
    documents.extendleft(reversed(skipped))
    return Batch(ids, targets, weights, verdicts, real)


@dataclass(frozen=True)
class Course:
    """The documents that a model reads, fixed by a seed. Within `ripe` steps the mix changes from easy to whole.

    `slips` is a file of real wrong steps, which may still be in the making when the training begins; `hard` one of
    steps that are hard for small.
    """

    seed: str
    ripe: int
    rows: Rows
    diet: Diet | None
    slips: Path | None = None
    hard: Path | None = None
    reward: bool = False

    def chunk(self, tokenizer: Tokenizer, number: int) -> Iterator[Batch]:
        """The steps of one chunk: always the same ones."""
        rng = random.Random(f"{self.seed}/{number}")
        make = self.maker(rng, number * CHUNK * USES / self.ripe)
        marks = (tokenizer.token_to_id(WRONG), tokenizer.token_to_id(RIGHT)) if self.reward else None
        per_step = sum(count for count, _ in self.rows)
        waiting: deque[Encoded] = deque()
        for _ in range(CHUNK):
            missing = 3 * per_step - len(waiting)
            waiting.extend(d for d in encode(tokenizer, [make() for _ in range(max(0, missing))]) if len(d.ids) <= self.rows[-1][1])
            yield lay_out(waiting, self.rows, marks)

    def maker(self, rng: random.Random, progress: float) -> Callable[[], Spans]:
        """A maker of documents at some progress."""
        if self.diet is None:
            assert self.hard is not None
            return lambda: ask(rng, load_hard(self.hard))
        sampled = load_slips(self.slips) if self.slips and progress >= (0 if self.reward else SAMPLED_FROM) else ()
        return lambda: self.diet.document(rng, progress, sampled)  # type: ignore[union-attr]


def ask(rng: random.Random, hard: Sequence[tuple[int, tuple[bool, ...]]]) -> Spans:
    """A document of the asking model."""
    from training.tunnel.dialect import INSTRUCTIONS

    while True:
        number, steps = rng.choice(hard)
        try:
            return asking(Writer(rng, sampled_problem(number)), rng.choice(list(INSTRUCTIONS)), steps)
        except DeadEndError:
            continue


KNOWN: dict[Path, list[object]] = {}
"""Files that this process has read."""


def wait_for(path: Path) -> list[str]:
    """The lines of a file, which may be in the making."""
    until = time.monotonic() + PATIENCE
    while not path.exists():
        if time.monotonic() > until:
            raise RuntimeError(f"{path} did not come; make it first")
        time.sleep(1)
    return path.read_text().splitlines()


def load_slips(path: Path | None) -> list[Sampled]:
    """Real wrong steps."""
    assert path is not None
    if path not in KNOWN:
        KNOWN[path] = [Sampled(row["number"], tuple(row["steps"])) for row in map(json.loads, wait_for(path))]
    return KNOWN[path]  # type: ignore[return-value]


def load_hard(path: Path | None) -> list[tuple[int, tuple[bool, ...]]]:
    """Problems by number, and which of their steps are hard."""
    assert path is not None
    if path not in KNOWN:
        KNOWN[path] = [(row["number"], tuple(map(bool, row["hard"]))) for row in map(json.loads, wait_for(path))]
    return KNOWN[path]  # type: ignore[return-value]


def work(queue: Queue[list[Batch]], tokenizer: str, course: Course, numbers: range) -> None:
    """A process that makes chunks ahead, for as long as the training lives."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the training ends its makers
    threading.Thread(target=leave_with, args=(mp.parent_process(),), daemon=True).start()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.nice(10)  # training itself comes first
    loaded = Tokenizer.from_str(tokenizer)
    for number in numbers:
        queue.put(list(course.chunk(loaded, number)))


def batches(tokenizer: Tokenizer, course: Course, start: int, steps: int, makers: int) -> Iterator[Batch]:
    """All batches from step `start` (a multiple of BLOCK) on: a group of chunks as they come, then twice more in another order."""
    context = mp.get_context("spawn")
    numbers = range(start // BLOCK * GROUP, -(-steps // BLOCK) * GROUP)
    queues = [context.Queue(maxsize=3) for _ in range(makers)]
    workers = [
        context.Process(target=work, args=(queue, tokenizer.to_str(), course, numbers[maker::makers]), daemon=True)
        for maker, queue in enumerate(queues)
    ]
    for worker in workers:
        worker.start()
    try:
        for first in range(0, len(numbers), GROUP):
            group: list[Batch] = []
            for place in range(first, first + GROUP):
                chunk: list[Batch] = taken(queues[place % makers], workers[place % makers])  # type: ignore[arg-type]
                group += chunk
                yield from chunk
            for again in range(1, USES):
                yield from random.Random(f"{course.seed}/{numbers[first]}/{again}").sample(group, len(group))
    finally:
        for worker in workers:
            worker.terminate()
