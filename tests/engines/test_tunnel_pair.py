"""The harder bundled pair: its engines, its dialect, and a method on its problems."""

import pytest

from speculative.engines.base import CallStats, Decoding
from speculative.engines.local import BundledEngine
from speculative.engines.tokenizers.loader import SHIPPED, dialect_of
from speculative.evaluate.problems import FOLDERS, SETS, chosen, find, problems
from speculative.evaluate.tasks import TASKS, load
from speculative.pair import Pair
from speculative.problem import Message
from speculative.prompts import Question, find_dialect
from speculative.prompts.parts import encode_parts
from speculative.runner import asolve

BIG, SMALL = "bundled:tunnel-big", "bundled:tunnel-small"


@pytest.fixture
async def pair():
    async with Pair.open(BIG, SMALL) as opened:
        yield opened


async def test_both_models_carry_their_specs_name_and_one_dialect(pair: Pair) -> None:
    assert [pair[role].name for role in ("big", "small")] == [BIG, SMALL]
    assert {pair[role].dialect for role in ("big", "small")} == {"tunnel"}
    assert pair["big"].tokenizer.fingerprint == pair["small"].tokenizer.fingerprint
    assert dialect_of(pair["big"].tokenizer) == "tunnel"


async def test_a_folder_with_the_same_tokenizer_speaks_the_same_dialect() -> None:
    engine = BundledEngine.open(SHIPPED["tunnel"].parent.parent / "small")
    assert engine.dialect == "tunnel"
    await engine.aclose()


async def test_big_solves_what_small_does_not(pair: Pair) -> None:
    chosen = [one for one in problems("tuning", "tunnel") if one.problem.startswith("Here are some numbers.")][60:64]
    right = {
        name: [(await asolve(one.problem, name, pair=pair)).answer == one.answer for one in chosen] for name in ("big_only", "small_only")
    }
    assert all(right["big_only"])
    assert not all(right["small_only"])


async def test_a_method_ends_on_a_problem_with_steps_of_both(pair: Pair) -> None:
    solved = await asolve(problems(task="tunnel")[130].problem, "random_switch", pair=pair)
    assert solved.finish_reason == "stop"
    assert {"big", "small"} <= set(solved.usage)


async def test_big_tells_a_wrong_step_in_one_token(pair: Pair) -> None:
    big, dialect = pair["big"], find_dialect("tunnel")
    assert dialect.judges_at_once
    told = "Here are some numbers.\nA: 12\nB: 35\nC: 48\nD: 7\nE: 20\nF: 31\nG: 64\nH: 9\nHow many of them are even?"
    scores: list[str] = []
    for step in ("A: 12 is even, count 0+1=1.\n\n", "A: 12 is odd, no, count 0.\n\n"):
        messages = [Message("user", told)]
        asking = dialect.ask(Question("judge"), messages, step)
        ids = encode_parts(big.tokenizer, [*dialect.prompt(messages, ""), step, *asking.parts])
        [[reply]] = await big.complete([ids], Decoding(max_tokens=1, temperature=0.0), key="", stats=CallStats())
        scores.append(big.tokenizer.to_bytes(reply.ids).decode())
    assert scores == ["9", "0"]


def test_the_problems_of_a_task_are_found_by_their_task() -> None:
    assert load(TASKS["tunnel"]) == list(problems(task="tunnel"))
    for task in FOLDERS:
        for name in SETS:
            rows = problems(name, task)
            assert len(rows) == len({row.id for row in rows}) == len({row.problem for row in rows}) == 500
            assert {row.task for row in rows} == {task}
    one = chosen("tuning", level=3, n=1, task="tunnel")[0]
    assert find(one.problem) == one
