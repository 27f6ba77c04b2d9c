"""A saved trace is drawn as `ask` drew it."""

import io
import json
import sys

import pytest
from scripted_cli import STORY

pytestmark = pytest.mark.usefixtures("scripted")


@pytest.mark.parametrize("method", ["random_switch", "spec_rewrite", "logprob_subselect", "placeholder"])
def test_show_draws_what_ask_drew(cli, tmp_path, method):
    file = tmp_path / "chain.jsonl"
    asked = cli("ask", STORY, "--method", method, "--trace", file)
    assert cli("show", file).out == asked.out
    asked = cli("ask", STORY, "--method", method, "--json", "--trace", file)
    assert json.loads(cli("show", file, "--json").out) == json.loads(asked.out)


def test_a_page_that_cannot_be_written(cli, tmp_path):
    file = tmp_path / "chain.jsonl"
    cli("ask", STORY, "--trace", file)
    ran = cli("show", file, "--web", "--out", tmp_path / "none" / "chain.html")
    assert ran.code == 1
    assert "none" in ran.one_line()


def test_a_trace_that_is_cut_off_is_drawn_with_a_warning(cli, tmp_path):
    file = tmp_path / "chain.jsonl"
    cli("ask", STORY, "--method", "big_only", "--trace", file)
    whole = file.read_bytes()
    number, last = whole.count(b"\n"), whole.rstrip().rfind(b"\n") + 1
    for end in (last + 1, last + 20, len(whole) - 3):
        file.write_bytes(whole[:end])
        ran = cli("show", file)
        assert ran.code == 0
        assert "[big]Mia starts" in ran.out
        assert "not finished" in ran.out
        assert ran.one_line() == f"speculative: warning: {file} is cut off in line {number}; only the lines before it are read\n"


def test_a_trace_that_is_damaged_in_the_middle_is_not_drawn(cli, tmp_path):
    file = tmp_path / "chain.jsonl"
    cli("ask", STORY, "--trace", file)
    lines = file.read_bytes().splitlines()
    file.write_bytes(b"\n".join([*lines[:2], lines[2][:9], *lines[3:]]))
    ran = cli("show", file)
    assert ran.code == 1
    assert "line 3 is damaged" in ran.one_line()


def test_without_labels_the_lines_are_the_text_of_the_chain(cli):
    drawn = cli("ask", STORY, "--switch-chunk", 1, "--seed", 3)
    told = json.loads(cli("ask", STORY, "--switch-chunk", 1, "--seed", 3, "--json").out)
    assert "[big]" in drawn.out
    text = drawn.out.replace("[big]", "").replace("[small]", "")
    assert [line for line in told["reasoning"].split("\n") if line and line not in text.split("\n")] == []


@pytest.mark.parametrize(
    ("flags", "shown"), [([], "switch_ratio=1.0"), (["--switch-ratio", 4], "switch_ratio=4.0"), (["--big-share", 0.2], "big_share=0.2")]
)
def test_the_header_names_the_share_or_ratio_in_effect(cli, flags, shown):
    assert shown in cli("ask", STORY, "--method", "random_switch", *flags).out


def test_a_wrapped_method_is_drawn_as_it_is_spelled_on_the_command_line(cli):
    out = cli("ask", STORY, "--method", "small_only", "--with", "vote(ballots=2)").out
    assert "vote*small_only" in out
    assert "vote(small_only)" not in out


def test_a_trace_may_come_from_standard_input(cli, tmp_path, monkeypatch):
    file = tmp_path / "chain.jsonl"
    cli("ask", STORY, "--trace", file)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(file.read_bytes())))
    assert cli("show", "-").out == cli("show", file).out
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(file.read_bytes())))
    assert json.loads(cli("show", "-", "--json").out) == json.loads(cli("show", file, "--json").out)


def test_a_trace_may_stand_in_the_object_of_a_result(cli, tmp_path):
    file, result = tmp_path / "chain.jsonl", tmp_path / "result.json"
    result.write_text(cli("ask", STORY, "--json", "--trace", file).out)
    assert cli("show", result).out == cli("show", file).out
    for damaged in ('{"trace": 3}', '{"trace": {"speculative_trace": 3}}', '{"trace": {"speculative_trace": 3, "events": 5}}'):
        result.write_text(damaged)
        assert cli("show", result).one_line().startswith(f"speculative: {result} is not a trace: ")


def test_a_trace_without_a_beginning_is_named(cli, tmp_path):
    file = tmp_path / "chain.jsonl"
    file.write_text('{"speculative_trace": 3}\n')
    assert cli("show", file).one_line() == f"speculative: {file}: the trace does not begin with a `started` event\n"


@pytest.mark.parametrize("flags", [[], ["--web"], ["--json"]])
def test_a_chain_that_stands_twice_in_its_file_is_refused(cli, tmp_path, flags):
    file = tmp_path / "chain.jsonl"
    cli("ask", STORY, "--method", "big_only", "--trace", file)
    header, *events = file.read_text().splitlines()
    file.write_text("\n".join([header, *events, *events]))
    ran = cli("show", file, *flags)
    assert ran.code == 1
    assert f"line {len(events) + 2} is damaged: the chain is over before it" in ran.one_line()
    assert not file.with_suffix(".html").exists()
