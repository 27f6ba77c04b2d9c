"""Ctrl-C and SIGTERM in the middle of the work: the finished part is shown and saved."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from scripted_cli import STORY

from speculative import Trace

SIGNALS = [(signal.SIGINT, 130, b"interrupted"), (signal.SIGTERM, 143, b"terminated")]


def waited_for(child, file):
    while not file.exists():
        assert child.poll() is None, child.stderr.read()
        time.sleep(0.02)


@pytest.fixture
def stopped(process, tmp_path):
    """Signals a command line when some tokens are written, and returns its output, its errors and its exit code."""

    def run(*argv, number=signal.SIGINT):
        child = process(*argv, delay=0.001, stall=9)
        waited_for(child, tmp_path / "begun")
        child.send_signal(number)
        return (*child.communicate(), child.returncode)

    return run


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code", "told"), SIGNALS)
def test_an_interrupted_chain_is_shown_and_saved(stopped, tmp_path, number, code, told):
    file = tmp_path / "chain.jsonl"
    out, err, returned = stopped("ask", STORY, "--switch-chunk", 2, "--trace", file, number=number)
    assert returned == code
    assert err.count(b"\n") == 1
    assert told in err
    assert b"Mia " in out
    assert b"not finished" in out
    assert b"produced" in out
    trace = Trace.load(file)
    assert trace.ended is None
    assert trace.usage()


@pytest.mark.slow
def test_text_of_a_call_that_was_cut_off_is_shown(stopped):
    out, _, _ = stopped("ask", STORY, "--method", "big_only")
    assert b"[big]Mia" in out
    assert b"was cut off" in out


def test_json_of_an_interrupted_chain_has_no_finish_reason(stopped):
    out, _, _ = stopped("ask", STORY, "--switch-chunk", 2, "--json")
    assert json.loads(out)["finish_reason"] is None


@pytest.mark.slow
@pytest.mark.parametrize("more", [[], ["--json"]])
def test_an_interrupted_comparison_shows_the_finished_part(process, tmp_path, more):
    file = tmp_path / "run" / "samples.jsonl"
    child = process("compare", "--methods", "big_only", "--chains", 8, "--out", file.parent, *more, delay=0.001, stall=1000)
    waited_for(child, tmp_path / "begun")
    while not file.read_bytes():
        time.sleep(0.02)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate()
    assert child.returncode == 130
    assert b"interrupted" in err
    assert b"big_only" in out
    kept = len(file.read_bytes().splitlines())
    assert f"note: stopped after {kept} of 50 chains: the figures cover the first problems".encode() in err
    if more:
        assert json.loads(out)[0]["chains"] == kept


SPINNING = """import time
from pathlib import Path
from speculative import Method
from speculative.cli._signals import SIGNALLED

class Spin(Method):
    'Never waits.'

    async def think(self, chain):
        await chain.write("big", max_tokens=4)
        Path({spins!r}).touch()
        while True:
            if SIGNALLED.caught:
                Path({signalled!r}).touch()
"""


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code", "told"), SIGNALS)
def test_a_second_signal_ends_a_method_that_never_waits(process, tmp_path, number, code, told):
    method, spins, signalled = tmp_path / "spin.py", tmp_path / "spins", tmp_path / "signalled"
    method.write_text(SPINNING.format(spins=str(spins), signalled=str(signalled)))
    child = process("ask", STORY, "--method", method)
    waited_for(child, spins)
    child.send_signal(number)
    waited_for(child, signalled)
    child.send_signal(number)
    _, err = child.communicate()
    assert child.returncode == code
    assert err == b"speculative: " + told + b"\n"


EARLY = """import importlib.abc, os, pathlib, sys, time

class Slow(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == os.environ["SLOW"]:
            pathlib.Path(os.environ["BEGUN"]).touch()
            time.sleep(600)

sys.meta_path.insert(0, Slow())
from speculative.cli import main
main()
"""


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code", "told"), SIGNALS)
@pytest.mark.parametrize("slow", ["cyclopts", "speculative.runner", "onnxruntime"])
def test_a_signal_during_the_imports_is_one_line(environment, tmp_path, slow, number, code, told):
    begun = tmp_path / "begun"
    told_to = {**environment, "SLOW": slow, "BEGUN": str(begun)}
    with subprocess.Popen([sys.executable, "-c", EARLY, "ask"], env=told_to, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        waited_for(child, begun)
        child.send_signal(number)
        _, err = child.communicate()
    assert child.returncode == code
    assert err == b"speculative: " + told + b"\n"


LATE = """import sys, os, signal
import scripted_cli
from speculative import pair
from speculative.cli import ask, main

pair.open_engine = scripted_cli.scripted
save = ask.write_file

def write(*args):
    os.kill(os.getpid(), signal.SIGINT)
    save(*args)

ask.write_file = write
main()
"""


@pytest.mark.slow
def test_a_signal_when_the_chain_is_finished_loses_nothing(environment, tmp_path):
    file = tmp_path / "chain.jsonl"
    told_to = {**environment, "PYTHONPATH": f"{environment['PYTHONPATH']}:{Path(__file__).parent}"}
    ran = subprocess.run([sys.executable, "-c", LATE, "ask", STORY, "--trace", file], env=told_to, capture_output=True, check=False)
    assert ran.returncode == 130
    assert ran.stderr == b"speculative: interrupted\n"
    assert b"finish reason stop" in ran.stdout
    assert Trace.load(file).ended
