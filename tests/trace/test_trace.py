"""Traces: on disk and back, and what is computed from them."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import pytest
from strategies import scripted_pair

from speculative import Result, Trace, asolve, solve
from speculative.engines.base import Completion
from speculative.errors import ReplayMismatchError, TraceFormatError
from speculative.files import write_file
from speculative.testing import ScriptedEngine
from speculative.trace.events import Accepted, Answered, Call, Drafted, Judgement, Proposal, Wrote
from speculative.trace.replay import ReplayEngine


@pytest.fixture
async def result() -> Result:
    pair = scripted_pair("One.\n\nTwo.\n\n</think>\\boxed{42}", "One.\n\nTwo.\n\n</think>\\boxed{42}", widths=(1, 3))
    return await asolve("6*7?", "random_switch", pair=pair, switch_chunk=3, wrappers=["vote(ballots=2)"])


def test_a_trace_reads_back_equal_to_what_was_written(result: Result, tmp_path: Path) -> None:
    result.trace.save(tmp_path / "a.jsonl")
    again = Trace.load(tmp_path / "a.jsonl")
    assert again == result.trace
    assert list(again) == result.trace.events
    assert (again.usage(), again.segments()) == (result.usage, result.trace.segments())
    assert again.started.params == {"answer_by": "big", **again.started.params}
    assert again.ended
    assert again.ended.finish_reason == "stop"
    assert again != result.trace.events
    assert repr(again) == f"Trace({len(again.events)} events)"


def test_timeless_leaves_out_all_times(result: Result) -> None:
    text = str(result.trace.timeless())
    assert "'at'" not in text
    assert "'seconds'" not in text
    assert "produced_tokens" in text


def test_an_empty_trace_has_no_beginning() -> None:
    with pytest.raises(TraceFormatError, match="does not begin with a `started` event"):
        _ = Trace([]).started
    assert Trace([]).ended is None


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "is not a trace"),
        (b"{}\n", "is not a trace"),
        (b"[1]\n", "is not a trace"),
        (b"\xff\xfe\n", "is not a trace"),
        (b'{"speculative_trace": 99}\n', "of version 99, this library reads the versions 1 to 3; update the library"),
        (b'{"speculative_trace": "3"}\n', "of version '3', this library reads the versions 1 to 3; run the chain again"),
        (b'{"speculative_trace": true}\n', "of version True, this library reads the versions 1 to 3; run the chain again"),
        (
            b'{"speculative_trace": 3}\n{"event":"stopped","reason":"stop","finish":"stop","at":1}\n',
            "must begin with the event `started` after its header",
        ),
        (b'{"speculative_trace": 1}\n{"event":"rejec', "line 2 is damaged"),
        (b'{"speculative_trace": 1}\n{"event":"unheard_of"}\n', "line 2 is damaged"),
    ],
)
def test_a_file_that_cannot_be_read_as_a_trace_is_an_error(content: bytes, told: str, tmp_path: Path) -> None:
    (tmp_path / "bad").write_bytes(content)
    with pytest.raises(TraceFormatError, match=told):
        Trace.load(tmp_path / "bad")


def test_saving_writes_the_whole_file_or_nothing(result: Result, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "trace"
    path.write_text("before")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match=r"No space left.*/trace'$"):
        result.trace.save(path)
    assert [file.read_text() for file in tmp_path.iterdir()] == ["before"]


def test_a_saved_file_has_the_usual_rights_and_a_link_stays_a_link(tmp_path: Path) -> None:
    plain, link = tmp_path / "plain", tmp_path / "link"
    plain.write_text("")
    link.symlink_to(plain)
    write_file(link, b"new")
    assert link.is_symlink()
    assert plain.read_bytes() == b"new"
    (tmp_path / "usual").write_text("")
    assert stat.S_IMODE(plain.stat().st_mode) == stat.S_IMODE((tmp_path / "usual").stat().st_mode)


def test_devices_are_written_to_directly(tmp_path: Path) -> None:
    write_file(Path("/dev/null"), b"gone")
    with pytest.raises(OSError, match="directory"):
        write_file(tmp_path, b"")


def test_the_children_are_walked_after_the_event_that_began_them(result: Result) -> None:
    walked: list[Any] = list(result.trace.walk())
    begins = [place for place, event in enumerate(walked) if type(event).__name__ == "Child"]
    assert [type(walked[place + 1]).__name__ for place in begins] == ["Wrote", "Wrote"]


@pytest.mark.parametrize("missing", ["child", "drafted"])
def test_a_trace_with_a_missing_event_is_damaged(missing: str, tmp_path: Path) -> None:
    wrappers = ["vote(ballots=2)"] if missing == "child" else []
    made = solve("6*7?", "logprob_subselect", pair=scripted_pair("a </think>4", "b "), wrappers=wrappers)
    path = tmp_path / "trace"
    made.trace.save(path)
    path.write_text("".join(line for line in path.read_text().splitlines(keepends=True) if f'"event":"{missing}"' not in line))
    with pytest.raises(TraceFormatError, match=r"refers to .* which is missing"):
        Trace.load(path)


def test_a_trace_of_version_1_still_opens(tmp_path: Path) -> None:
    """Version 0.1 saved it: a vote of two chains, with warm-ups in the background."""
    trace = Trace.load(Path(__file__).with_name("version_1.jsonl"))
    usage = {role: (cost.produced_tokens, cost.kept_tokens, cost.cached_tokens) for role, cost in trace.usage().items()}
    assert usage == {"big": (86, 42, 566), "small": (34, 16, 201)}
    assert trace.started.problem.prefill_every == 16
    assert {type(event).__name__ for event in trace.walk()} >= {"Started", "Child", "Became", "Wrote", "Ended"}
    trace.save(tmp_path / "again.jsonl")
    assert trace.started.problem.prefill_every == 16
    assert Trace.load(tmp_path / "again.jsonl") == trace
    assert (tmp_path / "again.jsonl").read_bytes().startswith(b'{"speculative_trace":3}')


def test_a_trace_of_version_2_opens_and_is_not_replayed() -> None:
    """Version 2 saved it: beams, in which drafts were accepted and rejected."""
    trace = Trace.load(Path(__file__).with_name("version_2.jsonl"))
    assert {type(event).__name__ for event in trace.walk()} >= {"Drafted", "Accepted", "Rejected", "Ended"}
    assert trace.ledger.kept == sum(cost.kept_tokens for cost in trace.usage().values()) > 0
    with pytest.raises(ReplayMismatchError, match="a trace of version 2 cannot be replayed"):
        ReplayEngine(trace, "big", ScriptedEngine(""))


async def test_the_trace_holds_when_each_call_began_and_ended() -> None:
    pair = scripted_pair("One.\n\nTwo.\n\n</think>\\boxed{42}", "One.\n\nTwo.\n\n</think>\\boxed{42}", widths=(1, 3))
    trace = (await asolve("6*7?", "random_switch", pair=pair, switch_chunk=3, wrappers=["vote(ballots=2)"])).trace
    calls = [(event.at, event.call) for event in trace.walk() if isinstance(event, Wrote | Answered)]
    assert calls
    assert all(0 < call.began <= call.began + call.seconds <= at + 1e-5 for at, call in calls)


def test_a_judgement_and_top_logprobs_are_kept(tmp_path: Path) -> None:
    top = (((5, -0.1), (7, -2.5)),)
    drafted = Proposal(1, None, "x", Completion((5,), "length", logprobs=(-0.1,), top_logprobs=top), 0, "thinking")
    call = Call("small", 1, 5, 0, 1, 0, 0.5)
    began = solve("6*7?", "big_only", pair=scripted_pair("</think>42", "")).trace.started
    happened = [began, Drafted(call=call, seed=0, proposals=(drafted,)), Accepted(drafts=(1,), judgement=Judgement(0.7, 0.5, "big"))]
    Trace([*happened]).save(tmp_path / "judged.jsonl")
    assert Trace.load(tmp_path / "judged.jsonl").events == happened
