"""Intervals keep their promise: they hold the truth about 95 times of 100."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from speculative.stats.intervals import accuracy_interval, mean_estimate, student, wilson


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


def test_nothing_tried_says_nothing():
    assert wilson(0.0, 0) == accuracy_interval([]) == accuracy_interval([[]]) == (0.0, 1.0)


def test_one_try_a_problem_is_wilson():
    outcomes = [[place < 30] for place in range(50)]
    assert accuracy_interval(outcomes) == pytest.approx(wilson(0.6, 50))


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


def test_one_problem_says_little():
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


def test_students_t_is_that_of_the_tables():
    for df, t in [(4, 2.7764), (5, 2.5706), (9, 2.2622), (29, 2.0452), (1000, 1.9623)]:
        assert student(df) == pytest.approx(t, rel=3e-3)


@pytest.mark.parametrize(
    ("problems", "epochs", "alike"), [(60, 1, 0.0), (60, 4, 0.0), (60, 4, 0.5), (60, 4, 0.95), (200, 8, 0.5), (10, 8, 0.5)]
)
@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_the_interval_holds_the_truth(problems, epochs, alike, p):
    random = np.random.default_rng(7)
    held = 0
    for _ in range(400):
        if alike:
            strength = (1 - alike) / alike
            chances = random.beta(p * strength, (1 - p) * strength, problems)
        else:
            chances = np.full(problems, p)
        low, high = accuracy_interval((random.random((problems, epochs)) < chances[:, None]).tolist())
        held += low <= p <= high
    assert held / 400 >= 0.92
