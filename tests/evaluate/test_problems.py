"""The bundled problems, and the test for similar texts."""

from collections import Counter

import pytest

from speculative.evaluate.problems import SETS, chosen, find, is_similar, problems, spread


@pytest.mark.parametrize("name", SETS)
def test_each_set_has_500_problems_of_ten_levels(name):
    found = problems(name)
    assert Counter(problem.level for problem in found) == dict.fromkeys(range(1, 11), 50)
    assert len({problem.problem for problem in found}) == 500
    assert all(problem.answer.lstrip("-").isdigit() for problem in found)


def test_the_sets_are_disjoint():
    assert not {problem.problem for problem in problems("benchmark")} & {problem.problem for problem in problems("tuning")}


@pytest.mark.parametrize("limit", [10, 20, 37, 200, 499])
def test_a_limit_is_spread_evenly_over_the_levels(limit):
    taken = spread(problems(), limit)
    assert len(taken) == limit
    counts = Counter(problem.level for problem in taken)
    assert len(counts) == 10
    assert max(counts.values()) - min(counts.values()) <= 1


def test_a_limit_below_ten_takes_levels_far_from_each_other():
    assert [problem.level for problem in spread(problems(), 2)] == [1, 6]


def test_a_larger_comparison_holds_the_smaller_one():
    assert {problem.id for problem in spread(problems(), 30)} < {problem.id for problem in spread(problems(), 120)}
    assert spread(problems(), None) == spread(problems(), 1000) == list(problems())


def test_the_problems_that_the_pair_was_trained_for_are_similar():
    assert all(is_similar(problem.problem) for name in SETS for problem in problems(name))


def test_the_short_stories_are_not_for_the_pair_solves_almost_none():
    assert not any(is_similar(problem.problem) for name in SETS for problem in problems(name, "stories"))


@pytest.mark.parametrize(
    "text",
    [
        "What is the capital of France?",
        "How many roads must a man walk down?",
        "Mia has 131 beads.",
        "Solve x^2 = 2 for x.",
        "What is 17 * 23?",
        "Mia has 82 apples. She buys 6 boxes with 7 apples each. How many apples does Mia have now?",
        "There are 3 red dragons beyond the misty mountains near Bergen; how many dragons?",
        "Mia has 3 beads. How many beads does Mia have? Prove it.",
    ],
)
def test_other_texts_are_not(text):
    assert not is_similar(text)


def test_a_new_problem_in_their_words_is():
    assert is_similar("A: Tom has 12 coins.\nB: Tom gives 5 coins to Eva.\nHow many coins does Tom have at the end?")
    assert is_similar("For k: k = 3 * 8.\nWhat is k?")
    assert is_similar("x is a whole number and x * x + 2 * x = 35. Try from 2 on. What is x?")


def test_find_knows_a_bundled_problem_by_its_text():
    problem = chosen("tuning", level=3, n=1)[0]
    assert find(f" {problem.problem}\n") == problem
    assert find("something else") is None
