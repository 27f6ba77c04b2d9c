"""Paired differences: the error rate with skewed differences, intervals, and pairing."""

import sys
from math import comb
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from profiles import examples
from samples import sample

from speculative.stats.intervals import MIN_P, ProblemSample
from speculative.stats.paired import contrast, exact_p, paired
from speculative.stats.prices import Prices
from speculative.trace.usage import Usage

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
from paired import NULLS, rates

LEADS = st.lists(st.integers(-4, 4), min_size=1, max_size=10)
RATE = 5.0
"""Per cent of comparisons without a difference in which one may be found."""


def differences(leads, tries):
    return ProblemSample.of(leads, [tries] * len(leads), -1, 1)


@given(LEADS)
def test_swapping_the_methods_turns_the_signs(leads):
    one, turned = differences(leads, 4), differences([-lead for lead in leads], 4)
    assert one.p_value() == pytest.approx(turned.p_value(), abs=1e-6)
    low, high = one.interval()
    assert turned.interval() == pytest.approx((-high, -low), abs=1e-6)
    assert exact_p(np.sign(leads)) == exact_p(-np.sign(leads))


@settings(max_examples=examples(150), deadline=None)
@given(LEADS, st.integers(4, 64))
def test_the_interval_holds_the_difference_and_agrees_with_the_test(leads, tries):
    one = differences(leads, tries)
    p, (low, high) = one.p_value(), one.interval()
    assert -1 <= low <= sum(leads) / (tries * len(leads)) <= high <= 1
    assert low < high
    assert abs(p - 0.05) < 1e-6 or (p > 0.05) == (low <= 0 <= high)


def test_on_the_same_problems_it_is_mcnemars_exact_test():
    assert exact_p([1] * 8 + [-1] * 2 + [0] * 90) == pytest.approx(2 * (1 + 10 + 45) / 2**10)  # binomial(10, 1/2)
    assert exact_p([0] * 5) == exact_p([]) == exact_p([1, -1]) == 1
    assert exact_p([-1] * 9 + [1] * 4) == pytest.approx(2 * sum(comb(13, k) for k in range(5)) / 2**13)


def test_many_problems_are_computed():
    assert exact_p([1] * 60_000 + [-1] * 60_000) == 1
    assert exact_p([1] * 5000) == MIN_P
    assert exact_p([1] * 520 + [-1] * 480) == pytest.approx(0.218, abs=0.002)  # normal, with a half added for continuity
    assert differences([64] * 5000, 64).p_value() == MIN_P
    assert differences([1] * 520 + [-1] * 480, 1).p_value() == pytest.approx(0.206, abs=0.002)  # normal
    assert differences([1] * 500 + [-1] * 500, 1).p_value() == pytest.approx(1)


def test_equal_results_do_not_prove_equality():
    low, high = differences([0] * 20, 1).interval()
    assert low < -0.05
    assert high > 0.05
    low, high = differences([1], 1).interval()
    assert low < 0
    assert high == 1


SKEWED = [(name, problems) for name in NULLS for problems in (10, 20, 30)]
QUICK = [("lognormal", 20), ("1 in 10 gains 90", 10), ("1 in 20 gains 90", 30)]


@pytest.mark.parametrize(("name", "problems"), [pytest.param(*one, marks=[] if one in QUICK else pytest.mark.slow) for one in SKEWED])
def test_skewed_differences_are_found_at_the_stated_rate_at_most_with_64_tries(name, problems):
    runs = 300
    found, _, _, held = rates(NULLS[name], problems, 64, 0.0, runs, 11)
    noise = 300 * (RATE / 100 * (1 - RATE / 100) / runs) ** 0.5
    assert found <= RATE + noise
    assert held >= 100 - RATE - noise


def chances(random, problems, shift, unlike):
    """For each problem the chance of either method; `unlike` is how far the difference varies between problems."""
    own = random.beta(1.5, 1.5, problems)
    other = np.clip(own + shift + unlike * random.standard_normal(problems), 0, 1)
    return own, other


