"""Values that a process makes once."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from speculative._sync import PerProcess


class Made:
    """Counts the values that are made. The first one is held until `release` is set."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.began, self.release = threading.Event(), threading.Event()

    def __call__(self) -> int:
        self.numbers.append(len(self.numbers))
        self.began.set()
        self.release.wait()
        return self.numbers[-1]


def test_threads_that_call_at_once_get_one_value() -> None:
    made, ready = Made(), threading.Barrier(9)
    value = PerProcess(made)

    def call() -> int:
        ready.wait()
        return value()

    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(call) for _ in range(8)]
        ready.wait()
        made.began.wait()
        made.release.set()
        assert [one.result() for one in calls] == [0] * 8
    assert made.numbers == [0]


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="a fork is needed")
def test_a_process_that_is_forked_while_a_thread_makes_the_value_makes_its_own() -> None:
    made = Made()
    value = PerProcess(made)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(value)
        made.began.wait()
        if not (child := os.fork()):
            made.release = threading.Event()
            made.release.set()
            os._exit(value())
        made.release.set()
        assert first.result() == 0
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 1


def test_a_value_that_could_not_be_made_is_tried_again() -> None:
    tries = iter([ValueError("no"), "made"])

    def make() -> str:
        if isinstance(one := next(tries), ValueError):
            raise one
        return one

    value = PerProcess(make)
    with pytest.raises(ValueError, match="no"):
        value()
    assert value() == "made"
