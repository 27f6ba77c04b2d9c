"""Measured speeds of the ways of `auto`, beside their predictions."""

import pytest

from speculative.plan.pace import HALF_LIFE_S, LEAST, MOST, Paces
from speculative.plan.policy import Situation, shared_policy


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_way_is_as_predicted_until_enough_tokens_tell_otherwise() -> None:
    paces = Paces(Clock())
    assert paces.of("checked") == 1.0
    paces.note("checked", LEAST - 1, 2 * (LEAST - 1) / 100, 100)
    assert paces.of("checked") == 1.0
    paces.note("checked", 2, 0.04, 100)
    assert paces.of("checked") == pytest.approx(0.5)
    assert paces.of("big") == 1.0


def test_small_deviations_prove_nothing_and_large_ones_are_bounded() -> None:
    paces = Paces(Clock())
    paces.note("big", 1000, 1000 / 110, 100)
    paces.note("checked", 1000, 1000 / 1, 100)
    paces.note("checked ahead", 1000, 1000 / 9999, 100)
    assert [paces.of(way) for way in ("big", "checked", "checked ahead")] == [1.0, 0.2, 2.0]


def test_newer_tokens_take_the_place_of_older_ones() -> None:
    paces = Paces(Clock())
    paces.note("big", MOST, MOST / 50, 100)
    for _ in range(20):
        paces.note("big", MOST // 4, MOST / 4 / 100, 100)
    assert paces.of("big") == 1.0


def test_a_way_that_is_not_taken_is_forgotten_by_and_by() -> None:
    clock = Clock()
    paces = Paces(clock)
    paces.note("checked", 1000, 1000 / 25, 100)
    assert paces.of("checked") == pytest.approx(0.25)
    clock.now = HALF_LIFE_S
    assert paces.of("checked") == pytest.approx(0.5)
    clock.now = 10 * HALF_LIFE_S
    assert paces.of("checked") == 1.0


@pytest.mark.parametrize("note", [(0, 1.0, 100.0), (10, 0.0, 100.0), (10, 1.0, 0.0)])
def test_nothing_is_learned_from_no_tokens_or_no_time(note: tuple[int, float, float]) -> None:
    paces = Paces(Clock())
    for _ in range(LEAST):
        paces.note("big", *note)
    assert paces.of("big") == 1.0


def test_a_way_that_is_slower_than_predicted_is_left_and_the_reason_says_so() -> None:
    """As where small shares big's GPU, and the profile has a GPU for each."""
    policy, paces = shared_policy("h200-32b-1.5b", "c", "latency", "score", 50, False, 3), Paces(Clock())
    assert policy.choose(Situation(1)).way == policy.choose(Situation(1), None, paces).way == "checked ahead"
    for way in ("checked", "checked ahead"):
        paces.note(way, 1000, 1000 / (0.25 * policy.chain_speed(way, Situation(1))), policy.chain_speed(way, Situation(1)))
    choice = policy.choose(Situation(1), "checked ahead", paces)
    assert choice.way == "big"
    assert "checked measured at 0.25 of that" in choice.reason


def test_the_speed_of_one_chain_is_a_part_of_that_of_all() -> None:
    alone = shared_policy("h200-32b-1.5b", "c", "latency", "score", 50, False, 3)
    together = shared_policy("h200-32b-1.5b", "c", "throughput", "score", 50, False, 3)
    crowded = Situation(16)
    for policy in (alone, together):
        policy.prepare(crowded)
    assert together.chain_speed("big", crowded) == pytest.approx(together.speed("big", crowded) / 16)
    assert together.chain_speed("big", crowded) == pytest.approx(alone.chain_speed("big", crowded), rel=0.05)
