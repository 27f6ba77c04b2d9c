"""Documents made ahead by processes of their own: neither side waits for one that is gone."""

from __future__ import annotations

import multiprocessing as mp
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from training.makers import chunks

ROOT = Path(__file__).parents[2]
TOKENIZER = ROOT / "src" / "speculative" / "bundled" / "small" / "tokenizer.json"
pytestmark = [pytest.mark.slow, pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="training runs on Linux")]

TRAINS = """
import multiprocessing as mp
import time
from tokenizers import Tokenizer
from test_makers import Counting
from training.makers import chunks
if __name__ == "__main__":
    made = chunks(Tokenizer.from_file({tokenizer!r}), Counting(), range(1 << 20), 2, 3)
    next(made)
    print(*[child.pid for child in mp.active_children()], flush=True)
    time.sleep(600)
"""


class Counting:
    """A course whose only step is the number of its chunk."""

    def chunk(self, tokenizer: Tokenizer, number: int) -> Iterator[int]:
        yield number


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_maker_that_dies_is_told() -> None:
    made = chunks(Tokenizer.from_file(str(TOKENIZER)), Counting(), range(1 << 20), 2, 3)
    next(made)
    for maker in mp.active_children():
        os.kill(maker.pid or 0, signal.SIGKILL)
    with pytest.raises(RuntimeError, match="died"):
        for _ in made:
            pass


def test_makers_end_when_their_training_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "trains.py"
    script.write_text(TRAINS.format(tokenizer=str(TOKENIZER)))
    path = os.pathsep.join(map(str, (ROOT, ROOT / "src", Path(__file__).parent)))
    training = subprocess.Popen(
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert training.stdout
    makers = [int(pid) for pid in training.stdout.readline().split()]
    assert makers
    assert all(map(lives, makers))
    training.kill()
    training.wait()
    training.stdout.close()
    until = time.monotonic() + 20
    while any(map(lives, makers)) and time.monotonic() < until:
        time.sleep(0.1)
    left = [pid for pid in makers if lives(pid)]
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left
