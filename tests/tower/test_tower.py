"""A pair with a method is an engine: ids in, ids out."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from profiles import quick_cases
from strategies import GONE, POLICIES, Mortal, Recorded, Verbs, babble, policies, scripted_pair

from speculative import Method, Pair, Problem, Trace, UsageError, asolve
from speculative.chain.chain import Chain
from speculative.engines.base import PREFILL_SEED, CallStats, Completion, Decoding, Engine
from speculative.errors import EngineError, EngineUnreachableError, UnsupportedMethodError
from speculative.methods.registry import build, find
from speculative.problem import Message
from speculative.prompts import Question, encode_parts, find_dialect
from speculative.runner import run
from speculative.testing import ScriptedEngine
from speculative.tower import TowerEngine
from speculative.tower.written import WrittenIds
from speculative.trace.events import Asked
from speculative.trace.replay import ReplayEngine
from speculative.trace.state import Ledger

THOUGHT = "Six is 6.\n\nSeven is 7.\n\nSo 42.\n\n"
SCRIPT = f"{THOUGHT}</think>\n\nThe answer is \\boxed{{42}}."


def tower(big: Any = SCRIPT, small: Any = SCRIPT, method: str = "random_switch", width: int = 1, **params: Any) -> TowerEngine:
    pair = Pair(ScriptedEngine(big, name="inner big", width=width), ScriptedEngine(small, name="inner small", width=width))
    return TowerEngine(build(method, params), pair)


def without_hint(name: str, params: Mapping[str, Any] | None = None, wrappers: list[str] | None = None) -> Method:
    """A method that adds nothing to the problem."""
    return build(name, {**(params or {}), **({"hint": ""} if "hint" in find(name).model_fields else {})}, wrappers or [])


def prompt(engine: Engine) -> list[int]:
    return encode_parts(engine.tokenizer, find_dialect(engine.dialect).prompt([Message("user", "6*7?")], ""))


def stops(engine: Engine) -> tuple[int, ...]:
    return tuple(engine.tokenizer.special_token_id(token) for token in ("</think>", "<|im_end|>", "<|endoftext|>"))


async def one(engine: Engine, prefix: list[int], decoding: Decoding, stats: CallStats | None = None) -> Completion:
    ((completion,),) = await engine.complete([prefix], decoding, key="k", stats=stats or CallStats())
    return completion


async def streamed(engine: Engine, prefix: list[int], decoding: Decoding) -> tuple[list[tuple[int, ...]], Completion]:
    deltas, completion = [], None
    async for delta in engine.stream(prefix, decoding, key="k", stats=CallStats()):
        deltas.append(delta.ids)
        completion = delta.completion or completion
    assert completion
    return deltas, completion


def text(engine: Engine, completion: Completion) -> str:
    return engine.tokenizer.to_bytes(completion.ids).decode("utf-8", "replace")


# ---- ids in, ids out ------------------------------------------------------------------------------------------------


async def test_both_models_write_one_text_that_ends_with_the_thinking() -> None:
    engine = tower(switch_chunk=4)
    completion = await one(engine, prompt(engine), Decoding(1000, stop_ids=stops(engine), seed=3))
    assert text(engine, completion) == THOUGHT
    assert (completion.finish, completion.end_id) == ("end", stops(engine)[0])
    assert {author for author, _ in completion.authors} == {"big", "small"}
    assert sum(count for _, count in completion.authors) == completion.produced


async def test_the_ids_of_the_prefix_reach_the_models_as_they_are() -> None:
    engine = tower(method="small_only", width=3)
    prefix = [*prompt(engine), *engine.tokenizer.encode("S"), *engine.tokenizer.encode("ix is 6.")]  # cut as no encoder would cut it
    seen = list[tuple[int, ...]]()

    class Seeing(ScriptedEngine):
        async def complete(self, prefixes: Any, decoding: Decoding, **rest: Any) -> Any:
            seen.extend(map(tuple, prefixes))
            return await super().complete(prefixes, decoding, **rest)

    engine.inner["small"] = Seeing(SCRIPT, width=3)
    completion = await one(engine, prefix, Decoding(5, stop_ids=stops(engine)))
    assert seen == [tuple(prefix)]
    assert len(completion.ids) == 5


@pytest.mark.parametrize("stop", ["42", "Seven", "\n\nSeven", "6.\n\nSe", "🙂"])
@pytest.mark.parametrize("chunk", [1, 3, 100])
async def test_a_stop_string_ends_it_with_its_last_token_also_across_the_models(stop: str, chunk: int) -> None:
    engine, whole = tower(switch_chunk=chunk), THOUGHT
    completion = await one(engine, prompt(engine), Decoding(1000, stop=(stop,), stop_ids=stops(engine), seed=1))
    end = whole.find(stop) + len(stop) if stop in whole else len(whole)
    assert text(engine, completion) == whole[:end]
    assert completion.finish == ("stop" if stop in whole else "end")


@pytest.mark.parametrize("tokens", [1, 2, 7, 16, 17, 30])
async def test_no_more_tokens_than_allowed(tokens: int) -> None:
    engine, stats = tower(switch_chunk=5), CallStats()
    completion = await one(engine, prompt(engine), Decoding(tokens, stop_ids=stops(engine), seed=1), stats)
    assert (len(completion.ids), completion.finish) == (tokens, "length")
    assert stats.produced_tokens == tokens


@settings(max_examples=60, deadline=None)
@given(
    policies({name: given for name, given in POLICIES.items() if name not in ("cascade",)}),
    st.integers(0, 99),
    st.integers(0, 99),
    st.integers(1, 3),
    st.integers(1, 60),
    st.sampled_from(["", "\n\n", "so ", "é"]),
    st.none() | st.integers(1, 60),
    st.integers(1, 1 << 40),
)
def test_a_stream_has_the_ids_of_complete_and_the_books_hold(
    policy: tuple[str, dict[str, Any], list[str]], a: int, b: int, width: int, tokens: int, stop: str, cap: int | None, seed: int
) -> None:
    name, params, wrappers = policy
    method = without_hint(name, params, [wrapper for wrapper in wrappers if "vote" not in wrapper])
    top = {"top": lambda seen: {"0": -0.5, "1": -1.0}}
    pair = scripted_pair(babble(a), babble(b), widths=(width, width), **top)
    engine = TowerEngine(method, pair)
    decoding = Decoding(tokens, 0.6, seed=seed, stop=(stop,) if stop else (), stop_ids=stops(engine), max_produced=cap)

    async def both() -> tuple[Completion, list[tuple[int, ...]], Completion]:
        stats = CallStats()
        completion = await one(engine, prompt(engine), decoding, stats)
        inserted = sum(count for author, count in completion.authors if author == "method")
        assert stats.produced_tokens == sum(engine.produced for engine in pair.values()) + inserted  # pyright: ignore
        assert cap is None or stats.produced_tokens <= cap
        assert sum(count for _, count in completion.authors) == completion.produced <= stats.produced_tokens
        assert len(completion.ids) <= tokens
        for role, cost in stats.inner.items():
            kept = sum(count for author, count in completion.authors if author == role)
            assert kept <= cost.produced_tokens
        return completion, *(await streamed(engine, prompt(engine), decoding))

    completion, deltas, other = asyncio.run(both())
    assert other.ids == completion.ids == tuple(token for ids in deltas for token in ids)
    assert (other.finish, other.end_id, other.authors) == (completion.finish, completion.end_id, completion.authors)


async def test_a_stream_tells_each_token_as_it_comes() -> None:
    engine = tower(switch_chunk=9)
    for inner in engine.inner.values():
        inner.delay = 1e-6  # pyright: ignore
    deltas, completion = await streamed(engine, prompt(engine), Decoding(1000, stop_ids=stops(engine)))
    assert len(deltas) >= len(completion.ids)


async def test_a_long_stream_adds_each_token_once(monkeypatch: pytest.MonkeyPatch) -> None:
    added, add = [0], WrittenIds._add  # pyright: ignore[reportPrivateUsage]

    def counted(self: WrittenIds, token: int, author: str) -> None:
        added[0] += 1
        add(self, token, author)

    monkeypatch.setattr(WrittenIds, "_add", counted)
    engine = tower(*[lambda seen, seed: "x" * 500] * 2, method="small_only")
    _, completion = await streamed(engine, prompt(engine), Decoding(400, stop_ids=stops(engine), seed=1))
    assert len(completion.ids) == 400
    assert added[0] <= 2 * 400


@pytest.mark.parametrize("dialect", ["chatml", "chatml-plain"])
async def test_the_answer_of_every_dialect_has_one_author(dialect: str) -> None:
    engines = [ScriptedEngine("Six.\n\n" * 3, dialect=dialect, name=name) for name in ("a", "b", "c")]
    engine = TowerEngine(build("random_switch", {"switch_chunk": 2}), Pair(engines[1], engines[2]))
    chain = Chain(Problem.of("6*7?"), Pair(engines[0], engine))
    await chain.write("small", max_tokens=8)
    chain.stop("enough")
    answer = await chain.answer("small")
    assert {author for author, _ in answer.proposal.completion.authors} == {"big"}


async def test_a_method_that_takes_text_back_is_told_at_the_end() -> None:
    engine = tower(method="spec_rewrite", drafting_n=1)
    deltas, completion = await streamed(engine, prompt(engine), Decoding(1000, stop_ids=stops(engine)))
    assert deltas == [completion.ids]


# ---- seeds ----------------------------------------------------------------------------------------------------------


async def test_completions_have_seeds_of_their_place_whatever_comes_first() -> None:
    engine = TowerEngine(build("random_switch", {"switch_chunk": 4}), scripted_pair(babble(1), babble(2)))
    longer = [*prompt(engine), *engine.tokenizer.encode("so ")]
    decoding = Decoding(40, 0.6, n=3, stop_ids=stops(engine), seed=5)
    rows = await engine.complete([prompt(engine), longer], decoding, key="k", stats=CallStats())
    for inner, delay in zip(engine.inner.values(), (1e-5, 0), strict=True):
        inner.delay = delay  # pyright: ignore
    assert await engine.complete([prompt(engine), longer], decoding, key="other", stats=CallStats()) == rows
    assert len({completion.ids for row in rows for completion in row}) > 3


async def test_greedy_completions_are_copies_of_one() -> None:
    engine, stats = tower(), CallStats()
    ((first, second),) = await engine.complete([prompt(engine)], Decoding(9, n=2, stop_ids=stops(engine), seed=1), key="k", stats=stats)
    assert first == second
    assert stats.produced_tokens == 9


@pytest.mark.parametrize("seed", quick_cases([1, 2, 3]))
async def test_the_bundled_pair_gives_the_same_ids_alone_and_in_a_crowd(seed: int) -> None:
    async with Pair.open() as pair:
        engine = TowerEngine(build("random_switch", {"switch_chunk": 7}), pair)
        ids = encode_parts(engine.tokenizer, find_dialect(engine.dialect).prompt([Message("user", "How many apples has Mia now?")], ""))
        decoding = Decoding(40, 0.6, 0.95, seed=seed, n=4, stop_ids=(engine.tokenizer.special_token_id("</think>"),))
        (crowd,) = await engine.complete([ids], decoding, key="k", stats=CallStats())
        again = await asyncio.gather(*(engine.complete([ids], decoding, key="k", stats=CallStats()) for _ in range(3)))
        _, told = await streamed(engine, ids, decoding)
        assert all(row == [crowd] for row in again)
        assert told.ids == crowd[0].ids


# ---- outside of the thinking ----------------------------------------------------------------------------------------


async def test_answers_and_replies_are_written_by_the_model_of_the_answers() -> None:
    for by in ("big", "small"):
        engine = tower(lambda seen, seed: "big says", lambda seen, seed: "small says", answer_by=by)
        prefix = [*prompt(engine), *engine.tokenizer.encode("x"), stops(engine)[0]]
        completion = await one(engine, prefix, Decoding(100, stop_ids=stops(engine)))
        assert (text(engine, completion), completion.authors) == (f"{by} says", ((by, completion.produced),))
        deltas, told = await streamed(engine, prefix, Decoding(100, stop_ids=stops(engine)))
        assert told == completion
        assert len(deltas) > 3


async def test_scores_are_those_of_the_big_model_and_counted_as_such() -> None:
    engine, stats = tower(), CallStats()
    engine.inner["big"] = ScriptedEngine("", scores=lambda prefix, text: -2.0)
    found = await engine.score([prompt(engine)], [engine.tokenizer.encode("ab")], key="k", stats=stats)
    assert found == [[-2.0, -2.0]]
    assert stats.scored_tokens == stats.inner["big"].scored_tokens == 2


async def test_a_prefill_shows_the_text_to_both_models() -> None:
    engine, stats = tower(), CallStats()
    await one(engine, prompt(engine), Decoding(1, seed=PREFILL_SEED, stop_ids=stops(engine), purpose="prefill"), stats)
    assert [len(inner.calls) for inner in engine.inner.values()] == [1, 1]  # pyright: ignore
    assert stats.produced_tokens == 2
    assert set(stats.inner) == {"big", "small"}


async def test_the_verb_prefill_shows_the_text_to_both_models() -> None:
    pair = in_a_chain()
    chain = Chain(Problem.of("6*7?"), pair)
    await chain.prefill("small")
    inner: Any = pair["small"]
    assert [[verb for verb, _ in engine.calls] for engine in inner.inner.values()] == [["complete"], ["complete"]]


@pytest.mark.parametrize("kind", ["judge", "check", "answer", "rewrite", "alone", "hint", "free"])
async def test_every_question_is_answered_by_the_model_of_the_answers(kind: Any) -> None:
    pair = in_a_chain(big="big\n\n", small="small\n\n", switch_chunk=2)
    pair["small"].inner["big"] = ScriptedEngine(lambda seen, seed: "big", top=lambda seen: {"1": -0.5})  # pyright: ignore
    chain = Chain(Problem.of("6*7?"), pair)
    await chain.write("small", max_tokens=3)
    reply = await chain.ask("small", Question(kind, "x"), max_tokens=9)
    assert reply.text == "big"
    reply = await chain.ask("small", Question(kind, "x"), choices="01")
    assert reply.choices["1"] == -0.5
    asked = [event.call.inner for event in chain.trace if isinstance(event, Asked)]
    assert [[call.role for call in inner.calls] for inner in asked if inner] == [["big"], ["big"]]


async def test_the_bundled_judge_is_the_big_model_of_the_tower() -> None:
    pair = Pair.open(big="random_switch(bundled:small,bundled:big)")
    result = await asolve("How many apples has Mia now?", "step_verify", pair=pair, seed=1, max_tokens=200)
    asked = [event.call.inner for event in result.trace if isinstance(event, Asked)]
    assert asked
    assert {call.role for inner in asked if inner for call in inner.calls} == {"big"}


async def test_the_methods_own_questions_show_the_problem_without_the_template() -> None:
    engine = tower(method="spec_rewrite", drafting_n=1)
    await one(engine, prompt(engine), Decoding(400, stop_ids=stops(engine), seed=1))
    seen = [text for inner in engine.inner.values() for _, text in inner.calls if "Reasoning so far" in text]  # pyright: ignore
    assert seen
    assert all("user\n6*7?\n\nReasoning so far" in text and "user\nuser" not in text for text in seen)


def test_it_says_what_it_cannot_do() -> None:
    engine = tower()
    assert {"continue", "ids", "stream", "score", "choices", "cached"} == engine.abilities
    pair = Pair(ScriptedEngine(""), engine)
    with pytest.raises(UnsupportedMethodError, match="needs logprobs of the small model"):
        pair.check(build("trigger"))


# ---- in a chain -----------------------------------------------------------------------------------------------------


def in_a_chain(big: Any = SCRIPT, **params: Any) -> Pair:
    return Pair(ScriptedEngine(big, name="big"), tower(**params))


def check_rows(trace: Trace) -> None:
    """Every row adds up, and the rows of a tower's pair are parts of its own."""
    usage = Ledger.of(trace.events).usage()
    assert usage == trace.usage()
    assert trace.ledger.kept == sum(cost.kept_tokens for role, cost in usage.items() if "/" not in role)
    for role, cost in usage.items():
        assert 0 <= cost.kept_tokens <= cost.produced_tokens == cost.kept_tokens + cost.discarded_tokens
        parts = [other for name, other in usage.items() if name.rpartition("/")[0] == role]
        assert not parts or sum(part.produced_tokens for part in parts) <= cost.produced_tokens
        assert not parts or sum(part.kept_tokens for part in parts) <= cost.kept_tokens


