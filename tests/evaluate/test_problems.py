"""The bundled problems, and what is of their kind."""

from collections import Counter

import pytest

from speculative.evaluate.problems import SETS, chosen, find, of_their_kind, problems, spread


@pytest.mark.parametrize("name", SETS)
def test_each_set_has_500_problems_of_ten_levels(name):
    found = problems(name)
    assert Counter(stated.level for stated in found) == dict.fromkeys(range(1, 11), 50)
    assert len({stated.problem for stated in found}) == 500
    assert all(stated.answer.lstrip("-").isdigit() for stated in found)


def test_the_sets_are_disjoint():
    assert not {stated.problem for stated in problems("benchmark")} & {stated.problem for stated in problems("tuning")}


@pytest.mark.parametrize("limit", [10, 20, 37, 200, 499])
def test_a_limit_is_spread_evenly_over_the_levels(limit):
    taken = spread(problems(), limit)
    assert len(taken) == limit
    counts = Counter(stated.level for stated in taken)
    assert len(counts) == 10
    assert max(counts.values()) - min(counts.values()) <= 1


def test_a_limit_below_ten_takes_levels_far_from_each_other():
    assert [stated.level for stated in spread(problems(), 2)] == [1, 6]


def test_a_larger_comparison_holds_the_smaller_one():
    assert {stated.id for stated in spread(problems(), 30)} < {stated.id for stated in spread(problems(), 120)}
    assert spread(problems(), None) == spread(problems(), 1000) == list(problems())


def test_all_bundled_problems_are_of_their_kind():
    assert all(of_their_kind(stated.problem) for name in SETS for stated in problems(name))


@pytest.mark.parametrize(
    "text",
    [
        "What is the capital of France?",
        "How many roads must a man walk down?",
        "Mia has 131 beads.",
        "Solve x^2 = 2 for x.",
        "There are 3 red dragons beyond the misty mountains near Bergen; how many dragons?",
        "Mia has 3 beads. How many beads does Mia have? Prove it.",
    ],
)
def test_other_texts_are_not(text):
    assert not of_their_kind(text)


def test_a_new_story_in_their_words_is():
    assert of_their_kind("Tom has 12 coins. He gives 5 coins to Eva. Then he finds 9 coins. How many coins does Tom have now?")


def test_find_knows_a_bundled_problem_by_its_text():
    stated = chosen("tuning", level=3, n=1)[0]
    assert find(f" {stated.problem}\n") == stated
    assert find("something else") is None
