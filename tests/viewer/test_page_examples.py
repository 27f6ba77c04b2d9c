"""The problems that the page offers."""

from importlib.resources import files
from math import lcm

import msgspec

from speculative.viewer.examples import CONTEST, LEVELS, examples


def answers():
    lines = files("speculative").joinpath("bundled", "problems.jsonl").read_bytes().splitlines()
    return {row["problem"]: row["answer"] for row in map(msgspec.json.decode, lines)}


def test_examples_are_the_pairs_own_problems_with_their_answers():
    known = answers()
    found = examples(["bundled:big", "bundled:asking"])
    assert len(found) == len({one.problem for one in found}) >= 3
    assert {one.level for one in found} <= set(LEVELS)
    assert all(known[one.problem] == one.answer for one in found)


def test_real_models_have_problems_of_a_contest():
    assert examples(["Qwen/QwQ-32B", "bundled:small"]) == list(CONTEST)


def test_answers_of_the_contest_are_right():
    counted = sum((number % 3 == 0) != (number % 5 == 0) for number in range(1, 1001))
    pairs = [a * (60 - a) for a in range(1, 60) if lcm(a, 60 - a) == 72]
    assert [one.answer for one in CONTEST] == [str(counted), str(pairs[0]), str(pow(7, 2026, 100))]
    assert len(set(pairs)) == 1
