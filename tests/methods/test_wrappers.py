"""Voting and early exit, around any method."""

from __future__ import annotations

import asyncio
import random
from math import log
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs
from strategies import check_books, kinds, scripted_pair

from speculative import Pair, Result, UsageError, asolve, solve
from speculative.engines.base import Completion
from speculative.methods.ballots import Ballot, elect, is_decided
from speculative.methods.confidence import mean_probability
from speculative.methods.spec import parse_method
from speculative.testing import ScriptedEngine
from speculative.trace.events import Accepted, Answered, Call, Child, Drafted, Proposal, Wrote
from speculative.trace.trace import Trace


def solved(script: Any, *wrappers: str, method: str = "big_only", **settings: Any) -> Result:
    pair = scripted_pair(script, script)
    result = solve("6*7?", method, pair=pair, wrappers=wrappers, **settings)
    check_books(result.trace, pair)
    return result


# ---- vote -----------------------------------------------------------------------------------------------------------


def ballots(*answers: str) -> Any:
    """Whole chains with these answers, told apart by their thinking."""
    thoughts = iter(range(99))

    def script(seen: str, seed: int) -> str:
        thought = seen.rpartition("<think>\n")[2]
        return answers[int(thought.partition("\n")[0])] if "</think>" in thought else f"{next(thoughts)}</think>"

    return script


@pytest.mark.parametrize(
    ("answers", "reasoning", "answer"),
    [
        (("\\boxed{1}", "\\boxed{2}", "so \\boxed{ 2 }"), "1", "\\boxed{2}"),
        (("1", "2", "2 "), "1", "2"),
        (("1", "2", "3"), "0", "1"),
        (("", "2", ""), "1", "2"),
        (("", "", ""), "0", ""),
        (("\\boxed{1}", "\\boxed{033}", "\\boxed{33}"), "1", "\\boxed{033}"),
        (("\\boxed{1}", "\\boxed{\\frac12}", "\\boxed{0.5}"), "1", "\\boxed{\\frac12}"),
        (("\\boxed{1}", "so the answer is 7.", "\\boxed{7}"), "1", "so the answer is 7."),
        (("\\boxed{}", "\\boxed{7}", "\\boxed{}"), "1", "\\boxed{7}"),
    ],
    ids=["boxes", "texts", "tie", "silent", "all-silent", "zeros", "fractions", "without-a-box", "empty-boxes"],
)
def test_the_first_chain_with_the_most_common_answer_is_taken(answers: tuple[str, ...], reasoning: str, answer: str) -> None:
    result = solved(ballots(*answers), "vote(ballots=3)")
    assert (result.reasoning, result.text) == (reasoning, answer)
    assert kinds(result.trace) == ["Started", "Child", "Child", "Child", "Became", "Ended"]


def test_all_chains_but_one_are_waste() -> None:
    result = solved("abc</think>42", "vote(ballots=4)")
    usage = result.usage["big"]
    assert (usage.requests, usage.produced_tokens, usage.kept_tokens) == (8, 28, 7)


def test_the_finish_reason_is_that_of_the_chain_that_won() -> None:
    assert solved("x" * 999, "vote(ballots=2)", max_tokens=80).finish_reason == "length"


# ---- early exit -----------------------------------------------------------------------------------------------------


def thinker(*answers: str) -> Any:
    """Thinks ten steps; asked for its answer it gives these, one after the other, and then the last."""
    left = list(answers)

    def script(seen: str, seed: int) -> str:
        thought = seen.rpartition("<think>\n")[2]
        if thought.endswith("\\boxed{"):
            return f"{left.pop(0) if len(left) > 1 else left[0]}}}. And"
        return "42" if "</think>" in thought else "".join(f"{i}.\n\n" for i in range(thought.count("\n\n"), 10)) + "</think>"

    return script


@pytest.mark.parametrize("method", ["big_only", "random_switch"])
@pytest.mark.parametrize(
    ("wrapper", "answers", "steps"),
    [
        ("early_exit", ("1", "42"), 4),
        ("early_exit(agree=2)", ("42",), 2),
        ("early_exit(agree=2,every=3)", ("42",), 6),
        ("early_exit(agree=2)", ("", "", "42"), 4),
        ("early_exit(agree=2)", tuple("12345678901"), 10),
        ("early_exit(agree=2)", ("\\frac{1}{3}", "\\frac{1}{2}", "0.5", "042"), 5),
        ("early_exit(agree=2)", ("x{1", "x{1", "33", "033"), 4),
    ],
    ids=["default", "agree", "every", "silence-is-no-answer", "never", "cut-fractions", "an-open-box"],
)
def test_the_thinking_ends_when_the_last_answers_agree(method: str, wrapper: str, answers: tuple[str, ...], steps: int) -> None:
    result = solved(thinker(*answers), wrapper, method=method)
    assert result.reasoning.count("\n\n") == steps
    assert (result.text, result.finish_reason) == ("42", "stop")


