"""One problem from its text to its result, also by the synchronous `solve`."""

from __future__ import annotations

import ast
import asyncio
import re
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from strategies import LIMITS, Recorded, Verbs, babble, check_books, scripted_pair
from waiting import until

import speculative
from speculative import EngineError, Message, Pair, Problem, Result, Sampling, UsageError, asolve, solve
from speculative._sync import run_in_background
from speculative.chain.chain import Chain
from speculative.errors import ContextExceededError, MethodError, UnknownNameError, UnsupportedMethodError, engine_error
from speculative.runner import SAMPLING, SETTINGS, ProblemSettings, bundled_pair, run
from speculative.testing import ScriptedEngine
from speculative.trace.events import TextDelta

SCRIPT = "Six sevens.\n\n</think>\\boxed{42}"


def solved(script: Any = SCRIPT, method: Any = "big_only", **settings: Any) -> Result:
    engines = {key: settings.pop(key) for key in ("delay", "context") if key in settings}
    return solve("6*7?", method, pair=scripted_pair(script, script, **engines), **settings)


# ---- the result -----------------------------------------------------------------------------------------------------


def test_the_result_has_text_answer_and_usage() -> None:
    result = solved(method="random_switch", switch_ratio=4, seed=3)
    assert (result.reasoning, result.text, result.answer) == ("Six sevens.\n\n", "\\boxed{42}", "42")
    assert (result.method, result.finish_reason, result.seed) == ("random_switch", "stop", 3)
    assert result.params == {"answer_by": "big", "switch_ratio": 4.0, "big_share": None, "switch_chunk": 16, "unit": "chunk"}
    assert result.usage == result.trace.usage()
    assert result.trace.ended
    assert result.seconds == result.trace.ended.seconds
    assert result.trace.started.engines["small"].fingerprint == "scripted-1"


def test_the_prompt_is_never_part_of_the_result() -> None:
    for method in ("placeholder", "random_switch", "spec_rewrite", "logprob_subselect"):
        pair = scripted_pair(babble(1, ["42 ", "\n\n", "</think>"]), babble(2, ["42 ", "\n\n", "</think>"]))
        result = solve("a riddle", method, pair=pair, max_tokens=200, answer_instruction="in a box")
        for hidden in ("riddle", "in a box", "assistant", "<think>"):
            assert hidden not in result.reasoning + result.text


@pytest.mark.parametrize(
    ("script", "settings", "finish"),
    [
        (SCRIPT, {}, "stop"),
        ("endless " * 999, {"max_tokens": 400}, "length"),
        ("a</think>" + "endless " * 999, {"max_tokens": 400}, "length"),
        ("endless " * 999, {"max_produced": 400}, "length"),
        ("again\n\n" * 99, {}, "loop"),
        ("endless " * 999, {"context": 400}, "context"),
        ("a</think>" + "endless " * 999, {"context": 400}, "context"),
        (SCRIPT, {"delay": 0.02, "max_seconds": 0.1}, "time"),
    ],
    ids=["stop", "length", "answer-length", "produced", "loop", "context", "answer-context", "time"],
)
@pytest.mark.parametrize("method", ["big_only", "random_switch"])
def test_the_finish_reason_is_true(script: str, settings: dict[str, Any], finish: str, method: str) -> None:
    params = {"unit": "step"} if method == "random_switch" else {}
    if finish == "loop" and method == "big_only":
        finish = "stop"  # one call writes all of it, and a loop is looked for when a call ends
    result = solved(script, method, **settings, **params)
    assert result.finish_reason == finish
    assert result.trace.ended
    assert result.trace.ended.finish_reason == finish
    check_books(result.trace)


def test_the_time_limit_keeps_the_text_so_far() -> None:
    results = (solved("thinking " * 9999, delay=0.005, max_seconds=limit) for limit in LIMITS)
    result = next(result for result in results if "big" in result.usage and result.usage["big"].produced_tokens)
    assert (result.text, result.answer, result.finish_reason) == ("", None, "time")
    vote = solved("thinking " * 9999, "random_switch", delay=0.005, max_seconds=0.1, switch_chunk=2, wrappers=["vote(ballots=2)"])
    assert [event.finish_reason for event in vote.trace.walk() if type(event).__name__ == "Ended"] == ["time"] * 3


