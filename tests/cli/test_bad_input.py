"""Every mistake of a user gives one line on standard error, and its exit code."""

import json
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE

import pytest
from profiles import quick_cases
from scripted_cli import STORY

from speculative import Trace
from speculative.errors import EngineUnreachableError
from speculative.evaluate import problems
from speculative.testing import ScriptedEngine

pytestmark = pytest.mark.usefixtures("scripted")

MISUSED = [
    (["aks"], ["'aks'", "'ask'", "compare"]),
    (["ask", "--method", "big_onli"], ["'big_onli'", "'big_only'", "spec_rewrite"]),
    (["ask", "--swich-ratio", "3"], ["--swich-ratio", "did you mean '--switch-ratio'", "speculative ask --help"]),
    (["ask", "--drafting-n", "3"], ["--drafting-n", ": it is a parameter of spec_rewrite"]),
    (["ask", STORY, "--trace", "-"], ["name a file"]),
    (["ask", STORY, "--trace=-"], ["name a file"]),
    (["compare", "--out=-"], ["name a folder"]),
    (["ask", "--switch-chunk", "0"], ["switch_chunk must be at least 1"]),
    (["ask", "--switch-chunk", "1.5"], ["switch_chunk", "1.5"]),
    (["ask", "--switch-ratio", "nan"], ["switch_ratio", "finite"]),
    (["ask", "--switch-ratio", "-1"], ["switch_ratio must be more than 0"]),
    (["ask", "--switch-ratio"], ["--switch-ratio must have a value; `speculative ask --help`"]),
    (["ask", "--unit"], ["--unit must have a value (chunk, step)"]),
    (["serve", "--port", "x"], ["setting port must be an integer, got 'x'"]),
    (["serve", "--degrade", "none"], ["setting degrade must be 'fail', 'big' or 'small', got 'none'"]),
    (["serve", "--log-level", "all"], ["setting log_level must be 'debug', 'info', 'warning' or 'error', got 'all'"]),
    (["eval"], ["TARGET must be given; `speculative eval --help`"]),
    (["completion"], ["SHELL must be given (bash, zsh, fish)"]),
    (["ask", "--unit", "word"], ["--unit", "chunk", "step"]),
    (["ask", "--switch-ratio", "1", "--big-share", "0.5"], ["not both"]),
    (["ask", "--top-p", "2"], ["top_p", "at most 1"]),
    (["ask", "--max-tokens", "0"], ["max_tokens", "at least 1"]),
    (["ask", "--seed", "1.5"], ["--seed", "must be an integer"]),
    (["ask", ""], ["the problem is empty"]),
    (["ask", "two", "words"], ["'words'", "quotes"]),
    (["ask", "--with", "vode"], ["'vode'", "'vote'", "early_exit"]),
    (["ask", "--with", "vote(ballots=0)"], ["ballots must be at least 1"]),
    (["ask", "--method", "./none.py:Mine"], ["none.py"]),
    (["methods", "vot"], ["'vot'", "'vote'", "random_switch"]),
    (["problems", "--level", "11"], ["level", "from 1 to 10"]),
    (["problems", "--limit", "0"], ["limit", "must be at least 1, got 0"]),
    (["problems", "--limits", "3"], ["did you mean '--limit'"]),
    (["problems", "--set", "train"], ["benchmark", "tuning"]),
    (["show"], ["TRACE"]),
    (["compare", "--methods", "big_only(x=1)"], ["'x'", "sequential_scale"]),
    (["compare", "--methods", "big_only,big_only"], ["twice"]),
    (["compare", "--methods", ","], ["none is named"]),
    (["compare", "--methods", "big_only(x"], ["bracket"]),
    (["compare", "--methods", "big_only(x)"], ["must be field=value"]),
    (["compare", "--epochs", "0"], ["epochs", "at least 1"]),
    (["compare", "--limit", "0"], ["limit", "at least 1"]),
]


