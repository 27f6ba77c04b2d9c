"""Ctrl-C and SIGTERM in the middle of the work: what was done is shown, and saved if that was asked for."""

import json
import signal
import time

import pytest
from scripted_cli import STORY

from speculative import Trace

SIGNALS = [(signal.SIGINT, 130, b"interrupted"), (signal.SIGTERM, 143, b"terminated")]


@pytest.fixture
def stopped(process, tmp_path):
    """Starts a command line on slow engines and signals it when some tokens are written; its output and the child."""

    def run(*argv, number=signal.SIGINT):
        child = process(*argv, delay=0.05)
        while not (tmp_path / "begun").exists():
            assert child.poll() is None, child.stderr.read()
            time.sleep(0.02)
        time.sleep(0.4)
        child.send_signal(number)
        return (*child.communicate(timeout=60), child.returncode)

    return run


@pytest.mark.parametrize(("number", "code", "told"), SIGNALS)
def test_a_chain_that_is_interrupted_is_shown_and_saved(stopped, tmp_path, number, code, told):
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


def test_text_of_a_call_that_was_cut_off_is_shown(stopped):
    out, _, _ = stopped("ask", STORY, "--method", "big_only")
    assert b"[big] Mia" in out
    assert b"was cut off" in out


def test_json_of_an_interrupted_chain_has_no_finish_reason(stopped):
    out, _, _ = stopped("ask", STORY, "--switch-chunk", 2, "--json")
    assert json.loads(out)["finish_reason"] is None


@pytest.mark.parametrize("more", [[], ["--json"]])
def test_a_comparison_that_is_interrupted_shows_what_is_done(process, tmp_path, more):
    file = tmp_path / "samples.jsonl"
    child = process("compare", "--methods", "big_only", "--chains", 8, "--out", file, *more, delay=0.003)
    while not file.exists() or not file.read_bytes():
        assert child.poll() is None, child.stderr.read()
        time.sleep(0.05)
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 130
    assert b"interrupted" in err
    assert b"big_only" in out
    if more:
        assert json.loads(out)[0]["chains"] == len(file.read_bytes().splitlines())