async def test_the_usage_has_rows_for_the_models_inside() -> None:
    pair = in_a_chain(unit="step")
    result = await asolve("6*7?", "small_only", pair=pair, seed=2, answer_by="small")
    usage = result.usage
    assert set(usage) == {"big", "small", "small/big", "small/small"}
    assert usage["small"].kept_tokens == usage["small/big"].kept_tokens + usage["small/small"].kept_tokens == result.trace.ledger.kept
    for role in ("big", "small"):
        inner: Any = pair["small"]
        assert usage[f"small/{role}"].produced_tokens == inner.inner[role].produced
    check_rows(result.trace)
    assert result.answer == "42"


async def test_tokens_that_the_tower_throws_away_are_counted() -> None:
    result = await asolve("6*7?", "small_only", pair=in_a_chain(method="step_verify", threshold=9), seed=2)
    assert result.usage["small/small"].discarded_tokens > 0
    assert result.usage["small"].discarded_tokens >= result.usage["small/small"].discarded_tokens
    check_rows(result.trace)


async def test_the_trace_holds_the_chains_of_the_tower_and_replays(tmp_path: Any) -> None:
    pair, method = in_a_chain(switch_chunk=5), build("random_switch", {"switch_chunk": 9, "switch_ratio": 9})
    result = await run(Problem.of("6*7?", seed=4), method, pair, Recorded())
    result.trace.save(tmp_path / "t.jsonl")
    trace = Trace.load(tmp_path / "t.jsonl")
    assert trace == result.trace
    inner = [chain for event in trace.events if (call := getattr(event, "call", None)) and call.inner for chain in call.inner.chains]
    assert inner
    assert all(type(chain[-1]).__name__ == "Ended" for chain in inner)
    replay = Pair(*(ReplayEngine(trace, role, like) for role, like in pair.items()))
    again = await run(trace.started.problem, method, replay)
    assert again.trace.timeless() == trace.timeless()
    assert again.usage.keys() == result.usage.keys()