def test_a_loop_within_one_call_ends_the_thinking() -> None:
    result = solved(lambda seen, _: "42" if "</think>" in seen else "?}" if seen.endswith("{") else "again\n\n" * 99, "early_exit")
    assert (result.reasoning, result.finish_reason) == ("again\n\n" * 3, "loop")


def test_questions_are_waste_and_never_in_the_text() -> None:
    result = solved(thinker("42"), "early_exit(agree=2)")
    assert (result.reasoning, result.usage["big"].discarded_tokens) == ("0.\n\n1.\n\n", 6)
    assert [event.question for event in result.trace if type(event).__name__ == "Asked"] == ["answer", "answer"]


def test_a_budget_without_room_for_a_question_ends_the_chain() -> None:
    found = {solved(thinker("42"), "early_exit(agree=2)", max_produced=most).finish_reason for most in range(4, 40)}
    assert found == {"length", "stop"}


def test_it_watches_every_chain_of_a_vote_by_itself() -> None:
    for wrappers in (("vote(ballots=2)", "early_exit(agree=2)"), ("early_exit(agree=2)", "vote(ballots=2)")):
        assert solved(thinker("42"), *wrappers).reasoning == "0.\n\n1.\n\n"


def test_steps_that_were_taken_back_do_not_keep_it_from_asking() -> None:
    result = solved(thinker("1", "2", "3", "42"), "early_exit(agree=9)", method="spec_rewrite", thinking_n_ignore=1)
    assert [type(event).__name__ for event in result.trace].count("Asked") >= 10


@pytest.mark.parametrize("wrappers", [["vote(ballots=2,answer_by=small)"], ["early_exit", "vote(ballots=2,answer_by=small)"]])
async def test_a_vote_may_say_who_answers(wrappers: list[str]) -> None:
    def answered(result: Result) -> set[str]:
        return {event.call.role for event in result.trace.walk() if isinstance(event, Answered)}

    pair = scripted_pair("one.\n\n</think>1", "two.\n\n</think>1")
    assert answered(await asolve("?", "big_only", pair=pair, wrappers=wrappers)) == {"small"}
    assert answered(await asolve("?", "big_only", pair=pair, wrappers=["vote(ballots=2)"])) == {"big"}
    assert answered(await asolve("?", "small_only", pair=pair, wrappers=["vote(ballots=2)"])) == {"small"}


# ---- votes that stop early --------------------------------------------------------------------------------------------


class Slow(ScriptedEngine):
    """Takes a turn for each token, so that short chains come to their end first."""

    async def _pace(self, tokens: int, stats: Any) -> None:
        for _ in range(tokens):
            await asyncio.sleep(0)
            await super()._pace(1, stats)


def raced(*answers: str, wrapper: str) -> Result:
    """A vote whose ballots come to their ends one after the other, with these answers."""
    thoughts = iter(range(99))

    def script(seen: str, seed: int) -> str:
        thought = seen.rpartition("<think>\n")[2]
        if "</think>" in thought:
            return answers[int(thought.partition(" ")[0])]
        number = next(thoughts)
        return f"{number} {'x' * 60 * number}</think>"

    pair = Pair(Slow(script, name="big"), Slow(script, name="small"))
    result = solve("6*7?", "big_only", pair=pair, wrappers=[wrapper])
    check_books(result.trace, pair)
    return result


@pytest.mark.parametrize(
    ("answers", "wrapper", "ended"),
    [
        (("1", "1", "1", "2", "2"), "vote(ballots=5)", 5),
        (("1", "1", "1", "2", "2"), "vote(ballots=5,stop_early=true)", 3),
        (("1", "2", "1", "1", "2"), "vote(ballots=5,stop_early=true)", 4),
        (("1", "2", "1", "2", "1"), "vote(ballots=5,stop_early=true)", 5),
        (("1", "2", "1", "2", "2"), "vote(ballots=5,enough=2)", 3),
        (("", "", "1", "1", "2"), "vote(ballots=5,enough=2)", 4),
    ],
    ids=["all", "three-of-five", "four", "to-the-last", "enough", "no-answer-is-no-vote"],
)
def test_a_vote_may_stop_when_it_is_decided(answers: tuple[str, ...], wrapper: str, ended: int) -> None:
    result = raced(*answers, wrapper=wrapper)
    assert [type(event).__name__ for event in result.trace.walk()].count("Answered") == ended
    assert result.text == ("2" if answers == ("1", "2", "1", "2", "2") and "enough" not in wrapper else "1")