@pytest.mark.parametrize(("argv", "told"), MISUSED, ids=lambda value: " ".join(value) if isinstance(value, list) else None)
def test_a_wrong_command_line_says_what_is_right(cli, argv, told):
    ran = cli(*argv)
    assert ran.code == 2
    assert ran.out == ""
    line = ran.one_line()
    assert all(part in line for part in told), line


@pytest.mark.slow
def test_invalid_utf8_names_the_byte(process):
    child = process("ask", "-", stdin=PIPE)
    out, err = child.communicate(b"abc\xff")
    assert (child.returncode, out) == (2, b"")
    assert b"byte 3 is 0xff" in err


def test_an_engine_that_cannot_be_reached_is_one_line_and_no_answer(cli, monkeypatch, tmp_path):
    def unreachable(seen, seed):
        if "131 beads" in seen.rpartition("<think>")[2]:
            raise EngineUnreachableError("http://localhost:1 does not answer; is the server up?")
        return "131 beads and so on"

    monkeypatch.setattr("speculative.pair.open_engine", lambda *_: ScriptedEngine(unreachable))
    file = tmp_path / "t.jsonl"
    ran = cli("ask", STORY, "--json", "--trace", file)
    assert (ran.code, ran.out) == (1, "")
    assert "is the server up?" in ran.one_line()
    assert file.exists()
    ran = cli("ask", STORY)
    assert ran.code == 1
    assert "131 beads and" in ran.out
    assert "not finished" in ran.out
    assert cli("compare", "--limit", "2").code == 1


def test_a_problem_longer_than_the_context(cli, monkeypatch):
    monkeypatch.setattr("speculative.pair.open_engine", lambda *_: ScriptedEngine("x", context=50))
    ran = cli("ask", STORY)
    assert ran.code == 1
    assert "context of 50" in ran.one_line()


@pytest.mark.parametrize("path", ["missing/chain.jsonl", "."])
def test_an_unwritable_trace_file_is_an_error_before_the_chain(cli, monkeypatch, tmp_path, path):
    asked = []
    monkeypatch.setattr("speculative.pair.open_engine", lambda *_: asked.append(1))
    ran = cli("ask", STORY, "--trace", tmp_path / path)
    assert (ran.code, asked) == (1, [])
    assert "name" in ran.one_line()


def test_a_full_disk_is_one_line_after_the_answer(cli):
    ran = cli("ask", STORY, "--json", "--trace", "/dev/full")
    assert ran.code == 1
    assert "No space left" in ran.one_line()
    assert "174" in ran.out


@pytest.mark.slow
def test_a_full_disk_under_the_output_is_one_line(process):
    with Path("/dev/full").open("wb") as full:
        child = process("ask", STORY, "--json", stdout=full)
        err = child.stderr.read()
    assert child.wait() == 1
    assert b"No space left" in err
    assert err.count(b"\n") == 1


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "must be a trace header"),
        ("hello\n", "must be a trace header"),
        ('{"speculative_trace":99}\n', "version 99"),
        ('{"speculative_trace":1}\n{"event":"start', "damaged"),
        ('{"speculative_trace":1}\n', "started"),
    ],
)
def test_a_file_that_is_not_a_trace(cli, tmp_path, content, told):
    file = tmp_path / "chain.jsonl"
    file.write_text(content)
    ran = cli("show", file)
    assert ran.code == 1
    assert told in ran.one_line()


def test_a_missing_trace_file(cli, tmp_path):
    ran = cli("show", tmp_path / "none.jsonl")
    assert ran.code == 1
    assert "none.jsonl" in ran.one_line()


def test_a_flag_of_another_method_names_that_method_and_nothing_else(cli):
    line = cli("ask", "--method", "small_only", "--switch-ratio", "2").one_line()
    assert line == "speculative: unknown flag '--switch-ratio': it is a parameter of random_switch; choose that with --method\n"
    line = cli("ask", "--ballots", "5").one_line()
    assert line == "speculative: unknown flag '--ballots': it is a parameter of vote; write it as --with \"vote(ballots=…)\"\n"