async def test_a_trace_with_a_tower_grows_as_its_text_does() -> None:
    sizes = []
    for tokens in (1000, 4000):
        pair = in_a_chain(method="random_switch", switch_chunk=8, big=babble(1), small=babble(2))
        pair["small"].inner.update({role: ScriptedEngine(lambda seen, seed: f"{seed} " * 99) for role in ("big", "small")})  # pyright: ignore
        result = await run(Problem.of("6*7?", max_tokens=tokens, answer_tokens=0), build("random_switch", {"switch_chunk": 16}), pair)
        sizes.append(len(result.trace.dump()) / result.trace.ledger.kept)
    assert sizes[1] < 1.5 * sizes[0]


async def test_a_tower_in_a_tower_counts_every_floor() -> None:
    middle = TowerEngine(build("random_switch", {"switch_chunk": 9}), {"big": ScriptedEngine(SCRIPT), "small": tower(switch_chunk=2)})
    result = await asolve("6*7?", "small_only", pair=Pair(ScriptedEngine(SCRIPT), middle), seed=1)
    rows = {"small/big", "small/small", "small/small/big", "small/small/small"}
    assert rows <= set(result.usage)
    assert result.usage["small/small"].kept_tokens == sum(result.usage[f"small/small/{role}"].kept_tokens for role in ("big", "small"))
    check_rows(result.trace)