def test_each_ballot_is_told_its_plan() -> None:
    pair = scripted_pair("a</think>42", "a</think>42")
    solve("6*7?", "big_only", pair=pair, wrappers=["vote(ballots=3,plans=Draw it.; Guess.)"])
    prompts = [seen for _, seen in pair["big"].calls if seen.endswith("<think>\n")]  # type: ignore[attr-defined]
    assert [("Draw it." in seen, "Guess." in seen) for seen in prompts] == [(True, False), (False, True), (True, False)]


# ---- votes with weights -----------------------------------------------------------------------------------------------


class Sure(Slow):
    """Gives every token of a chain the probability that stands at its beginning: `0 0.5 …` is the chain 0."""

    def _completion(self, prefix: Any, decoding: Any, seed: int) -> Any:
        done = super()._completion(prefix, decoding, seed)
        seen = self._tokenizer.show((*prefix, *done.ids)).rpartition("<think>\n")[2].split(" ")
        return structs.replace(done, logprobs=tuple(log(float(seen[1])) for _ in done.ids) if decoding.logprobs else None)


def weighed(*ballots: tuple[str, float], wrapper: str = "vote(ballots={},weights=confidence)", method: str = "big_only") -> Result:
    """A vote whose ballots come to their ends one after the other, with these answers and probabilities."""
    thoughts = iter(range(99))

    def script(seen: str, seed: int) -> str:
        thought = seen.rpartition("<think>\n")[2]
        if "</think>" in thought:
            return ballots[int(thought.partition(" ")[0])][0]
        if thought:
            return "x\n\n" * int(thought.partition(" ")[0]) + "</think>"
        number = next(thoughts)
        return f"{number} {ballots[number][1]:.3f} {'x' * 60 * number}</think>"

    pair = Pair(Sure(script, name="big"), Sure(script, name="small"))
    result = solve("6*7?", method, pair=pair, wrappers=[wrapper.format(len(ballots))])
    check_books(result.trace, pair)
    return result


def test_a_sure_chain_outweighs_two_unsure_ones() -> None:
    unsure = (("1", 0.4), ("1", 0.4), ("2", 0.9))
    assert weighed(*unsure).text == "2"
    assert weighed(*unsure, wrapper="vote(ballots={})").text == "1"
    assert weighed(("1", 0.5), ("1", 0.5), ("2", 0.9)).text == "1"


@pytest.mark.parametrize("method", ["big_only", "random_switch"])
def test_the_weight_is_the_mean_probability_of_the_thinking(method: str) -> None:
    result = weighed(("1", 0.25), method=method)
    (child,) = [event for event in result.trace.events if isinstance(event, Child)]
    assert mean_probability(Trace(child.events)) == pytest.approx(0.25)


def test_a_chain_without_log_probabilities_weighs_nothing() -> None:
    assert mean_probability(solved("a b</think>42").trace) == 0.0


def test_tokens_of_accepted_drafts_count_up_to_their_cut() -> None:
    call = Call("small", 1, 0, 0, 3, 0, 0.1)
    likely = Proposal(1, None, "abc", Completion((1, 2, 3), "stop", None, (log(0.5), log(0.5), log(0.01))), 0, "thinking")
    whole = Proposal(2, None, "d", Completion((4,), "stop", None, (log(0.125),)), 0, "thinking")
    refused = Proposal(3, None, "e", Completion((5,), "stop", None, (log(0.001),)), 0, "thinking")
    answer = Proposal(4, None, "f", Completion((6,), "stop", None, (log(0.001),)), 0, "answer")
    happened: list[Any] = [
        Drafted(call=call, seed=0, proposals=(likely, refused)),
        Accepted(drafts=(1,), cut=(2, 2)),
        Wrote(call=call, seed=0, proposal=whole),
        Answered(call=call, seed=0, cue="", proposal=answer),
    ]
    assert mean_probability(Trace(happened)) == pytest.approx((0.5 * 0.5 * 0.125) ** (1 / 3))