@pytest.mark.parametrize("verb", ["write", "insert"])
def test_a_method_that_goes_on_for_ever_is_an_error(verb: str) -> None:
    async def forever(chain: Chain) -> None:
        while True:
            await getattr(chain, verb)("big")

    with pytest.raises(MethodError, match=rf"the method verbs failed: {verb}: the chain must grow .*test_runner.py, line \d+\)"):
        solved(method=Verbs(script=forever))


@pytest.mark.parametrize("verb", ["draft", "ask"])
def test_a_method_that_asks_without_room_ends_with_length(verb: str) -> None:
    async def forever(chain: Chain) -> None:
        while chain.thinking:
            await (chain.draft("small", 3, max_tokens=7) if verb == "draft" else chain.ask("small", "why?", n=3, max_tokens=7))

    assert solved("thinking " * 99, method=Verbs(script=forever), max_produced=60).finish_reason == "length"


def test_a_method_that_accepts_drafts_without_a_whole_character_has_used_up_its_budget() -> None:
    async def forever(chain: Chain) -> None:
        while chain.thinking:
            await chain.accept(await chain.draft("small"))

    assert solved("😀" * 99, method=Verbs(script=forever), max_tokens=10, answer_tokens=0).finish_reason == "length"


def test_steps_that_a_method_inserts_again_and_again_are_a_loop() -> None:
    async def again(chain: Chain) -> None:
        while chain.thinking:
            await chain.insert("again\n\n")

    assert solved(method=Verbs(script=again)).finish_reason == "loop"


@pytest.mark.parametrize("settings", [{}, {"wrappers": ["early_exit"]}, {"method": "random_switch"}], ids=["alone", "watched", "switched"])
def test_a_stop_string_ends_a_raw_text_and_no_answer_follows(settings: dict[str, Any]) -> None:
    problem = Problem.of("Go:", raw=True, stop=("END",))
    whole = " one.\n\ntwo END three.\n\nfour"

    def script(seen: str, seed: int) -> str:
        return whole[len(seen.partition("Go:")[2]) :]

    result = solve(problem, **{"method": "big_only", "pair": scripted_pair(script, script), **settings})
    assert (result.reasoning, result.text, result.finish_reason) == (" one.\n\ntwo END", "", "stop")


def test_a_chain_that_its_method_leaves_unfinished_has_stopped() -> None:
    async def nothing(chain: Chain) -> None:
        await chain.write("big", max_tokens=1)

    result = solved(method=Verbs(script=nothing))
    assert (result.reasoning, result.text, result.finish_reason) == ("S", "", "stop")


# ---- failures -------------------------------------------------------------------------------------------------------


def failing_after(calls: int) -> Any:
    left = iter(range(calls))

    def script(seen: str, seed: int) -> str:
        if next(left, None) is None:
            raise EngineError("the server is gone")
        return SCRIPT

    return script


@pytest.mark.parametrize("wrappers", [[], ["vote(ballots=3)"], ["vote(ballots=2)", "vote(ballots=2)"]])
def test_a_failure_is_a_typed_error_with_the_partial_trace_also_from_within_groups(wrappers: list[str]) -> None:
    with pytest.raises(EngineError, match="the server is gone") as caught:
        solved(failing_after(2), "random_switch", switch_chunk=2, wrappers=wrappers)
    trace = caught.value.trace
    assert trace
    assert trace.ended is None
    assert any(type(event).__name__ == "Wrote" for event in trace.walk())
    check_books(trace)


def test_one_failure_ends_the_work_of_all_children() -> None:
    def script(seen: str, seed: int) -> str:
        if "bad" in seen:
            raise EngineError("the server is gone")
        return "thinking " * 99

    async def children(chain: Chain) -> None:
        async with asyncio.TaskGroup() as group:
            good, bad = chain.child(), chain.child()
            group.create_task(good.write("big"))
            await until(lambda: chain.engines["big"].produced)
            await bad.insert("bad")
            group.create_task(bad.write("big"))

    pair = scripted_pair(script, script, delay=0.002)
    with pytest.raises(EngineError) as caught:
        solve("6*7?", Verbs(script=children), pair=pair)
    assert caught.value.trace
    check_books(caught.value.trace, pair)
    assert caught.value.trace.usage()["big"].produced_tokens > 0