async def test_an_accepted_beginning_is_shared_out_to_its_authors() -> None:
    pair = in_a_chain(switch_chunk=4)
    chain = Chain(Problem.of("6*7?"), pair)
    draft = await chain.draft("small", max_tokens=30)
    await chain.accept(draft, upto=10)
    usage = chain.trace.usage()
    assert usage["small"].kept_tokens == 10 == sum(usage[f"small/{role}"].kept_tokens for role in ("big", "small"))
    await chain.close()
    check_rows(chain.trace)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 1 << 30), st.integers(1, 200), st.none() | st.integers(1, 300), st.booleans())
def test_chains_with_a_tower_keep_their_books_at_any_budget(salt: int, tokens: int, produced: int | None, listens: bool) -> None:
    chance = random.Random(salt)
    names = sorted(set(POLICIES) - {"cascade", "logprob_subselect"})
    inner = TowerEngine(without_hint(chance.choice(names)), scripted_pair(babble(salt), babble(salt + 1)))
    pair = Pair(ScriptedEngine(babble(salt + 2)), inner)
    problem = Problem.of("6*7?", max_tokens=tokens, max_produced=produced, seed=salt)
    method = build(chance.choice(("random_switch", "small_only", "spec_rewrite", "lookahead")))
    result = asyncio.run(asyncio.wait_for(run(problem, method, pair, Recorded() if listens else None), 60))
    check_rows(result.trace)
    total = sum(cost.produced_tokens for role, cost in result.usage.items() if "/" not in role)
    assert produced is None or total <= produced
    assert sum(segment.tokens for segment in result.trace.segments()) <= tokens


