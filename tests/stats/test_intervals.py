"""Intervals contain the true value in about 95 of 100 cases."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from profiles import examples, quick_cases

from speculative.stats.intervals import TAIL, ProblemSample, accuracy_interval, mean_estimate, wilson


def test_wilson_agrees_with_the_published_example():
    low, high = wilson(81 / 263, 263)  # Newcombe 1998, table I, method 3
    assert (round(low, 4), round(high, 4)) == (0.2553, 0.3662)
    assert tuple(round(bound, 4) for bound in wilson(0.0, 20)) == (0.0, 0.1611)


@pytest.mark.parametrize("p", [0.0, 0.5, 1.0])
def test_wilson_is_an_interval_around_p_within_0_and_1(p):
    low, high = wilson(p, 10)
    assert 0 <= low <= p <= high <= 1
    assert high - low > 0.1
    assert math.isclose(low, 1 - wilson(1 - p, 10)[1], abs_tol=1e-12)


def test_without_tries_the_interval_is_the_whole_range():
    assert wilson(0.0, 0) == accuracy_interval([]) == accuracy_interval([[]]) == (0.0, 1.0)


def test_one_try_a_problem_is_nearly_wilson():
    outcomes = [[place < 30] for place in range(50)]
    assert accuracy_interval(outcomes) == pytest.approx(wilson(0.6, 50), abs=0.001)


def test_all_right_never_looks_less_certain_than_one_wrong():
    right, once = [[True] * 64] * 30, [[True] * 64] * 29 + [[True] * 63 + [False]]
    (low, high), (lower, less) = accuracy_interval(right), accuracy_interval(once)
    assert low >= lower
    assert high == 1 >= less
    assert low == pytest.approx(0.025 ** (1 / 31))  # of the beta distribution of the share that is unlike these


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(st.integers(0, 8), min_size=1, max_size=12), st.data())
def test_a_better_result_never_has_a_lower_bound(solved, data):
    better = [data.draw(st.integers(right, 8)) for right in solved]
    one, other = (accuracy_interval([[place < right for place in range(8)] for right in tried]) for tried in (solved, better))
    assert one[0] <= other[0] + 1e-6
    assert one[1] <= other[1] + 1e-6


@pytest.mark.parametrize("count", [1, 2, 5, 30, 500])
@pytest.mark.parametrize("value", [1, 0.1, 0.01, 0.001])
def test_the_distribution_is_right_where_it_is_known(count, value):
    one = ProblemSample.of([value] * count, [1] * count, -1, value)  # count + 1 alike, and one at -1: a beta distribution
    assert one.probability_below(0) == pytest.approx((1 + value) ** -(count + 1), abs=1e-5)


@settings(max_examples=examples(20), deadline=None)
@given(st.lists(st.tuples(st.floats(0, 1), st.integers(1, 4)), min_size=1, max_size=15), st.floats(0.05, 0.95))
def test_the_distribution_is_that_of_draws(problems, bound):
    values, tries = map(np.array, zip(*problems, strict=True))
    one = ProblemSample.of(values * tries, tries, 0, 1)
    weights = np.random.default_rng(3).standard_exponential((20_000, len(values) + 2))
    size = tries.mean()
    means = (weights[:, :-2] @ (values * tries) + weights[:, -1] * size) / (weights[:, :-2] @ tries + weights[:, -2:].sum(axis=1) * size)
    assert one.probability_below(bound) == pytest.approx((means <= bound).mean(), abs=0.02)


def test_tries_that_always_agree_count_as_one():
    once = [[place < 30] for place in range(50)]
    assert accuracy_interval([tried * 8 for tried in once]) == pytest.approx(accuracy_interval(once), abs=0.003)


def test_tries_that_do_not_depend_on_the_problem_all_count():
    random = np.random.default_rng(5)
    outcomes = (random.random((200, 8)) < 0.6).tolist()
    p = float(np.mean(outcomes))
    low, high = accuracy_interval(outcomes)
    wilsons = wilson(p, 1600)
    assert high - low == pytest.approx(wilsons[1] - wilsons[0], rel=0.15)


def test_one_problem_gives_a_wide_interval():
    low, high = accuracy_interval([[True] * 50])
    assert high - low > 0.5


@given(st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=1, max_size=30))
def test_any_outcomes_have_an_interval_around_their_mean(outcomes):
    p = float(np.mean(outcomes))
    low, high = accuracy_interval(outcomes)
    assert 0 <= low <= p <= high <= 1
    assert high - low >= np.subtract(*wilson(p, 3 * len(outcomes))[::-1]) - 1e-9  # never as if there were more tries
    turned = accuracy_interval([[not tried for tried in tries] for tries in outcomes])
    assert turned == pytest.approx((1 - high, 1 - low))
    made = mean_estimate([np.mean(tries) for tries in outcomes])
    assert made.low <= made.value <= made.high
    assert made.value == pytest.approx(p)


@pytest.mark.parametrize(
    ("problems", "epochs", "alike"), quick_cases([(60, 4, 0.5), (60, 1, 0.0), (60, 4, 0.0), (60, 4, 0.95), (200, 8, 0.5), (10, 8, 0.5)])
)
@pytest.mark.parametrize("p", [0.1, 0.5, pytest.param(0.9, marks=pytest.mark.slow)])  # the interval of 0.9 is that of 0.1 turned round
def test_the_interval_holds_the_truth(problems, epochs, alike, p):
    random = np.random.default_rng(7)
    held = 0
    for _ in range(200):
        if alike:
            strength = (1 - alike) / alike
            chances = random.beta(p * strength, (1 - p) * strength, problems)
        else:
            chances = np.full(problems, p)
        low, high = accuracy_interval((random.random((problems, epochs)) < chances[:, None]).tolist())
        held += low <= p <= high
    assert held / 200 >= 0.92


MOSTLY_EQUAL = [
    ([0] * 97 + [2, 2, 1], 2),
    ([0] * 97 + [-1, -1, -2], 2),
    ([0] * 66 + [-2] * 17 + [-1] * 17, 2),
    ([0] * 99 + [1], 1),
    ([0] * 499 + [-1] * 3, 1),
]


@pytest.mark.parametrize(("totals", "tries"), MOSTLY_EQUAL, ids=str)
def test_the_distribution_is_that_of_the_weights_where_most_problems_are_equal(totals: list[int], tries: int) -> None:
    """Many equal values are a pole of high order near the path of the integral."""
    one, size = ProblemSample.of(totals, [tries] * len(totals), -1, 1), len(totals)
    weights = np.random.default_rng(7).exponential(size=(20_000, size + 2))
    means = (weights @ np.array([*totals, -tries, tries])) / (tries * weights.sum(axis=1))
    bounds = np.linspace(means.min(), means.max(), 61)
    found = [one.probability_below(bound) for bound in bounds]
    assert np.abs(np.array(found) - [(means <= bound).mean() for bound in bounds]).max() < 0.015
    assert np.all(np.diff(found) >= -1e-9)
    low, high = one.interval()
    assert one.probability_below(low) == pytest.approx(TAIL, abs=1e-6)
    assert one.probability_below(high) == pytest.approx(1 - TAIL, abs=1e-6)
    assert low < one.mean < high