def test_a_bug_in_a_method_is_not_an_engines_failure() -> None:
    async def buggy(chain: Chain) -> None:
        raise TimeoutError("its own")

    with pytest.raises(MethodError, match=r"the method verbs failed: TimeoutError: its own \(.*test_runner.py, line \d+\)") as caught:
        solved(method=Verbs(script=buggy))
    assert isinstance(caught.value.__cause__, TimeoutError)
    assert caught.value.trace
    group = ExceptionGroup("two", [EngineError("gone"), ValueError("bug")])
    assert engine_error(group) is None
    assert str(engine_error(ExceptionGroup("one", [ExceptionGroup("two", [EngineError("gone")])]))) == "gone"


def test_a_problem_longer_than_the_context_is_an_error_before_the_first_token() -> None:
    pair = scripted_pair(SCRIPT, SCRIPT, context=200)
    with pytest.raises(
        ContextExceededError, match=r"big: a prefix of 3.* tokens does not fit into its context of 200; shorten the problem"
    ):
        solve("6*7? " * 50, pair=pair)
    assert all(not engine.calls for engine in pair.values())  # type: ignore[attr-defined]


def test_work_that_a_method_leaves_behind_ends_with_its_chain() -> None:
    async def careless(chain: Chain) -> None:
        chain.kept = asyncio.create_task(chain.draft("small"))  # type: ignore[attr-defined]
        await chain.write("big")

    pair = Pair(ScriptedEngine(SCRIPT, delay=0.001), ScriptedEngine("endless " * 999, delay=0.001))
    result = solve("6*7?", Verbs(script=careless), pair=pair)
    assert type(result.trace.events[-1]).__name__ == "Ended"
    assert result.usage["small"].discarded_tokens > 0
    check_books(result.trace, pair)


async def test_cancelling_stops_the_engines_at_once() -> None:
    pair, listener = scripted_pair("endless " * 999, "endless " * 999, delay=0.001), Recorded()
    task = asyncio.create_task(asolve("6*7?", "random_switch", pair=pair, listener=listener, wrappers=["vote(ballots=3)"]))
    while not pair["big"].produced:  # noqa: ASYNC110 (a scripted engine has no events)
        await asyncio.sleep(0.001)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [engine.running for engine in pair.values()] == [0, 0]  # type: ignore[attr-defined]
    assert listener.trace.usage()["big"].discarded_tokens > 0
    check_books(listener.trace, pair)


# ---- what can be asked ----------------------------------------------------------------------------------------------


def test_typed_settings_are_all_fields_of_a_problem() -> None:
    assert set(ProblemSettings.__annotations__) == SETTINGS | SAMPLING


def test_settings_are_the_problems_the_samplings_or_the_methods() -> None:
    seen: list[Any] = []

    async def look(chain: Chain) -> None:
        seen.append(chain.problem)

    solved(method=Verbs(script=look), seed=5, temperature=0.9, max_tokens=77)
    assert seen == [Problem.of("6*7?", seed=5, max_tokens=77, sampling=Sampling(temperature=0.9))]
    with pytest.raises(UnknownNameError, match="setting or parameter of random_switch 'switch_ration'; did you mean 'switch_ratio'"):
        solved(method="random_switch", switch_ration=3)
    for misspelled, meant in (("max_token", "max_tokens"), ("temprature", "temperature"), ("wrapper", "wrappers")):
        with pytest.raises(UnknownNameError, match=f"'{misspelled}'; did you mean '{meant}'"):
            solved(method="random_switch", **{misspelled: 3})
    with pytest.raises(UnknownNameError, match="unknown parameter of vote 'ballot'; did you mean 'ballots'"):
        solved(method="random_switch", wrappers="vote(ballot=3)")
    with pytest.raises(UsageError, match="seed, temperature cannot be given beside a Problem"):
        solve(Problem.of("6*7?"), pair=scripted_pair(), seed=1, temperature=0)
    with pytest.raises(UsageError, match="sequential_scale cannot be given beside a Method"):
        solved(method=Verbs(script=look), sequential_scale=1)


def test_needs_of_a_method_are_checked_before_the_first_token() -> None:
    pair = scripted_pair(SCRIPT, SCRIPT, abilities=frozenset({"continue"}))
    told = "logprob_subselect.* needs logprobs of the big model, which big lacks"
    for wrappers in ([], ["vote"]):
        with pytest.raises(UnsupportedMethodError, match=told):
            solve("6*7?", "logprob_subselect", pair=pair, wrappers=wrappers)