# ---- failures and cancellation --------------------------------------------------------------------------------------


@pytest.mark.parametrize("listens", [False, True])
@pytest.mark.parametrize("turns", [1, 3, 8, 20, 50])
async def test_a_cancelled_call_ends_the_work_on_both_floors_and_is_counted(turns: int, listens: bool) -> None:
    pair = in_a_chain(switch_chunk=5)
    inner: Mapping[str, Any] = pair["small"].inner  # pyright: ignore
    for engine in inner.values():
        engine.delay = 1e-6
    heard = Recorded()
    task = asyncio.create_task(run(Problem.of("6*7?"), build("small_only"), pair, heard if listens else None, trace=(trace := Trace([]))))
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert all(engine.running == 0 for engine in inner.values())
    usage = trace.usage()
    assert usage["small"].produced_tokens == sum(engine.produced for engine in inner.values())
    check_rows(trace)


async def test_a_deadline_keeps_what_the_tower_has_told() -> None:
    pair = in_a_chain(switch_chunk=5)
    inner: Mapping[str, Any] = pair["small"].inner  # pyright: ignore
    inner["big"].delay = inner["small"].delay = 0.01
    heard = Recorded()
    for limit in (0.1, 1.0, 10.0):
        result = await run(Problem.of("6*7?", max_seconds=limit), build("small_only"), pair, heard)
        if result.reasoning:
            break
        heard.clear()
    assert heard.told == result.reasoning + result.trace.ledger.text("answer")
    check_rows(result.trace)


