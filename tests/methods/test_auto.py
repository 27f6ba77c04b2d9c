"""The method `auto`, with loads that are set."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from solving import solved

import speculative
from speculative.engines.http.engine import OpenAIEngine
from speculative.engines.http.load import ServerLoad
from speculative.errors import UsageError
from speculative.pair import Pair
from speculative.plan.load import LoadReader, load_reader
from speculative.plan.pace import Paces
from speculative.plan.policy import LoadPolicy, Situation, shared_policy
from speculative.testing import ScriptedEngine, ScriptedTokenizer
from speculative.testing.fake_server import FakeServer
from speculative.trace.events import Accepted, Chose, Rejected, Wrote
from speculative.trace.trace import Trace

TEXT = "".join(f"Step {place} goes on.\n\n" for place in range(12)) + "Done.</think>42"


def marking(seen: str, seed: int) -> str:
    """Judges every step with 9, and goes on with the text otherwise."""
    if seen.endswith(TEXT):
        return ""
    written = seen.rpartition("<think>\n")[2]
    return TEXT[len(written) :] if TEXT.startswith(written) else "9"


class Told(ScriptedEngine):
    """An engine whose server tells a load, which changes with each call."""

    def __init__(self, script: Any, loads: list[float]) -> None:
        super().__init__(script)
        self.loads = loads

    async def load(self) -> ServerLoad:
        return ServerLoad(self.loads.pop(0) if len(self.loads) > 1 else self.loads[0], 0)


@pytest.fixture
def ready() -> None:
    """Simulates all that a lone chain needs, so that no choice waits for it beside the chain."""
    policy = shared_policy("h200-32b-1.5b", "c", "latency", "score", 50, False, 3)
    for acceptance in (0.8, 0.95):
        for context in (256, 1024):
            policy.prepare(Situation(1, acceptance, context))


def chosen(trace: Trace) -> list[str]:
    return [event.way for event in trace.walk() if isinstance(event, Chose)]


def solve(big: ScriptedEngine, small: ScriptedEngine, **params: Any) -> Any:
    return speculative.solve("How many?", method="auto", pair=Pair(big, small), seed=1, **params)


def test_one_chain_alone_checks_steps_and_says_why() -> None:
    result = solve(ScriptedEngine(marking), ScriptedEngine(marking), check="score", threshold=-100)
    assert chosen(result.trace) == ["checked ahead"]
    (reason,) = [event.reason for event in result.trace.walk() if isinstance(event, Chose)]
    assert "predicted for 1 chain at once" in reason
    assert "profile h200-32b-1.5b" in reason
    assert any(isinstance(event, Accepted) for event in result.trace.walk())
    assert result.answer is not None or result.text


@pytest.mark.slow
def test_many_chains_at_the_servers_leave_big_alone() -> None:
    result = solve(Told(marking, [400]), Told(marking, [0]), check="score")
    assert chosen(result.trace) == ["big"]
    assert not any(isinstance(event, Accepted | Rejected) for event in result.trace.walk())
    assert any(isinstance(event, Wrote) for event in result.trace.walk())


def test_small_writes_without_a_check_where_it_is_allowed() -> None:
    result = solve(ScriptedEngine(marking), ScriptedEngine(marking), allow="small", optimize="throughput")
    assert chosen(result.trace) == ["small"]
    assert result.usage["small"].kept_tokens > result.usage["big"].kept_tokens


@pytest.mark.parametrize(("loads", "ways"), [([1, 1, 1, 400], ["checked ahead", "big"]), ([400, 400, 400, 1], ["big", "checked ahead"])])
@pytest.mark.usefixtures("ready")
def test_the_way_changes_at_a_step_when_the_load_does(loads: list[int], ways: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look at the load takes the next one, so no clock decides."""
    left = list(loads)
    monkeypatch.setattr(LoadReader, "load", property(lambda _: float(left.pop(0) if len(left) > 1 else left[0])))
    result = solve(ScriptedEngine(marking), ScriptedEngine(marking), check="score", threshold=-100)
    assert chosen(result.trace) == ways
    assert result.reasoning.startswith("Step 0 goes on.\n\nStep 1 goes on.")
    assert result.reasoning.count("Step 5") == 1


@pytest.mark.parametrize(("load", "ways"), [(1, {"checked ahead"}), (400, {"big"})])
@pytest.mark.usefixtures("ready")
def test_the_pace_of_a_way_is_learned_from_its_tokens(load: int, ways: set[str], monkeypatch: pytest.MonkeyPatch) -> None:
    noted: list[tuple[str, int]] = []
    monkeypatch.setattr(
        Paces, "note", lambda _, way, tokens, seconds, predicted: noted.append((way, tokens)) if seconds * predicted > 0 else 0
    )
    monkeypatch.setattr(LoadReader, "load", property(lambda _: float(load)))
    monkeypatch.setattr(LoadPolicy, "held_chains", lambda *_: 1000)
    result = solve(ScriptedEngine(marking), ScriptedEngine(marking), check="score", threshold=-100)
    assert {way for way, _ in noted} == ways
    thinking = sum(usage.kept_tokens for usage in result.usage.values()) - len(ScriptedTokenizer().encode("42"))
    assert sum(tokens for _, tokens in noted) == pytest.approx(thinking, abs=2)


