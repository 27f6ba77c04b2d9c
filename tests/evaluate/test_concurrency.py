"""Concurrent chains: the share of the time that each of them has."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speculative.evaluate.runner import ConcurrencyMeter


def test_a_chain_alone_has_all_of_its_time():
    now = 0.0
    meter = ConcurrencyMeter(lambda: now)
    with meter.running() as at_once:
        now = 5.0
    assert at_once() == 1


def test_a_vote_has_the_time_of_its_ballots():
    now = 0.0
    meter = ConcurrencyMeter(lambda: now)
    with meter.running(9) as vote, meter.running() as other:
        now = 5.0
    assert (vote(), other()) == (pytest.approx(10 / 9, rel=0.001), 10)


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(0.1, 100), st.integers(1, 9)), min_size=1, max_size=8))
def test_the_parts_of_all_chains_make_the_time_in_which_any_ran(chains):
    now = 0.0
    meter = ConcurrencyMeter(lambda: now)
    begins_at = [(start, 1, number) for number, (start, *_) in enumerate(chains)]
    marks = sorted([*begins_at, *((start + took, 0, number) for number, (start, took, _) in enumerate(chains))])
    within, told, busy, since, running = {}, {}, 0.0, 0.0, 0
    for at, begins, number in marks:
        busy += (at - since) * bool(running)
        now = since = at
        running += 1 if begins else -1
        if begins:
            within[number] = meter.running(chains[number][2])
            told[number] = within[number].__enter__()
        else:
            within[number].__exit__(None, None, None)
    parts = [took / told[number]() for number, (_, took, _) in enumerate(chains)]
    assert sum(parts) == pytest.approx(busy, rel=0.01)
    assert all(1 <= told[number]() <= sum(parts for *_, parts in chains) for number in told)