async def test_the_outer_survivor_goes_on_where_the_tower_lost_a_server() -> None:
    pair = in_a_chain(big=SCRIPT)
    pair["small"].inner["big"] = Mortal(SCRIPT, lives=3)  # pyright: ignore
    result = await run(Problem.of("6*7?", degrade="big"), build("small_only"), pair, Recorded())
    assert result.degraded == "small"
    assert result.answer == "42"
    check_rows(result.trace)


async def test_without_a_survivor_the_error_names_the_role_and_the_server() -> None:
    pair = in_a_chain()
    pair["small"].inner["big"] = Mortal(SCRIPT, lives=-1)  # pyright: ignore
    with pytest.raises(EngineUnreachableError, match=GONE) as caught:
        await run(Problem.of("6*7?"), build("small_only"), pair)
    assert caught.value.role == "small"
    assert caught.value.trace


async def test_the_tower_goes_on_alone_inside_if_it_was_told_to() -> None:
    inner = Pair(Mortal(SCRIPT, lives=3), ScriptedEngine(SCRIPT))
    engine = TowerEngine(build("random_switch", {"switch_chunk": 5}), inner, degrade="small")
    result = await run(Problem.of("6*7?"), build("small_only"), Pair(ScriptedEngine(SCRIPT), engine))
    assert result.degraded == "small/big"
    assert result.reasoning == THOUGHT
    assert result.usage["small/small"].kept_tokens > 0
    check_rows(result.trace)


