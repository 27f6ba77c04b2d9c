"""Rows are found by longest prefix, stay within their bytes, and hold what was written whatever moves."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from profiles import examples

from speculative.engines.local.cache import FIRST_POSITIONS, Store

texts = st.lists(st.integers(0, 3), min_size=1, max_size=40)
TOKEN = 2 * 4  # bytes of keys and values: one layer, one head, one number each


class Toy:
    """A model whose keys and values are the running sum of the tokens: they tell which prefix they belong to."""

    token_bytes = TOKEN

    def __init__(self, positions: int = 5000) -> None:
        self.positions = positions

    def buffers(self, rows: int, positions: int) -> Any:
        return np.full((2, rows, 1, positions, 1), np.nan, np.float32)

    def forget(self) -> None:
        pass


def ids(*numbers: int) -> Any:
    return np.array(numbers, np.int32)


def compute(store: Store, row: int, tokens: Any, start: int) -> None:
    store.kv[:, row, 0, start : len(tokens), 0] = np.cumsum(tokens * 3 + 1, dtype=np.float32)[start:]
    store.write(row, tokens[start:])


def put(store: Store, tokens: Any) -> tuple[int, int]:
    """Claim, compute, park, as an append does. Returns the row and what was found."""
    found = store.claim(tokens, len(tokens) - 1)
    assert found is not None
    row, start = found
    if len(tokens) > store.positions:
        store.grow(len(tokens))
    compute(store, row, tokens, start)
    store.park(row)
    return row, start


def whole(store: Store) -> None:
    """Every row holds the keys and values of its own tokens."""
    for row in range(store.rows):
        count = int(store.length[row])
        assert (store.kv[:, row, 0, :count, 0] == np.cumsum(store.tokens[row, :count] * 3 + 1, dtype=np.float32)).all()


def made(budget: int = 1 << 20, positions: int = 5000) -> Store:
    model: Any = Toy(positions)
    return Store(model, budget)


def test_going_on_rewinding_and_branching_find_everything() -> None:
    store = made()
    base = list(range(40))
    first, _ = put(store, ids(*base, 50, 51))
    assert put(store, ids(*base, 50, 51, 52)) == (first, 42)
    other, found = put(store, ids(*base, 60, 61))  # rewound: a row is empty, so both tails stay
    assert (other != first, found) == (True, 40)
    assert put(store, ids(*base, 50, 51, 52, 53)) == (first, 43)  # what was rewound is there
    assert put(store, ids(*base, 60, 61, 62)) == (other, 42)
    third, found = put(store, ids(*base[:5], 70))  # a short beginning is copied
    assert (third not in (first, other), found) == (True, 5)
    put(store, ids(90, 91))
    assert not len(np.flatnonzero(store.length[: store.rows] == 0))
    assert put(store, ids(*base, 60, 80)) == (other, 41)  # no row is empty: the short tail is cut off
    assert put(store, ids(*base, 60, 61, 62)) == (other, 41)
    assert put(store, ids(*base, 50, 51, 52, 53, 54)) == (first, 44)
    whole(store)


def test_a_busy_row_is_copied_from_and_not_touched() -> None:
    store = made()
    row, start = store.claim(ids(1, 2, 3), 2) or (0, 0)
    compute(store, row, ids(1, 2, 3), start)
    other, found = store.claim(ids(1, 2, 3, 4), 3) or (0, 0)
    assert (other != row, found) == (True, 3)
    assert store.busy[row]
    whole(store)


def test_the_least_recently_used_row_makes_room() -> None:
    store = made(budget=8 * FIRST_POSITIONS * TOKEN)
    for number in range(8):
        put(store, ids(number, 1, 2))
    assert store.rows == 8
    put(store, ids(0, 1, 2, 3))  # used again
    put(store, ids(90, 1, 2))
    assert store.longest(ids(0, 1, 2, 3), 4)[1] == 4
    assert store.longest(ids(1, 1, 2), 3)[1] == 0
    assert store.longest(ids(2, 1, 2), 3)[1] == 3


def test_no_row_when_all_are_busy() -> None:
    store = made(budget=1)
    row, _ = store.claim(ids(1, 2), 1) or (-1, 0)
    assert row == 0
    assert store.claim(ids(3, 4), 1) is None
    store.drop(row)
    assert store.longest(ids(1, 2), 2)[1] == 0
    assert store.claim(ids(3, 4), 1) == (0, 0)


def test_long_rows_cost_rows_and_short_ones_come_back() -> None:
    store = made(budget=8 * FIRST_POSITIONS * TOKEN)
    for number in range(8):
        put(store, ids(number, 1, 2))
    store.grow(1500)
    assert (store.rows, store.positions) == (2, 2048)
    whole(store)
    assert [store.longest(ids(number, 1, 2), 3)[1] for number in range(8)] == [0] * 6 + [3, 3]
    long = np.arange(1400, dtype=np.int32)
    put(store, long)
    for number in range(20, 40):
        put(store, ids(number, 1, 2))
    assert store.positions == FIRST_POSITIONS
    assert store.longest(long, 1400)[1] == 0
    whole(store)


def test_the_context_is_the_longest_row() -> None:
    store = made(positions=700)
    store.grow(701)
    assert store.positions == 701
    assert made(positions=100).positions == 101


class Lives(RuleBasedStateMachine):
    """Random lives of rows: nothing found is ever wrong, and the bytes stay within bounds."""

    @initialize(rows=st.integers(1, 9))
    def start(self, rows: int) -> None:
        self.budget = rows * FIRST_POSITIONS * TOKEN + 8
        self.store = made(self.budget)
        self.held: list[int] = []
        self.texts: list[Any] = [ids(1)]

    @rule(cut=st.integers(0, 60), source=st.integers(0, 10**6), more=texts, keep=st.booleans())
    def write(self, cut: int, source: int, more: list[int], keep: bool) -> None:
        text = self.texts[source % len(self.texts)]
        tokens = np.concatenate([text[: max(len(text) - cut, 0)], np.array(more, np.int32)])[:450]
        found = self.store.claim(tokens, len(tokens) - 1)
        if found is None:
            assert len(self.held) == self.store.rows
            return
        row, start = found
        assert self.store.length[row] == start < len(tokens)
        assert row not in self.held
        compute(self.store, row, tokens, start)
        self.texts.append(tokens)
        self.held.append(row)
        if not keep:
            self.store.park(self.held.pop())

    @precondition(lambda self: self.held)
    @rule(which=st.integers(0, 10**6))
    def let_go(self, which: int) -> None:
        self.store.park(self.held.pop(which % len(self.held)))

    @precondition(lambda self: self.held)
    @rule(which=st.integers(0, 10**6), other=st.integers(0, 10**6))
    def swap(self, which: int, other: int) -> None:
        free = [row for row in range(self.store.rows) if row not in self.held]
        if free:
            row = self.held.pop(which % len(self.held))
            target = free[other % len(free)]
            self.store.swap(row, target)
            self.held.append(target)

    @invariant()
    def sound(self) -> None:
        whole(self.store)
        assert sorted(self.held) == np.flatnonzero(self.store.busy).tolist()
        assert self.store.nbytes <= max(self.budget, FIRST_POSITIONS * TOKEN)


TestLives = Lives.TestCase
TestLives.settings = settings(max_examples=examples(40), stateful_step_count=30, deadline=None)