@pytest.mark.parametrize(
    ("argv", "redirected", "code", "told"),
    quick_cases(
        [
            ("ask", ">&-", 1, "standard output is closed"),
            ("ask -", "<&-", 2, "standard input is closed"),
            ("ask --bogus", "2>&-", 2, ""),
        ]
    ),
)
def test_a_closed_stream_is_one_line(environment, argv, redirected, code, told):
    command = f'exec "{sys.executable}" -m speculative {argv} {redirected}'
    ran = subprocess.run(["sh", "-c", command], env=environment, capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stdout) == (code, "")
    assert told in ran.stderr
    assert ran.stderr.count("\n") == (1 if told else 0)


@pytest.mark.parametrize(
    ("failing", "told"), [("OSError(5, 'no such thing')", "no such thing"), ("EngineServerError('it broke')", "it broke")]
)
def test_a_failing_method_is_one_line_after_the_finished_part(cli, tmp_path, failing, told):
    method, file = tmp_path / "mine.py", tmp_path / "chain.jsonl"
    method.write_text(
        "from speculative import Method\nfrom speculative.errors import EngineServerError\n\nclass Mine(Method):\n    'Mine.'\n\n"
        f"    async def think(self, chain):\n        await chain.write('big', max_tokens=12)\n        raise {failing}\n"
    )
    ran = cli("ask", STORY, "--method", method, "--trace", file)
    assert ran.code == 1
    assert told in ran.one_line()
    assert "[big]Mia" in ran.out
    assert "not finished" in ran.out
    assert Trace.load(file).usage()["big"].produced_tokens
    ran = cli("ask", STORY, "--method", method, "--json")
    assert (ran.code, ran.out) == (1, "")


@pytest.mark.parametrize(("content", "told"), [(None, "cannot be read"), ('{"id":"a","pro', "damaged"), ("", "0 problems instead of 500")])
def test_damaged_bundled_problems_are_one_line_with_the_next_step(cli, monkeypatch, tmp_path, content, told):
    (tmp_path / "bundled").mkdir()
    if content is not None:
        (tmp_path / "bundled" / "problems.jsonl").write_text(content)
    monkeypatch.setattr(problems, "files", lambda _: tmp_path)
    problems.problems.cache_clear()
    ran = cli("ask")
    problems.problems.cache_clear()
    assert ran.code == 1
    line = ran.one_line()
    assert told in line
    assert "problems.jsonl" in line
    assert "install speculative-reasoning again" in line


def test_a_full_disk_is_one_line_after_the_finished_part(cli, tmp_path):
    command = ["compare", "--methods", "big_only", "--limit", 2, "--chains", 1, "--no-controls", "--out", tmp_path, "--json"]
    cli(*command)
    lines = (tmp_path / "samples.jsonl").read_text().splitlines()
    (tmp_path / "samples.jsonl").write_text("")
    second = tmp_path / json.loads(lines[1])["trace"]
    second.unlink()
    second.mkdir()
    ran = cli(*command)
    assert ran.code == 1
    assert f"speculative: samples cannot be written to {tmp_path}: Is a directory" in ran.err
    assert '"chains":1' in ran.out
    assert (tmp_path / "samples.jsonl").read_text().count("\n") == 1


def test_a_full_disk_under_a_picture_names_the_file(cli, tmp_path):
    file = tmp_path / "chain.jsonl"
    cli("ask", STORY, "--trace", file)
    assert "/dev/full: No space left" in cli("show", file, "--web", "--out", "/dev/full").one_line()


def test_quoted_text_cannot_control_the_terminal(cli):
    ran = cli("report", "no\x1b[31mfolder\u202e")
    assert ran.code == 2
    assert "no\ufffd[31mfolder\ufffd must be a run folder" in ran.one_line()
