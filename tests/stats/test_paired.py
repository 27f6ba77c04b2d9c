"""Paired differences: the test holds its rate, the interval holds the truth, and both know what a pair is."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from samples import sample

from speculative.stats.paired import LEAST_P, contrast, paired, paired_interval, sign_flip
from speculative.stats.prices import Prices
from speculative.trace.usage import Usage

LEADS = st.lists(st.integers(-4, 4), min_size=1, max_size=10)


@settings(max_examples=150, deadline=None)
@given(LEADS)
def test_the_p_value_counts_all_sign_patterns(leads):
    sums = [sum(sign * lead for sign, lead in zip(signs, leads, strict=True)) for signs in product((1, -1), repeat=len(leads))]
    assert sign_flip(leads) == pytest.approx(np.mean([abs(total) >= abs(sum(leads)) for total in sums]), abs=1e-12)


@given(LEADS)
def test_who_is_held_against_whom_does_not_matter(leads):
    turned = [-lead for lead in leads]
    assert sign_flip(leads) == sign_flip(turned)
    low, high = paired_interval(leads, [4] * len(leads), sign_flip(leads))
    assert paired_interval(turned, [4] * len(leads), sign_flip(turned)) == pytest.approx((-high, -low))


@given(LEADS, st.integers(4, 64))
def test_the_interval_holds_the_difference_and_agrees_with_the_test(leads, tries):
    p = sign_flip(leads)
    low, high = paired_interval(leads, [tries] * len(leads), p)
    assert -1 <= low <= sum(leads) / (tries * len(leads)) <= high <= 1
    assert low < high
    assert p <= 0.05 or low <= 0 <= high


def test_with_one_try_a_problem_it_is_mcnemars_exact_test():
    assert sign_flip([1] * 8 + [-1] * 2 + [0] * 90) == pytest.approx(2 * (1 + 10 + 45) / 2**10)  # binomial(10, 1/2)


def test_many_problems_are_no_trouble():
    assert sign_flip([1] * 60_000 + [-1] * 60_000) == 1
    assert sign_flip([64] * 5000) == LEAST_P
    assert sign_flip([1] * 520 + [-1] * 480) == pytest.approx(0.218, abs=0.002)  # normal, with a half added for continuity


def test_nothing_that_differs_is_no_proof_of_equality():
    low, high = paired_interval([0] * 20, [1] * 20, 1.0)
    assert low < -0.05
    assert high > 0.05
    assert paired_interval([1], [1], 1.0) == (-1, 1)


RATE = 0.05
RUNS = 1000


def chances(random, problems, shift, unlike):
    """For each problem the chance of either method; `unlike` is how far the difference varies between problems."""
    own = random.beta(1.5, 1.5, problems)
    other = np.clip(own + shift + unlike * random.standard_normal(problems), 0, 1)
    return own, other


@pytest.mark.parametrize(("problems", "epochs"), [(6, 8), (10, 1), (30, 1), (30, 8), (100, 4)])
@pytest.mark.parametrize("unlike", [0.0, 0.2])
def test_no_difference_is_found_at_the_stated_rate_at_most(problems, epochs, unlike):
    random = np.random.default_rng(11)
    found = held = 0
    for _ in range(RUNS):
        own, other = chances(random, problems, 0, unlike)
        lead = random.binomial(epochs, own) - random.binomial(epochs, other)
        p = sign_flip(lead)
        low, high = paired_interval(lead, np.full(problems, epochs), p)
        found += p <= RATE
        held += low <= 0 <= high
    spread = 3 * (RATE * (1 - RATE) / RUNS) ** 0.5
    assert found / RUNS <= RATE + spread
    assert held / RUNS >= 1 - RATE - spread


@pytest.mark.parametrize(("problems", "epochs", "power"), [(30, 8, 0.7), (100, 4, 0.9), (500, 1, 0.85)])
def test_a_planted_difference_is_found(problems, epochs, power):
    random = np.random.default_rng(12)
    truth = np.subtract(*reversed(chances(random, 100_000, 0.12, 0.1))).mean()
    found = held = 0
    for _ in range(300):
        own, other = chances(random, problems, 0.12, 0.1)
        lead = random.binomial(epochs, other) - random.binomial(epochs, own)
        p = sign_flip(lead)
        low, high = paired_interval(lead, np.full(problems, epochs), p)
        found += p <= RATE and lead.sum() > 0
        held += low <= truth <= high
    assert found / 300 >= power
    assert held / 300 >= 0.92


def test_a_contrast_takes_what_both_have():
    ours = [sample(f"p{place}", "vote", usage={"small": Usage(produced_tokens=10, kept_tokens=10)}) for place in range(6)]
    theirs = [sample(f"p{place}", "big_only", correct=place < 2, epoch=epoch) for place in range(2, 8) for epoch in range(2)]
    prices = Prices.model_validate({"flops": {"parameters": {"big": 30.0, "small": 2.0}}})
    made = contrast(ours, theirs, prices)
    assert (made.label, made.against, made.problems, made.chains) == ("vote", "big_only", 4, 4)
    assert made.difference == 1
    assert made.p == 0.125
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