async def test_a_bug_of_the_inner_method_is_an_engines_error_with_its_name() -> None:
    class Broken(Method):
        async def think(self, chain: Chain) -> None:
            await chain.write("small", max_tokens=3)
            raise ZeroDivisionError("no")

    engine = TowerEngine(Broken(), scripted_pair(SCRIPT, SCRIPT))
    with pytest.raises(EngineError, match=r"broken\(small, big\) failed: ZeroDivisionError: no"):
        await run(Problem.of("6*7?"), build("small_only"), Pair(ScriptedEngine(SCRIPT), engine))


# ---- what can be one ------------------------------------------------------------------------------------------------


def test_the_models_must_share_a_vocabulary() -> None:
    with pytest.raises(UsageError, match="must share one vocabulary, got big and small"):
        TowerEngine(build("random_switch"), scripted_pair(widths=(1, 2)))


def test_wrong_arguments_are_told() -> None:
    pair: Any = scripted_pair()
    with pytest.raises(UsageError, match="degrade must be one of fail, big, small, got 'me'"):
        TowerEngine(build("random_switch"), pair, degrade="me")  # pyright: ignore
    with pytest.raises(UsageError, match="must have engines for big and small, got none for small"):
        TowerEngine(build("random_switch"), {"big": pair["big"]})
    with pytest.raises(UsageError, match="must be a Method, got 'random_switch'"):
        TowerEngine("random_switch", pair)  # pyright: ignore
    with pytest.raises(UnsupportedMethodError, match="trigger needs logprobs of the small model of the tower"):
        TowerEngine(build("trigger"), {"big": pair["big"], "small": tower()})


@pytest.mark.parametrize("method", ["offload", "handoff", "relay", "advisor"])
def test_a_hint_that_could_not_be_said_is_refused(method: str) -> None:
    with pytest.raises(UsageError, match=f"cannot add a hint to the problem, as {method} does; leave its hint out"):
        TowerEngine(build(method), scripted_pair())
    TowerEngine(build(method, {"hint": ""}), scripted_pair())


@pytest.mark.parametrize(("method", "wrappers"), [("cascade", []), ("random_switch", ["vote(ballots=3)"])])
def test_a_method_of_several_chains_is_refused(method: str, wrappers: list[str]) -> None:
    with pytest.raises(UsageError, match="must write one chain"):
        TowerEngine(build(method, {}, wrappers), scripted_pair())


# ---- prefills -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("cap", [1, 2, 3, 8, 20, 40, 61])
@pytest.mark.parametrize("every", [0, 1, 2, 5])
async def test_prefills_of_a_tower_do_not_exceed_the_cap(nested: bool, cap: int, every: int) -> None:
    async def think(chain: Chain) -> None:
        await asyncio.gather(chain.prefill("small"), chain.prefill("small"))
        while chain.thinking:
            await chain.write("big", max_tokens=6)
            await chain.prefill("small")
            assert (chain.left or 0) >= 0

    small = TowerEngine(build("random_switch"), Pair(ScriptedEngine(SCRIPT, name="outer"), tower())) if nested else tower()
    pair = Pair(ScriptedEngine(SCRIPT, name="big"), small)
    result = await run(Problem.of("6*7?", max_produced=cap, prefill_every=every), Verbs(script=think), pair)
    assert sum(cost.produced_tokens for role, cost in result.usage.items() if "/" not in role) <= cap
    check_rows(result.trace)
    again = Pair(*(ReplayEngine(result.trace, role, pair[role]) for role in ("big", "small")))
    replayed = await run(result.trace.started.problem, Verbs(script=think), again)
    assert (replayed.reasoning, replayed.text) == (result.reasoning, result.text)


async def test_a_prefill_shows_the_text_to_all_models_where_the_cap_allows() -> None:
    pair = in_a_chain()
    await Chain(Problem.of("6*7?", max_produced=50), pair).prefill("small")
    assert all(len(engine.calls) == 1 for engine in pair["small"].inner.values())  # pyright: ignore
