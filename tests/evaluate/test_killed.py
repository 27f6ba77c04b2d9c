"""`speculative eval` killed ten times on the bundled pair: no sample is lost or run twice."""

import json
import signal
import subprocess
import sys
import time

import pytest

from speculative.runs.folder import Run

KILLS, CHAINS, PROBLEMS, EPOCHS = 10, 4, 30, 3

METHOD = '''
from pathlib import Path
from speculative.methods.random_switch import RandomSwitch

class Counted(RandomSwitch):
    """A random switch that writes down when a chain begins."""

    async def run(self, chain):
        with Path("begun").open("a") as file:
            file.write(f"{chain.seed}\\n")
        await super().run(chain)
'''


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_a_killed_evaluation_goes_on(tmp_path):
    (tmp_path / "counted.py").write_text(METHOD)
    command = [sys.executable, "-m", "speculative", "eval", "tunnel", "--method", "./counted.py:Counted", "--switch-ratio", "4"]
    command += ["--limit", str(PROBLEMS), "--epochs", str(EPOCHS), "--chains", str(CHAINS), "--no-controls", "--out", "run"]
    file = tmp_path / "run" / "samples.jsonl"
    before: list[bytes] = []
    for kill in range(KILLS):
        child = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            until = time.monotonic() + 300
            while len(whole_lines(file)) < len(before) + 1 + kill % 3 and child.poll() is None:
                assert time.monotonic() < until, "no chain ends"
                time.sleep(0.01)
            assert child.poll() is None, "it ended before it was killed"
        finally:
            child.send_signal(signal.SIGKILL)
            child.wait()
        now = whole_lines(file)
        assert now[: len(before)] == before
        before = now
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    samples = [json.loads(line) for line in whole_lines(file)]
    assert len({(sample["problem"], sample["epoch"]) for sample in samples}) == len(samples) == PROBLEMS * EPOCHS
    begun = (tmp_path / "begun").read_text().split()
    assert set(begun) == {str(sample["seed"]) for sample in samples}
    print(f"{KILLS} kills, {len(samples)} samples, {len(begun) - len(samples)} chains begun twice")
    assert len(begun) - len(samples) <= KILLS * CHAINS
    found = Run(tmp_path / "run")
    for sample in found.samples:
        assert {role: cost for role, cost in found.trace(sample).usage().items() if cost.requests} == sample.usage
    assert len(list((tmp_path / "run" / "traces").iterdir())) == len(samples)
    assert len(found.provenance) == KILLS + 1


def whole_lines(file):
    data = file.read_bytes() if file.exists() else b""
    return data[: data.rfind(b"\n") + 1].splitlines()
