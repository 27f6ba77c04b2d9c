"""The bundled pair: its engines, its dialect, and a method on its problems."""

import asyncio
import json
import shutil
from pathlib import Path

import pytest
from easy import EASY

from speculative.engines.base import CallStats, Decoding
from speculative.engines.local import BundledEngine
from speculative.engines.tokenizers.loader import SHIPPED, dialect_of
from speculative.errors import EngineError, WeightsError
from speculative.evaluate.problems import FOLDERS, SETS, chosen, find, problems, spread
from speculative.evaluate.tasks import TASKS, load
from speculative.methods.spec import parse_method
from speculative.pair import Pair
from speculative.problem import Message, Problem, Sampling
from speculative.prompts import Question, find_dialect
from speculative.prompts.parts import encode_parts
from speculative.runner import asolve
from speculative.trace.events import Rewarded

BIG, SMALL = "bundled:big", "bundled:small"
STEPS = tuple(f"A: Mia has 40 nuts: Mia 40.\n\nB: Mia buys 8 more nuts, 40+8={end}: Mia {end}.\n\n" for end in (48, 53))
"""The steps of `EASY`, right and wrong."""


@pytest.fixture
async def pair():
    async with Pair.open(BIG, SMALL) as opened:
        yield opened


async def test_both_models_carry_their_specs_name_and_one_dialect(pair: Pair) -> None:
    assert [pair[role].name for role in ("big", "small")] == [BIG, SMALL]
    assert {pair[role].dialect for role in ("big", "small")} == {"bundled"}
    assert pair["big"].tokenizer.fingerprint == pair["small"].tokenizer.fingerprint
    assert dialect_of(pair["big"].tokenizer) == "bundled"


async def test_a_folder_with_the_same_tokenizer_speaks_the_same_dialect() -> None:
    engine = BundledEngine.open(SHIPPED.parent.parent / "small")
    assert engine.dialect == "bundled"
    await engine.aclose()


@pytest.mark.slow
async def test_big_solves_more_than_small(pair: Pair) -> None:
    some, right = spread(problems("tuning"), 20), dict[str, int]()
    for name in ("big_only", "small_only"):
        found = await asyncio.gather(*(asolve(Problem.of(one.problem, max_tokens=1500), name, pair=pair) for one in some))
        right[name] = sum(result.answer == one.answer for result, one in zip(found, some, strict=True))
    assert right["big_only"] > right["small_only"]


async def test_a_method_ends_on_a_problem_with_steps_of_both(pair: Pair) -> None:
    solved = await asolve(EASY, "random_switch", pair=pair)
    assert solved.finish_reason == "stop"
    assert {"big", "small"} <= set(solved.usage)


async def test_big_tells_a_wrong_step_from_a_right_one_in_one_token(pair: Pair) -> None:
    big, dialect = pair["big"], find_dialect("bundled")
    assert dialect.judges_at_once
    scores, digits = list[float](), tuple(big.tokenizer.encode("09"))
    for step in STEPS:
        messages = [Message("user", EASY)]
        asking = dialect.ask(Question("judge"), messages, step)
        ids = encode_parts(big.tokenizer, [*dialect.prompt(messages, ""), step, *asking.parts])
        [[reply]] = await big.complete([ids], Decoding(max_tokens=1, temperature=0.0, choices=digits), key="", stats=CallStats())
        assert big.tokenizer.to_bytes(reply.ids).decode() in {"0", "9"}
        assert reply.choice_logprobs
        scores.append(reply.choice_logprobs[1] - reply.choice_logprobs[0])
    assert scores[0] > scores[1]


async def test_the_reward_of_a_right_step_is_higher_than_that_of_a_wrong_one() -> None:
    judge, dialect = BundledEngine.open("reward"), find_dialect("bundled")
    prompt = dialect.prompt([Message("user", EASY)], "")
    texts = [encode_parts(judge.tokenizer, [*prompt, step]) for step in STEPS]
    stats = CallStats()
    right, wrong = await judge.reward(texts, key="", stats=stats)
    assert 0 <= wrong < right <= 1
    assert stats == CallStats(requests=1, prompt_tokens=sum(map(len, texts)), cached_tokens=stats.cached_tokens)
    assert await judge.reward(texts[:1], key="", stats=stats) == [right]
    assert stats.cached_tokens > 0
    assert await judge.reward([], key="", stats=stats) == []
    for call in (judge.complete(texts, Decoding(4), key="", stats=stats), judge.score(texts, texts, key="", stats=stats)):
        with pytest.raises(EngineError, match="reward model; use it as the judge"):
            await call
    await judge.aclose()


async def test_a_model_that_writes_gives_no_rewards(pair: Pair) -> None:
    with pytest.raises(EngineError, match="gives no rewards"):
        await BundledEngine.reward(pair["small"], [(1,)], key="", stats=CallStats())  # type: ignore[arg-type]


def test_a_damaged_reward_model_is_told(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(SHIPPED.parent.parent / "reward", tmp_path / "model"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"reward_ids": [0, 9999]}))
    with pytest.raises(WeightsError, match="reward_ids must be the ids of two tokens"):
        BundledEngine.open(folder)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["reward_guided", "tilted_best", "advantage(mode=oracle)"])
async def test_methods_take_the_reward_model_as_their_judge(name: str) -> None:
    async with Pair.open(BIG, SMALL, "bundled:reward") as trio:
        solved = await asolve(EASY, parse_method(name).method, pair=trio)
    rewards = [reward for event in solved.trace.events if isinstance(event, Rewarded) for reward in event.rewards if reward is not None]
    assert solved.finish_reason == "stop"
    assert solved.usage["judge"].prompt_tokens
    assert rewards
    assert all(0 <= reward <= 1 for reward in rewards)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "tag"), [("offload", "<bigmodel>"), ("relay", "<call>"), ("handoff", "<handoff>"), ("advisor", "<advice>")]
)
async def test_the_asking_model_writes_the_tag_of_a_method_and_big_answers_it(name: str, tag: str) -> None:
    async with Pair.open(BIG, "bundled:asking") as trio:
        for one in spread(problems("tuning"), 30):
            solved = await asolve(Problem.of(one.problem, sampling=Sampling(temperature=0.0)), name, pair=trio)
            if tag in solved.reasoning:
                break
    usage = solved.usage["big"]
    assert solved.finish_reason == "stop"
    assert tag in solved.reasoning
    assert (usage.discarded_tokens if name == "advisor" else usage.kept_tokens) > 0


def test_the_problems_of_a_task_are_found_by_their_task() -> None:
    assert load(TASKS["tunnel"]) == list(problems())
    for task in FOLDERS:
        for name in SETS:
            rows = problems(name, task)
            assert len(rows) == len({row.id for row in rows}) == len({row.problem for row in rows}) == 500
            assert {row.task for row in rows} == {task}
    one = chosen("tuning", level=3, n=1)[0]
    assert find(one.problem) == one