def test_a_method_sees_the_conversation_and_the_prompt_it_prepared() -> None:
    pair = scripted_pair(SCRIPT, SCRIPT)
    messages = (Message("user", "Hello"), Message("assistant", "Hi"), Message("user", "6*7?"))
    result = solve(Problem(messages), "spec_rewrite", pair=pair, bloat_tokens=250, thinking_n_ignore=0)
    assert pair["big"].calls[0][1].count("The problem comes later.") == 40  # type: ignore[attr-defined]
    assert result.trace.started.problem.messages[:2] == messages[:2]


# ---- the synchronous `solve` ----------------------------------------------------------------------------------------


def test_solve_works_in_a_script() -> None:
    assert solved(method="random_switch").answer == "42"


async def test_solve_works_inside_a_running_event_loop() -> None:
    assert solved(method="random_switch").answer == "42"


def test_solves_of_many_threads_share_one_loop() -> None:
    pair, loops = scripted_pair(SCRIPT, SCRIPT), set[int]()

    async def look(chain: Chain) -> None:
        loops.add(id(asyncio.get_running_loop()))

    threads = [threading.Thread(target=solve, args=("6*7?", Verbs(script=look)), kwargs={"pair": pair}) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loops) == 1


def test_solve_on_the_librarys_own_loop_would_wait_for_itself() -> None:
    async def inside() -> None:
        solved()

    with pytest.raises(RuntimeError, match="use asolve"):
        run_in_background(inside())


def test_an_interrupt_cancels_the_work_and_waits_until_it_has_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    pair, listener = scripted_pair("endless " * 999, "endless " * 999, delay=0.001), Recorded()
    from concurrent.futures import Future

    def interrupted(self: Future[Any]) -> None:
        while not any(engine.produced for engine in pair.values()):  # type: ignore[attr-defined]
            time.sleep(0.001)
        raise KeyboardInterrupt

    monkeypatch.setattr(Future, "result", interrupted)
    with pytest.raises(KeyboardInterrupt):
        solve("6*7?", "big_only", pair=pair, listener=listener)
    assert pair["big"].running == 0  # type: ignore[attr-defined]
    check_books(listener.trace, pair)


def test_without_a_pair_the_bundled_one_is_opened_once(monkeypatch: pytest.MonkeyPatch) -> None:
    bundled_pair.clear()
    monkeypatch.setattr(Pair, "open", lambda: scripted_pair(SCRIPT, SCRIPT))
    try:
        assert solve("6*7?").answer == "42"
        assert bundled_pair() is bundled_pair()
    finally:
        bundled_pair.clear()


async def test_a_stream_yields_all_text_and_events() -> None:
    heard = [item async for item in speculative.stream("6*7?", "big_only", pair=scripted_pair(SCRIPT))]
    assert "".join(item.text for item in heard if isinstance(item, TextDelta)) == SCRIPT.replace("</think>", "")
    assert [type(item).__name__ for item in heard if not isinstance(item, TextDelta)] == ["Started", "Wrote", "Answered", "Ended"]


async def test_leaving_a_stream_cancels_its_chain() -> None:
    pair = scripted_pair("endless " * 999, delay=0.001)
    stream = speculative.stream("6*7?", "big_only", pair=pair)
    async for item in stream:
        if isinstance(item, TextDelta):
            break
    await stream.aclose()  # type: ignore[attr-defined]
    assert pair["big"].running == 0  # type: ignore[attr-defined]


async def test_a_stream_raises_the_errors_of_its_chain() -> None:
    with pytest.raises(EngineError, match="the server is gone"):
        _ = [item async for item in speculative.stream("6*7?", "big_only", pair=scripted_pair(failing_after(0)))]


def test_the_stub_for_type_checkers_has_all_public_names() -> None:
    stub = Path(speculative.__file__).with_suffix(".pyi").read_text(encoding="utf-8")
    assert sorted(ast.literal_eval(stub.partition("__all__ = ")[2].partition("\n\n")[0])) == speculative.__all__
    assert all(re.search(rf"^(?:from .*\b|){name}\b", stub, re.MULTILINE) for name in speculative.__all__)


def test_the_public_names_are_listed() -> None:
    assert dir(speculative) == sorted(speculative.__all__)


async def test_the_public_names_are_there_and_no_others() -> None:
    for name in speculative.__all__:
        assert getattr(speculative, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = speculative.nothing
    assert (await run(Problem.of("6*7?"), Verbs(script=_answer), scripted_pair(SCRIPT))).text == SCRIPT.partition("</think>")[2]


async def _answer(chain: Chain) -> None:
    await chain.write("big")
    await chain.answer("big")
