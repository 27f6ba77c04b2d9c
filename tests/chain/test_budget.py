"""What a tree of chains may cost."""

from __future__ import annotations

from speculative import Problem
from speculative.chain.budget import Budget


def budget(**settings: int) -> Budget:
    problem = Problem.of("6*7?", **settings)
    return Budget(problem, problem.max_produced)


def test_without_a_cap_only_the_chain_is_limited() -> None:
    free = budget(max_tokens=100)
    free.add_produced(1 << 20)
    assert (free.remaining(), free.remaining(4), free.spent) == (100, 100, False)


def test_the_thinking_leaves_the_answers_part() -> None:
    capped = budget(max_tokens=800, max_produced=80)
    assert (capped.remaining(), capped.remaining(7), capped.remaining(use="answer")) == (70, 10, 80)
    capped.add_produced(70)
    assert capped.spent
    assert (capped.remaining(), capped.remaining(use="answer")) == (0, 10)


def test_a_reservation_counts_until_its_true_cost_is_known() -> None:
    capped = budget(max_produced=80)
    with capped.reserve(60) as reservation:
        reservation.add(10)
        assert (capped.remaining(), capped.spent) == (0, False)
    assert capped.remaining() == 70


def test_children_share_what_is_left_and_never_take_anothers_part() -> None:
    capped = budget(max_produced=100)
    capped.add_produced(20)
    first, second = capped.split(2), capped.split(2)
    assert first.remaining(use="answer") == second.remaining(use="answer") == 40
    first.add_produced(40)
    assert (first.spent, second.spent, second.remaining(use="answer"), capped.remaining(use="answer")) == (True, False, 40, 40)
    with second.reserve(30):
        assert capped.remaining(use="answer") == 10
    assert budget().split(3).remaining() == 8192
