"""A fitted policy over the history of a chain's scores."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from solving import authors, by, solved

from speculative import Result
from speculative.errors import UsageError
from speculative.methods.policy_fit import fit_table
from speculative.methods.policy_process import ALWAYS, thresholds
from speculative.methods.policy_table import PolicyTable, bundled_table, read_table
from speculative.methods.registry import build
from speculative.methods.tunable import GradedTrace, judged
from speculative.testing import ScriptedEngine

TABLE = PolicyTable("likelihood", (-1.0,), ((5, 5), (5, 5), (5, 15)), ((0, 10), (2, 10), (5, 10)), ((0, 20), (20, 20), (10, 10)), 10.0)
"""A kept step below -1 makes the answer wrong."""


def decided(unlikely: str = "small 1", **settings: Any) -> Result:
    big = ScriptedEngine(by("big"), name="big", scores=lambda _, text: -2.0 if unlikely in text else -0.01)
    return solved("policy", big, by("small"), **{"fit": TABLE.to_json(), **settings})


def test_big_writes_a_step_where_that_is_worth_its_price() -> None:
    assert authors(decided(price=1e-3)) == "sbs"
    assert authors(decided(price=1.0)) == "s"


def test_a_spoiled_chain_gets_no_more_of_bigs_work() -> None:
    both = ScriptedEngine(by("big"), name="big", scores=lambda _, text: -2.0)
    spoiled = TABLE.to_json().replace("[0,10]", "[10,10]")  # the first step is the last one, so far as is known
    assert authors(solved("policy", both, by("small"), fit=spoiled, price=1e-3)).startswith("b")
    needed = thresholds(TABLE, 1e-3)
    assert all(row[0] == -ALWAYS for row in needed)  # a low step was kept: nothing can be won
    assert all(row[1] == row[2] == -1.0 for row in needed)


def test_a_coin_explores_and_records_its_scores() -> None:
    results = [decided("small", explore=1.0, seed=seed) for seed in range(8)]
    assert len({authors(result) for result in results}) > 1
    assert {score for result in results for score in judged(result.trace)} == {-2.0}


def test_a_table_is_counted_from_chains() -> None:
    runs = [GradedTrace(decided("small 1", explore=1.0, seed=seed).trace, correct=bool(seed % 2)) for seed in range(20)]
    found = fit_table(runs, "likelihood")
    assert found
    assert found == fit_table(runs, "likelihood") == read_table(found.to_json())
    assert sum(map(sum, found.scores)) == sum(len(judged(run.trace)) for run in runs)
    assert sum(ended for ended, _ in found.ends) == sum(chains for _, chains in found.right) == 20
    assert sum(right for right, _ in found.right) == 10
    assert fit_table([], "likelihood") is None


counts = st.lists(st.integers(0, 30), min_size=3, max_size=3)


@given(
    st.lists(counts, min_size=4, max_size=4),
    st.lists(st.integers(0, 20), min_size=4, max_size=4),
    st.lists(st.integers(0, 9), min_size=1, max_size=5),
    st.floats(0, 1),
)
def test_any_counts_give_a_policy(scores: list[list[int]], right: list[int], ended: list[int], price: float) -> None:
    table = PolicyTable(
        "likelihood", (-1.0, -0.5), tuple(map(tuple, scores)), tuple((end, 9) for end in ended), tuple((one, 20) for one in right), 12.0
    )
    needed = np.array(thresholds(table, price))
    assert needed.shape == (len(ended), 4)
    assert set(needed.flat) <= {-ALWAYS, -1.0, -0.5, ALWAYS}
    assert (np.array(thresholds(table, 1e6)) == -ALWAYS).all()


def test_the_bundled_table_is_whole() -> None:
    table = bundled_table()
    assert table.by == "likelihood"
    assert thresholds(table, 1e-4)[0][-1] > -ALWAYS
    assert sum(chains for _, chains in table.right) >= 100


@pytest.mark.parametrize(
    ("params", "told"),
    [
        ({"fit": "{"}, "a policy must be a JSON table"),
        ({"fit": '{"by": "likelihood"}'}, "missing required field"),
        ({"fit": TABLE.to_json().replace("[-1.0]", "[-1.0,-2.0]")}, "edges must rise"),
        ({"fit": TABLE.to_json().replace("[-1.0]", "[-1.0,0.0]")}, "must have 4 rows"),
        ({"fit": TABLE.to_json(), "by": "question"}, "fit must be a table of the scores by=question, got by=likelihood"),
        ({"by": "reward"}, "fit must be given with by=reward"),
    ],
)
def test_a_wrong_table_is_named(params: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        build("policy", params)


@pytest.mark.parametrize("by_", ["question", "reward"])
def test_other_scores_are_explored_without_a_table(by_: str) -> None:
    judge = ScriptedEngine("", name="judge", rewards=lambda text: 0.5)
    result = solved("policy", by("big"), by("small"), judge=judge if by_ == "reward" else None, by=by_, explore=1.0)
    assert build("policy", {"by": by_, "explore": 1.0}).required_abilities() == ({"judge": {"reward"}} if by_ == "reward" else {})
    assert by_ == "question" or judged(result.trace)
