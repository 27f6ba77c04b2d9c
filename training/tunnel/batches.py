"""Batches: documents of a training run, tokenized and packed into steps, made ahead by processes of their own."""

from __future__ import annotations

import json
import os
import random
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from itertools import accumulate, chain, islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from training.makers import chunks
from training.tunnel.dialect import RIGHT, WRONG, prompt
from training.tunnel.documents import Diet, Sampled, asking, sampled_problem, solve
from training.tunnel.moves import DeadEndError
from training.tunnel.problems import SECOND, Ladder
from training.tunnel.writer import Span, Spans, Writer

LONGEST = 4096  # tokens of a document
CHUNK = 32  # steps that are made together, from a seed of their own: a run can go on at any chunk
IGNORE = -100
SAMPLED_FROM = 0.5  # share of the ripening after which real wrong steps are mixed in
REHEARSAL = bool(os.environ.get("TUNNEL_REHEARSAL"))
"""Whether all trainings are too short, and their models too small, to learn anything: to try the commands out."""
GROUP, USES = (1, 1) if REHEARSAL else (8, 3)  # so many chunks are used so often: making documents is what takes time
BLOCK = GROUP * USES * CHUNK
NO_VERDICT = -1
ROOM = 200  # tokens that are left when a step is full
SHORTEST = 256  # a step has at most one document for so many tokens
STOCK = 8 * LONGEST  # tokens of documents that wait for their step
REWARD_WEIGHT = 3.0
UNASKED = 0.15  # of the asking model's documents have no instruction
PATIENCE = 1200.0  # seconds to wait for real wrong steps that another process is still collecting


@dataclass(frozen=True)
class Batch:
    """The tokens of one step, documents one behind the other.

    Inputs, what is to be written next and how much it weighs, and verdicts at the ends of steps; where each document
    begins, and the end.
    """

    ids: NDArray[np.int16]
    targets: NDArray[np.int16]
    weights: NDArray[np.float32]
    verdicts: NDArray[np.int8]
    bounds: NDArray[np.int32]
    real: int  # tokens that are not padding


@dataclass(frozen=True)
class Encoded:
    """A document as ids, with a weight and a verdict for each."""

    ids: NDArray[np.int16]
    weights: NDArray[np.float32]
    verdicts: NDArray[np.int8]


def encode(tokenizer: Tokenizer, documents: Sequence[Spans]) -> list[Encoded]:
    """Ids with weights; the verdict on a step stands at its last token."""
    pieces = iter(tokenizer.encode_batch_fast([span.text for spans in documents for span in spans]))
    result: list[Encoded] = []
    for spans in documents:
        parts = [next(pieces).ids for _ in spans]
        sizes = [len(part) for part in parts]
        ids = np.fromiter(chain.from_iterable(parts), np.int16, sum(sizes))
        weights = np.repeat(np.array([span.weight for span in spans], np.float32), sizes)
        verdicts = np.full(len(ids), NO_VERDICT, np.int8)
        for span, end in zip(spans, accumulate(sizes), strict=True):
            if span.verdict != NO_VERDICT:
                verdicts[end - 1] = span.verdict
        result.append(Encoded(ids, weights, verdicts))
    return result


def longest(tokens: int) -> int:
    """The longest document of a step of so many tokens."""
    return min(LONGEST, tokens)


