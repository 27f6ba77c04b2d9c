"""A training that is killed ends as one that is not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
from compiling import TRAINING

pytestmark = TRAINING
if not find_spec("torch"):
    pytest.skip("needs the extra train", allow_module_level=True)

ROOT = Path(__file__).parents[2]
SMALL = ROOT / "src" / "speculative" / "bundled" / "small"

TRAINS = """
from pathlib import Path
from test_train import plan, tokens
from training.train import train
if __name__ == "__main__":
    train(plan(), tokens(), Path({folder!r}), 0)
"""


def tokens():
    from training.tokenizer import load

    return load(SMALL)


def plan():
    """Three chunks of a tiny model, a checkpoint after each."""
    from training.batches import CHUNK
    from training.make import PLANS
    from training.model import Shape

    return replace(PLANS[0], shape=Shape(64, 1, 64, 1, 1), steps=3 * CHUNK, wide=1, keep_every=CHUNK, freeze=None)


def logged(folder: Path) -> list[dict[str, float]]:
    rows = [json.loads(line) for line in (folder / "small.jsonl").read_text().splitlines()]
    return [{name: value for name, value in row.items() if name != "seconds"} for row in rows]


def same(one, other) -> bool:
    import torch

    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_a_training_that_is_killed_in_its_midst_ends_as_one_that_is_not(tmp_path: Path) -> None:
    from training.origin import OtherOriginError
    from training.train import train

    script = tmp_path / "trains.py"
    script.write_text(TRAINS.format(folder=str(tmp_path / "killed")))
    path = os.pathsep.join(map(str, (ROOT, Path(__file__).parent)))
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    training = subprocess.Popen([sys.executable, str(script)], env=environment, stderr=subprocess.DEVNULL)
    checkpoint, until = tmp_path / "killed" / "small.pt", time.monotonic() + 300
    while not checkpoint.exists() and training.poll() is None and time.monotonic() < until:
        time.sleep(0.002)
    training.send_signal(signal.SIGKILL)
    assert training.wait() == -signal.SIGKILL
    with pytest.raises(OtherOriginError, match=r"small.pt was made of something else: plan.steps was 96, is 128; .* remove that file"):
        train(replace(plan(), steps=128), tokens(), checkpoint.parent, 0)
    whole = train(plan(), tokens(), tmp_path / "whole", 0)
    assert same(whole, train(plan(), tokens(), checkpoint.parent, 0))
    assert logged(checkpoint.parent) == logged(tmp_path / "whole")
    assert same(whole, train(plan(), tokens(), checkpoint.parent, 0))  # finished: it is only loaded


def test_a_model_is_frozen_at_the_first_checkpoint_that_is_good_enough(tmp_path: Path) -> None:
    from training.freezing import Freeze
    from training.train import train

    frozen = replace(plan(), freeze=Freeze(0.0, first=64))
    early = train(frozen, tokens(), tmp_path, 0)
    assert [row["step"] for row in logged(tmp_path)] == [32, 64]
    assert (tmp_path / "small.freezing.jsonl").read_text().startswith('{"step": 64, "tuning_accuracy": 0')
    assert same(early, train(frozen, tokens(), tmp_path, 0))
