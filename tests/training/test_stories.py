"""The stories of the task `stories`: right, disjoint, and the same on every machine."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from pathlib import Path

import pytest

from training.slips import misreckon
from training.stories import LARGEST, LEVELS, draw, held_out, records, split_of

BUNDLED = Path(__file__).parents[2] / "src" / "speculative" / "bundled" / "stories"
EQUATION = re.compile(r"(\d+)([-+*/])(\d+)=(\d+)")


def holds(left: str, sign: str, right: str, result: str) -> bool:
    a, b, c = int(left), int(right), int(result)
    return {"+": a + b == c, "-": a - b == c, "*": a * b == c, "/": b > 0 and a == b * c}[sign]


@pytest.mark.parametrize("level", LEVELS)
def test_a_solution_is_right_and_ends_on_the_answer(level: int) -> None:
    for seed in range(20):
        story = draw(random.Random(seed), level)
        steps = story.steps()
        assert len(steps) == level + 2
        assert all(step.endswith(".\n\n") and step.count("\n") == 2 for step in steps)
        assert all(holds(*equation) for step in steps for equation in EQUATION.findall(step))
        assert steps[-1] == f"So the answer is {story.answer}.\n\n"
        assert all(0 <= value <= LARGEST for value in story.values)


def test_every_number_of_the_solution_is_in_the_problem() -> None:
    for seed in range(50):
        story = draw(random.Random(seed), 10)
        told = Counter(re.findall(r"\d+", story.problem))
        for operation in story.operations:
            halved = operation.a == 2 and operation.kind in ("times", "share")
            assert halved or told[str(operation.a)]
            assert not operation.grouped or told[str(operation.b)]
        assert told[str(story.start)]


@pytest.mark.slow
def test_the_three_sets_share_no_structure() -> None:
    rng = random.Random(0)
    benchmark, tuning = ({s.structure for s in held_out(split)} for split in ("benchmark", "tuning"))
    training = {draw(rng, level).structure for level in LEVELS for _ in range(200)}
    assert len(benchmark) == len(tuning) == 500
    assert not benchmark & tuning
    assert not training & (benchmark | tuning)
    assert {split_of(s) for s in benchmark} == {"benchmark"}
    assert {split_of(s) for s in tuning} == {"tuning"}
    assert {split_of(s) for s in training} == {"training"}


@pytest.mark.parametrize(("name", "split"), [("problems", "benchmark"), ("tuning", "tuning")])
def test_the_shipped_files_are_what_the_generator_makes(name: str, split: str) -> None:
    rows = [json.loads(line) for line in (BUNDLED / f"{name}.jsonl").read_text().splitlines()]
    assert rows == records(split)  # type: ignore[arg-type]
    assert len({row["id"] for row in rows}) == len({row["problem"] for row in rows}) == 500
    assert Counter(row["level"] for row in rows) == dict.fromkeys(LEVELS, 50)
    assert all(row["answer"] == str(int(row["answer"])) for row in rows)


def test_a_wrong_result_is_another_number_within_the_bounds() -> None:
    rng = random.Random(1)
    for sign in ("+", "-", "*", "/"):
        for _ in range(200):
            right = rng.randint(0, LARGEST)
            made = misreckon(rng, right, rng.randint(0, LARGEST), sign)
            assert made != right
            assert 0 <= made <= LARGEST