def bounds_of(starts: Sequence[int], end: int, tokens: int) -> NDArray[np.int32]:
    """Where documents begin, then pieces of padding, then ends: always as many."""
    padding = range(end, tokens, longest(tokens))
    size = most_documents(tokens) + -(-tokens // longest(tokens)) + 1
    bounds = np.full(size, tokens, np.int32)
    bounds[: len(starts) + len(padding)] = [*starts, *padding]
    return bounds


def most_documents(tokens: int) -> int:
    """How many documents a step of so many tokens has at most."""
    return max(4, tokens // SHORTEST)


def lay_out(documents: deque[Encoded], tokens: int, marks: tuple[int, int] | None) -> Batch:
    """Fill one step, taking documents from the queue as they fit.

    With `marks`, the tokens for wrong and right, the end of a step is followed by its verdict: a reward model.
    """
    ids = np.zeros(tokens, np.int16)
    targets = np.full(tokens, IGNORE, np.int16)
    weights = np.zeros(tokens, np.float32)
    verdicts = np.full(tokens, NO_VERDICT, np.int8)
    starts: list[int] = []
    skipped: list[Encoded] = []
    at = 0
    while documents and tokens - at >= min(ROOM, tokens) and len(starts) < most_documents(tokens):
        document = documents.popleft()
        size = len(document.ids)
        if size > tokens - at:
            skipped.append(document)
            continue
        ids[at : at + size] = document.ids
        weights[at : at + size - 1] = document.weights[1:]
        targets[at : at + size - 1] = document.ids[1:]
        verdicts[at : at + size] = document.verdicts
        starts.append(at)
        at += size
    if marks:
        graded = verdicts != NO_VERDICT
        targets[graded] = np.array(marks, np.int16)[verdicts[graded]]
        weights[graded] = REWARD_WEIGHT
    targets[weights == 0] = IGNORE
    documents.extendleft(reversed(skipped))
    return Batch(ids, targets, weights, verdicts, bounds_of(starts, at, tokens), at)


@dataclass(frozen=True)
class Course:
    """The documents that a model reads, fixed by a seed. Within `ripe` steps the mix changes from easy to whole.

    `slips` is a file of real wrong steps, which may still be in the making when the training begins; `hard` one of
    steps that are hard for small.
    """

    seed: str
    ripe: int
    tokens: int  # of a step
    diet: Diet | None
    slips: Path | None = None
    hard: Path | None = None
    reward: bool = False
    ladder: Ladder = SECOND

    def chunk(self, tokenizer: Tokenizer, number: int) -> Iterator[Batch]:
        """The steps of one chunk: always the same ones."""
        rng = random.Random(f"{self.seed}/{number}")
        make = self.maker(rng, number * CHUNK * USES / self.ripe)
        marks = (tokenizer.token_to_id(WRONG), tokenizer.token_to_id(RIGHT)) if self.reward else None
        waiting: deque[Encoded] = deque()
        stock = 0
        for _ in range(CHUNK):
            while stock < self.tokens + STOCK:
                made = [d for d in encode(tokenizer, [make() for _ in range(16)]) if len(d.ids) <= longest(self.tokens)]
                waiting.extend(made)
                stock += sum(len(d.ids) for d in made)
            step = lay_out(waiting, self.tokens, marks)
            stock -= step.real
            yield step

    def maker(self, rng: random.Random, progress: float) -> Callable[[], Spans]:
        """A maker of documents at some progress."""
        if self.diet is None:
            assert self.hard is not None
            return lambda: ask(rng, load_hard(self.hard), self.ladder)
        sampled = load_slips(self.slips) if self.slips and progress >= (0 if self.reward else SAMPLED_FROM) else ()
        return lambda: self.diet.document(rng, progress, self.ladder, sampled)  # type: ignore[union-attr]


def ask(rng: random.Random, hard: Sequence[tuple[int, tuple[bool, ...]]], ladder: Ladder) -> Spans:
    """A document of the asking model."""
    from training.tunnel.dialect import INSTRUCTIONS

    while True:
        number, steps = rng.choice(hard)
        try:
            writer = Writer(rng, sampled_problem(number, ladder))
            if rng.random() < UNASKED:  # without an instruction it writes no tags
                writer.spans = [Span(prompt(writer.problem.text))]
                return solve(writer)
            return asking(writer, rng.choice(list(INSTRUCTIONS)), steps)
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


def batches(tokenizer: Tokenizer, course: Course, start: int, steps: int, makers: int) -> Iterator[Batch]:
    """All batches from step `start` (a multiple of BLOCK) on: a group of chunks as they come, then twice more in another order."""
    numbers = range(start // BLOCK * GROUP, -(-steps // BLOCK) * GROUP)
    with closing(chunks(tokenizer, course, numbers, makers, ahead=3)) as made:
        for first in range(0, len(numbers), GROUP):
            group: list[Batch] = []
            for batches in islice(made, GROUP):
                group += batches
                yield from batches
            for again in range(1, USES):
                yield from random.Random(f"{course.seed}/{numbers[first]}/{again}").sample(group, len(group))