@pytest.mark.parametrize(("problems", "epochs"), [(6, 8), (10, 1), (30, 1), (30, 8), (100, 4)])
@pytest.mark.parametrize("unlike", [0.0, 0.2])
def test_no_difference_is_found_at_the_stated_rate_at_most(problems, epochs, unlike):
    random = np.random.default_rng(11)
    runs, found = 400, 0
    for _ in range(runs):
        own, other = chances(random, problems, 0, unlike)
        one = differences(random.binomial(epochs, own) - random.binomial(epochs, other), epochs)
        found += one.p_value() <= 0.05
    noise = 3 * (0.05 * 0.95 / runs) ** 0.5
    assert found / runs <= 0.05 + noise


def test_on_fixed_problems_no_difference_is_found_at_the_stated_rate_at_most():
    random = np.random.default_rng(13)
    own = np.array([0.9, 0.5, 0.1, 0.3])
    other = np.array([0.6, 0.6, 0.4, 0.2])  # unlike on every problem, and the same on average
    runs = 1000
    pairs = [(random.random((4, 16)) < own[:, None]).astype(int) - (random.random((4, 16)) < other[:, None]) for _ in range(runs)]
    assert np.mean([exact_p(lead.ravel()) <= 0.05 for lead in pairs]) <= 0.05 + 3 * (0.05 * 0.95 / runs) ** 0.5


@pytest.mark.parametrize(("problems", "epochs", "power"), [(30, 8, 0.25), (100, 4, 0.9), (500, 1, 0.85)])
def test_a_planted_difference_is_found(problems, epochs, power):
    random = np.random.default_rng(12)
    truth = np.subtract(*reversed(chances(random, 100_000, 0.12, 0.1))).mean()
    found = here = held = 0
    for _ in range(200):
        own, other = chances(random, problems, 0.12, 0.1)
        pairs = (random.random((problems, epochs)) < other[:, None]).astype(int) - (random.random((problems, epochs)) < own[:, None])
        one = differences(pairs.sum(axis=1), epochs)
        found += one.p_value() <= 0.05 and one.mean > 0
        here += exact_p(pairs.ravel()) <= 0.05
        held += one.p_value(truth) > 0.05  # then the interval holds it
    assert found / 200 >= power
    assert here / 200 >= 0.7
    assert held / 200 >= 0.92


def test_a_contrast_uses_common_problems():
    ours = [sample(f"p{place}", "vote", usage={"small": Usage(produced_tokens=10, kept_tokens=10)}) for place in range(6)]
    theirs = [sample(f"p{place}", "big_only", correct=place < 2, epoch=epoch) for place in range(2, 8) for epoch in range(2)]
    prices = Prices.model_validate({"flops": {"parameters": {"big": 30.0, "small": 2.0}}})
    made = contrast(ours, theirs, prices)
    assert (made.label, made.against, made.problems, made.chains) == ("vote", "big_only", 4, 4)
    assert made.difference == 1
    assert made.p == pytest.approx(2 / 2**5)  # four problems, and one at the other end
    assert made.p_here == 0.125
    assert made.share_kept == (0, 1)
    assert made.costs == {"flops": pytest.approx(2 * 10 / (30 * 3))}
    assert contrast(ours, [sample("elsewhere", "big_only")]) is None


def test_chains_are_paired_by_epoch_and_seed_and_else_in_that_order():
    def seeds(mine, yours):
        one = [sample("p", "a", epoch=epoch, seed=seed) for epoch, seed in mine]
        other = [sample("p", "b", epoch=epoch, seed=seed) for epoch, seed in yours]
        return [(our.seed, their.seed) for our, their in paired(one, other)]

    assert seeds([(1, 4), (0, 9), (0, 3)], [(0, 9), (1, 4), (0, 5)]) == [(9, 9), (4, 4)]
    assert seeds([(1, 4), (0, 9), (0, 3)], [(0, 8), (0, 5)]) == [(3, 5), (9, 8)]
