"""Makers: processes that make the chunks of a training ahead."""

from __future__ import annotations

import multiprocessing as mp
import os
import signal
import threading
from collections.abc import Generator, Iterator
from multiprocessing.process import BaseProcess
from multiprocessing.queues import Queue
from queue import Empty
from typing import Any, Protocol, TypeVar

from tokenizers import Tokenizer

LOOK = 2.0  # seconds between two looks whether the other process lives

Batch = TypeVar("Batch")
Batch_co = TypeVar("Batch_co", covariant=True)


class Course(Protocol[Batch_co]):
    """The steps that a model reads, in chunks."""

    def chunk(self, tokenizer: Tokenizer, number: int) -> Iterator[Batch_co]:
        """The steps of one chunk: always the same ones."""
        ...


def chunks(tokenizer: Tokenizer, course: Course[Batch], numbers: range, makers: int, ahead: int) -> Generator[list[Batch], None, None]:
    """The chunks of these numbers, in order. Each maker makes so many ahead. Raises `RuntimeError` if one dies."""
    context = mp.get_context("spawn")
    queues: list[Queue[list[Batch]]] = [context.Queue(maxsize=ahead) for _ in range(makers)]
    workers = [
        context.Process(target=work, args=(queue, tokenizer.to_str(), course, numbers[maker::makers]), daemon=True)
        for maker, queue in enumerate(queues)
    ]
    for worker in workers:
        worker.start()
    try:
        for place in range(len(numbers)):
            yield taken(queues[place % makers], workers[place % makers])
    finally:
        for worker in workers:
            worker.terminate()


def work(queue: Queue[list[Any]], tokenizer: str, course: Course[Any], numbers: range) -> None:
    """A process that makes chunks ahead, for as long as the training lives."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the training ends its makers
    threading.Thread(target=leave_with, args=(mp.parent_process(),), daemon=True).start()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.nice(10)  # training itself comes first
    loaded = Tokenizer.from_str(tokenizer)
    for number in numbers:
        queue.put(list(course.chunk(loaded, number)))


def leave_with(training: BaseProcess | None) -> None:
    """Ends this process after that one, which may be killed: no other process would end it."""
    if training is not None:
        training.join()
        os._exit(1)


def taken(queue: Queue[list[Batch]], maker: BaseProcess) -> list[Batch]:
    """The next chunk. Raises `RuntimeError` if its maker died."""
    while True:
        alive = maker.is_alive()
        try:
            return queue.get(timeout=LOOK)
        except Empty:
            if not alive:
                raise RuntimeError(f"a process that makes documents died (exit code {maker.exitcode}); run the command again") from None
