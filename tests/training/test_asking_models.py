"""Teaching a small model to ask: rows from labelled chains, rows from rollouts, and a training on both."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from statistics import mean

import pytest

from speculative.engines.local import BundledEngine
from speculative.engines.local.engine import SHIPPED
from speculative.evaluate.problems import problems
from speculative.methods.registry import build
from speculative.pair import Pair
from speculative.problem import Problem, Sampling
from speculative.result import Result
from speculative.runner import asolve
from speculative.trace.trace import Trace
from training.asking.labels import Labelled, supervise, thinking
from training.asking.rollouts import reinforce, reward
from training.asking.rows import Row, Span, load, save

BIG, SMALL, ASKING = "bundled:big", "bundled:small", "bundled:asking"
HARD = [one for one in problems("tuning") if one.level == 3]


@pytest.fixture(scope="module")
def labelled() -> tuple[Trace, Trace]:
    """A chain in which small fails at a step or more, without advice and with it."""
    return asyncio.run(label_both())


async def label_both() -> tuple[Trace, Trace]:
    async with Pair.open(BIG, SMALL) as pair:
        for one in HARD:
            problem = Problem.of(one.problem, sampling=Sampling(temperature=0.0))
            plain = (await asolve(problem, Labelled(), pair=pair)).trace
            if any(piece.author == "big" and piece.text for piece in thinking(plain)):
                return plain, (await asolve(problem, Labelled(advice=True), pair=pair)).trace
    raise AssertionError("small is right everywhere")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "tags"), [("offload", ("<bigmodel>\n", "</bigmodel>\n")), ("relay", ("<call>",)), ("handoff", ("<handoff>\n",))]
)
def test_a_labelled_chain_has_a_tag_before_each_part_that_big_had_to_write(
    labelled: tuple[Trace, Trace], method: str, tags: tuple[str, ...]
) -> None:
    trace = labelled[0]
    made = build(method)
    tokenizer = BundledEngine.open("small").tokenizer
    row = supervise(made, "the problem", trace, tokenizer)
    assert row.problem == f"the problem\n{made.hint}"  # type: ignore[attr-defined]
    big = [piece.text for piece in thinking(trace) if piece.author == "big" and piece.text]
    for place, span in enumerate(row.spans):
        before = row.spans[place - 1].text if place else ""
        assert (span.weight == 0) == (before.startswith(tags[0]))
        assert span.weight == 0 or span.text not in big
    plain = "".join(span.text for span in row.spans if not span.text.startswith(tags))
    reasoning = "".join(piece.text for piece in thinking(trace))
    if method == "handoff":
        assert row.spans[-1] == Span("<handoff>\n", 2.0)
        assert reasoning.startswith(plain)
        assert row.end is None
    else:
        assert plain == reasoning
        assert row.end == 1.0


def test_a_chain_with_advice_is_all_written_by_small_behind_its_tag(labelled: tuple[Trace, Trace]) -> None:
    row = supervise(build("advisor"), "the problem", labelled[1], BundledEngine.open("small").tokenizer)
    places = [place for place, span in enumerate(row.spans) if span.text == "<advice>\n"]
    assert places
    for place in places:
        assert row.spans[place].weight == 2.0
        assert row.spans[place + 1].weight == 0
        assert row.spans[place + 1].text.startswith("Hint 2:")
    assert all(span.weight for place, span in enumerate(row.spans) if place - 1 not in places)


@pytest.mark.slow
async def test_of_a_problems_rollouts_the_better_ones_are_learnt_and_the_worse_unlearnt() -> None:
    method, results = build("handoff"), list[Result]()
    async with Pair.open(BIG, ASKING) as pair:
        for seed in range(4):
            results.append(await asolve(Problem.of(HARD[0].problem, seed=seed), method, pair=pair))
    rewards = [reward(result, right, 0.5) for result, right in zip(results, (True, False, True, False), strict=True)]
    assert all(0.5 <= value <= 1 for value in rewards[::2])
    assert all(-0.5 <= value <= 0 for value in rewards[1::2])
    rows = reinforce("the problem", results, rewards)
    assert len(rows) == 4
    for row, result, value in zip(rows, results, rewards, strict=True):
        assert "".join(span.text for span in row.spans) == result.reasoning
        assert {span.weight for span in row.spans if span.weight} == {value - mean(rewards)}
    assert reinforce("the problem", results, [1.0] * 4) == []


def test_rows_are_read_as_they_were_written_and_a_damaged_line_is_told(tmp_path: Path) -> None:
    rows = [Row("a\nb", (Span("x", 1.0), Span("y")), None), Row("c", (Span("é", -0.25),), 1.0)]
    save(tmp_path / "rows.jsonl", rows)
    assert load([tmp_path / "rows.jsonl"]) == rows
    (tmp_path / "bad.jsonl").write_text("{}\n")
    with pytest.raises(SystemExit, match=r"bad.jsonl line 1 must be a row of `label` or `rollout`, got '\{\}'"):
        load([tmp_path / "rows.jsonl", tmp_path / "bad.jsonl"])


@pytest.mark.torch
@pytest.mark.timeout(600)
@pytest.mark.usefixtures("one_core")
def test_a_small_model_learns_its_tag_from_labels_and_goes_on_with_rollouts(tmp_path: Path) -> None:
    from training.asking.make import main

    own = Path(shutil.copytree(SHIPPED / "small", tmp_path / "own"))
    told = tmp_path / "problems.jsonl"
    told.write_text("".join(json.dumps({"problem": one.problem, "answer": one.answer}) + "\n" for one in HARD[:8]))
    rows, first, rollouts, second = (tmp_path / name for name in ("labels.jsonl", "first", "rollouts.jsonl", "second"))
    common = ["--problems", str(told), "--kind", "integer", "--max-tokens", "1500"]
    main(["label", "--big", BIG, "--small", str(own), *common, "--method", "handoff", "--out", str(rows)])
    handed = [row for row in load([rows]) if row.spans[-1].text == "<handoff>\n"]
    assert handed
    main(["tune", "--model", str(own), "--rows", str(rows), "--epochs", "12", "--batch", "4", "--rate", "1e-3", "--out", str(first)])
    assert (first / "config.json").read_bytes() == (own / "config.json").read_bytes()

    def hands_off(folder: Path) -> int:
        async def whole() -> int:
            async with Pair(BundledEngine.open("big"), BundledEngine.open(folder)) as pair:
                found = [
                    await asolve(Problem.of(row.problem.rpartition("\n")[0], sampling=Sampling(temperature=0.0)), "handoff", pair=pair)
                    for row in handed
                ]
            return sum("<handoff>" in result.reasoning for result in found)

        return asyncio.run(whole())

    assert hands_off(own) == 0
    assert hands_off(first) > 0
    main(["rollout", "--big", BIG, "--small", str(first), *common, "--method", "handoff", "--tries", "4", "--out", str(rollouts)])
    found = load([rollouts])
    assert {span.weight > 0 for row in found for span in row.spans if span.weight} == {True, False}
    main(["tune", "--model", str(first), "--rows", str(rollouts), "--epochs", "1", "--rate", "1e-4", "--out", str(second)])
    assert (second / "model.safetensors").read_bytes() != (first / "model.safetensors").read_bytes()
