"""What a tree of chains may cost."""

from __future__ import annotations

from speculative import Problem
from speculative.chain.budget import Budget


def budget(**settings: int) -> Budget:
    problem = Problem.of("6*7?", **settings)
    return Budget(problem, problem.max_produced)


def test_without_a_cap_only_the_chain_is_limited() -> None:
    free = budget(max_tokens=100)
    free.produce(1 << 20)
    assert (free.producible(), free.producible(4), free.spent) == (100, 100, False)


def test_the_thinking_leaves_the_answers_part() -> None:
    capped = budget(max_tokens=800, max_produced=80)
    assert (capped.producible(), capped.producible(7), capped.producible(answering=True)) == (70, 10, 80)
    capped.produce(70)
    assert capped.spent
    assert (capped.producible(), capped.producible(answering=True)) == (0, 10)


def test_a_promise_counts_until_its_true_cost_is_known() -> None:
    capped = budget(max_produced=80)
    with capped.promise(60) as promise:
        promise.add(10)
        assert (capped.producible(), capped.spent) == (0, False)
    assert capped.producible() == 70


def test_children_share_what_is_left_and_never_take_anothers_part() -> None:
    capped = budget(max_produced=100)
    capped.produce(20)
    first, second = capped.part(2), capped.part(2)
    assert first.producible(answering=True) == second.producible(answering=True) == 40
    first.produce(40)
    assert (first.spent, second.spent, second.producible(answering=True), capped.producible(answering=True)) == (True, False, 40, 40)
    with second.promise(30):
        assert capped.producible(answering=True) == 10
    assert budget().part(3).producible() == 8192