def test_weights_need_log_probabilities_of_the_models_that_think_and_one_chain() -> None:
    assert parse_method("vote(weights=confidence)*small_only").method.required_abilities() == {"small": {"logprobs"}}
    assert parse_method("vote*small_only").method.required_abilities() == {}
    with pytest.raises(UsageError, match=r"weights=confidence must be around a method of one chain of thought, got cascade"):
        parse_method("vote(weights=confidence)*cascade")


BALLOTS = st.lists(st.tuples(st.sampled_from(["", "1", "2", "3"]), st.floats(0, 1)), min_size=1, max_size=9)


@given(BALLOTS, st.booleans(), st.randoms(use_true_random=False))
def test_ballots_that_cannot_change_the_answer_do_not(found: list[tuple[str, float]], equal: bool, order: random.Random) -> None:
    """In whatever order the chains end, a vote that stops early elects what all of them elect."""
    ballots = [Ballot(answer, 1.0 if equal else weight) for answer, weight in found]
    ended = order.sample(range(len(ballots)), len(ballots))
    elected = elect(ballots)
    for size in range(len(ballots) + 1):
        early = [ballots[place] for place in sorted(ended[:size])]
        if is_decided(early, len(ballots) - size):
            assert elect(early) == elected


@given(st.lists(st.tuples(st.sampled_from("123"), st.sampled_from([0.1, 0.5, 0.9])), min_size=1, max_size=5), st.booleans())
@settings(max_examples=25, deadline=None)
def test_a_vote_that_stops_early_gives_the_same_answer(ballots: list[tuple[str, float]], sure: bool) -> None:
    weights = "confidence" if sure else "equal"
    whole = weighed(*ballots, wrapper=f"vote(ballots={{}},weights={weights})")
    early = weighed(*ballots, wrapper=f"vote(ballots={{}},weights={weights},stop_early=true)")
    assert early.text == whole.text


# ---- budget forcing ---------------------------------------------------------------------------------------------------

ROUNDS = ["One.\n\n</think>", "Two.\n\n</think>", "Three.\n\n</think>", "42"]


@pytest.mark.parametrize(
    ("wrapper", "rounds"),
    [
        ("budget_forcing", 1),
        ("budget_forcing(rounds=2)", 2),
        ("budget_forcing(rounds=0)", 0),
        ("budget_forcing(rounds=2,least=8)", 1),
        ("budget_forcing(rounds=2,least=7)", 0),
        ("budget_forcing(rounds=2,most=7)", 0),
    ],
)
def test_the_end_of_the_thinking_is_taken_back(wrapper: str, rounds: int) -> None:
    pair = scripted_pair([*ROUNDS[:rounds], ROUNDS[rounds], "42"])
    result = solve("6*7?", "big_only", pair=pair, wrappers=[wrapper])
    check_books(result.trace, pair)
    assert (result.reasoning.count("Wait"), result.text, result.finish_reason) == (rounds, "42", "stop")
    assert result.usage["big"].discarded_tokens == rounds


def test_thinking_that_is_too_long_is_ended_after_its_step() -> None:
    result = solved("".join(f"Step {i}.\n\n" for i in range(50)) + "</think>42", "budget_forcing(most=25)", method="random_switch")
    assert result.reasoning == "Step 0.\n\nStep 1.\n\nStep 2.\n\n"
    assert result.text == "42"


def test_each_ballot_of_a_vote_is_forced_and_an_early_exit_is_not_taken_back() -> None:
    result = solved(["a</think>", "b</think>", "c</think>", "d</think>", "42"], "vote(ballots=2)", "budget_forcing")
    assert result.reasoning in ("a\nWaitc", "b\nWaitd", "a\nWaitb", "a\nWaitd", "b\nWaitc")
    twice = solved(["a</think>", "b</think>", "c</think>", "d</think>", "42"], "budget_forcing", "vote(ballots=1)", "budget_forcing")
    assert twice.reasoning == "a\nWaitb\nWaitc\nWaitd"
    exited = solved(thinker("42"), "early_exit(agree=2)", "budget_forcing")
    assert exited.reasoning == "0.\n\n1.\n\n"


def test_it_is_put_around_methods_of_one_chain() -> None:
    with pytest.raises(UsageError, match=r"inner: .* one chain of thought, got cascade"):
        solved("a</think>42", "budget_forcing", method="cascade")
