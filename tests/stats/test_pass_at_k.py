"""pass@k and maj@k, compared with enumerating all choices of k tries."""

from collections import Counter
from itertools import combinations
from statistics import fmean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from profiles import examples

from speculative.stats.pass_at_k import available_ks, maj_at, majority, pass_at

TRIES = st.lists(st.tuples(st.sampled_from(["1", "2", "3", "4", None]), st.booleans()), min_size=1, max_size=8)


def counted(tries, k):
    """The chance by going through every choice of k tries, ties shared evenly."""

    def won(chosen):
        votes = Counter(vote for vote, _ in chosen if vote is not None)
        most = [vote for vote in votes if votes[vote] == max(votes.values())]
        return fmean(fmean(right for other, right in tries if other == vote) for vote in most) if most else 0.0

    return fmean(won(chosen) for chosen in combinations(tries, k))


@settings(max_examples=examples(150), deadline=None)
@given(TRIES)
def test_a_majority_is_the_mean_over_all_choices(tries):
    ks = range(1, len(tries) + 1)
    assert majority(tries, ks) == pytest.approx([counted(tries, k) for k in ks], abs=1e-9)


@settings(max_examples=examples(100), deadline=None)
@given(st.lists(st.booleans(), min_size=4, max_size=9))
def test_pass_is_the_mean_over_all_choices(tries):
    for k, found in pass_at([tries]).items():
        assert found.value == pytest.approx(fmean(any(chosen) for chosen in combinations(tries, k)), abs=1e-12)


@given(st.permutations([("1", True), ("1", True), ("2", False), (None, False), ("3", False), ("2", False)]))
def test_the_order_of_the_tries_does_not_matter(tries):
    assert majority(tries, [2, 4]) == pytest.approx(majority(sorted(tries, key=str), [2, 4]))


@settings(max_examples=examples(60), deadline=None)
@given(st.lists(st.lists(st.booleans(), min_size=16, max_size=16), min_size=1, max_size=6))
def test_more_tries_pass_more_often_and_intervals_hold_their_value(tried):
    found = pass_at(tried)
    assert list(found) == [2, 4, 8, 16]
    values = [made.value for made in found.values()]
    assert values == sorted(values)
    assert all(0 <= made.low <= made.value <= made.high <= 1 for made in found.values())


def test_no_answer_never_wins():
    assert majority([(None, False)] * 7 + [("1", True)], [8]) == [1.0]
    assert majority([(None, False)] * 8, [2, 8]) == [0.0, 0.0]


def test_a_tie_is_shared():
    assert majority([("1", True), ("2", False)], [2]) == [0.5]
    assert majority([("1", True), ("2", False), ("3", False)], [3]) == pytest.approx([1 / 3])


def test_a_majority_may_be_wrong_where_one_of_k_is_right():
    tried = [[("1", True)] * 3 + [("2", False)] * 5]
    assert maj_at(tried)[8].value == 0
    assert pass_at([[right for _, right in tried[0]]])[8].value == 1


def test_k_is_limited_by_the_problem_with_the_fewest_tries():
    assert available_ks([64, 9]) == [2, 4, 8]
    assert available_ks([1000]) == [2, 4, 8, 16, 32, 64]
    assert available_ks([1]) == available_ks([]) == []
    assert pass_at([]) == maj_at([]) == pass_at([[True]]) == {}


def test_64_tries_of_64_different_answers_are_counted_exactly():
    tries = [(str(place), place == 0) for place in range(64)]
    assert majority(tries, [2, 64]) == pytest.approx([1 / 64, 1 / 64])  # all tie, whatever is drawn