@pytest.mark.usefixtures("ready")
def test_big_stops_for_a_new_choice_within_a_text_that_has_no_blank_line(monkeypatch: pytest.MonkeyPatch) -> None:
    paragraph, left = "word " * 900 + "Done.</think>42", [400, 400, 1]

    def script(seen: str, seed: int) -> str:
        return paragraph[len(seen.rpartition("<think>\n")[2]) :]

    monkeypatch.setattr(LoadReader, "load", property(lambda _: float(left.pop(0) if len(left) > 1 else left[0])))
    result = solve(ScriptedEngine(script), ScriptedEngine(script), check="score", threshold=-100)
    assert chosen(result.trace) == ["big", "checked ahead"]
    assert result.reasoning == paragraph.partition("</think>")[0]
    assert 1024 < len(result.trace.segments()[0].text) < 1100


def test_the_load_counts_our_chains_and_the_requests_of_others() -> None:
    async def work() -> tuple[float, float, float]:
        big, small = Told(marking, [10]), Told(marking, [4])
        reader = LoadReader(Pair(big, small))
        before = reader.load
        with reader.chain(), reader.call():
            await reader.wait()
            during = reader.load
        return before, during, reader.load

    before, during, after = asyncio.run(work())
    assert before == 1
    assert during == 1 + 10 + 4 - 1  # one of the requests is ours
    assert after == 13


def test_slow_judgements_show_chains_that_no_server_tells() -> None:
    class Silent(ScriptedEngine):
        async def load(self) -> None:
            return None

    reader = LoadReader(Pair(Silent(marking), Silent(marking)))
    policy, situation = shared_policy("h200-32b-1.5b", "c", "latency", "ask", 50, False), Situation(1)
    policy.prepare(situation)
    usual = policy.judge_seconds(situation)
    with reader.chain():
        for _ in range(20):
            reader.feel(usual, policy, situation)
        assert reader.load == 1
        for _ in range(20):
            reader.feel(10 * usual, policy, situation)
        assert reader.load > 3


async def test_a_server_that_is_gone_or_silent_tells_no_load() -> None:
    async with FakeServer(ScriptedEngine(marking)) as server:
        engine = await OpenAIEngine.connect(server.url, tokenizer=ScriptedTokenizer(), dialect="chatml")
        server.metrics = "vllm:num_requests_running 7\n"
        reader = load_reader({"big": engine, "small": engine})
        with reader.chain():
            await reader.wait()
            assert reader.load_known
            assert reader.load == 1 + 7
        await engine.aclose()
    gone = LoadReader({"big": engine, "small": engine})
    with gone.chain():
        await gone.wait()
        assert not gone.load_known
        assert gone.load == 1
    await engine.aclose()


def test_a_request_cannot_name_a_file_as_profile(tmp_path: Any) -> None:
    with pytest.raises(UsageError, match="SPECULATIVE_PROFILE in the environment"):
        solved("auto", "x</think>42", "x</think>42", profile=str(tmp_path / "own.json"))


def test_the_environment_names_a_profile(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from msgspec import structs

    from speculative.plan.profile import load_profile

    structs.replace(load_profile("h200-32b-1.5b"), name="mine").save(tmp_path / "own.json")
    monkeypatch.setenv("SPECULATIVE_PROFILE", str(tmp_path / "own.json"))
    result = solve(ScriptedEngine(marking), ScriptedEngine(marking))
    assert any("profile mine" in event.reason for event in result.trace.walk() if isinstance(event, Chose))
    monkeypatch.setenv("SPECULATIVE_PROFILE", str(tmp_path / "none.json"))
    with pytest.raises(UsageError, match="cannot be read"):
        solve(ScriptedEngine(marking), ScriptedEngine(marking))


def ballots(*answers: str) -> Any:
    """Whole chains of small with these answers, told apart by their thinking. Further chains have the last answer."""
    thoughts = iter(range(99))

    def script(seen: str, seed: int) -> str:
        thought = seen.rpartition("<think>\n")[2]
        return answers[min(int(thought.partition("<")[0]), len(answers) - 1)] if "</think>" in thought else f"{next(thoughts)}</think>"

    return script


@pytest.mark.parametrize(("answers", "ways"), [(("7", "7", "8"), ["cascade"]), (("7", "8", "9"), ["cascade", "checked ahead"])])
def test_small_solves_the_problem_first_where_a_cascade_is_allowed(answers: tuple[str, ...], ways: list[str]) -> None:
    result = solve(ScriptedEngine("big</think>42"), ScriptedEngine(ballots(*answers)), allow="cascade", check="score", threshold=-100)
    assert chosen(result.trace) == ways
    assert result.text == ("7" if ways == ["cascade"] else "42")


def test_a_cascade_takes_text_back_and_other_ways_do_not() -> None:
    from speculative.methods.registry import build

    assert build("auto").text_is_final
    assert not build("auto", {"allow": "cascade"}).text_is_final
    assert build("auto", {"allow": "cascade"}).chains_at_once == 3


def test_many_chains_of_one_process_count_each_other() -> None:
    async def work() -> list[Any]:
        pair = Pair(ScriptedEngine(marking), ScriptedEngine(marking))
        return await asyncio.gather(*(speculative.asolve("How many?", method="auto", pair=pair, seed=seed) for seed in range(12)))

    reasons = [event.reason for result in asyncio.run(work()) for event in result.trace.walk() if isinstance(event, Chose)]
    assert len(reasons) >= 12
    assert all("12 chains" in reason for reason in reasons[:1])
