"""Sampling is a function of a row's logits, settings and numbers, whatever company it is in."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from speculative.engines.local.sampler import Rule, Sampler, logprobs, stream_key, uniforms
from speculative.engines.local.stops import Stops

SIZE = 24
settings = st.tuples(
    st.sampled_from([0.0, 0.3, 0.6, 1.0, 2.0]), st.sampled_from([1.0, 0.95, 0.5, 0.01]), st.sampled_from([0, 1, 3, SIZE, 2 * SIZE])
)
values = hnp.arrays(np.float32, st.tuples(st.integers(1, 9), st.just(SIZE)), elements=st.floats(-40, 40, width=32))


def drawn(logits: Any, rules: list[tuple[float, float, int]], u: Any) -> list[int]:
    rule = Rule(len(rules))
    for row, (temperature, top_p, top_k) in enumerate(rules):
        rule.set(row, SIZE, temperature, top_p, top_k)
    return Sampler(rule, 0, len(rules), logits).draw(np.asarray(u)).tolist()


def drawn_one(logits: Any, rule: tuple[float, float, int], u: float) -> int:
    one = Rule(1)
    one.set(0, SIZE, *rule)
    return Sampler(one, 0, 1, logits[None]).draw_one(u)


@given(values, st.data())
def test_a_row_draws_the_same_alone_and_among_others(logits: Any, data: st.DataObject) -> None:
    rules = [data.draw(settings) for _ in logits]
    u = [data.draw(st.integers(0, 2**32 - 1)) * 2.0**-32 for _ in logits]
    together = drawn(logits, rules, u)
    assert together == [drawn(logits[i : i + 1], rules[i : i + 1], u[i : i + 1])[0] for i in range(len(rules))]
    assert together == [drawn_one(logits[i], rules[i], u[i]) for i in range(len(rules))]


@given(values, settings, st.integers(0, 2**32 - 1))
def test_only_what_the_filters_keep_is_drawn(logits: Any, rule: tuple[float, float, int], number: int) -> None:
    temperature, top_p, top_k = rule
    token = drawn(logits[:1], [rule], [number * 2.0**-32])[0]
    row = logits[0].astype(np.float64)
    if temperature == 0:
        assert token == row.argmax()
        return
    weights = np.exp((row - row.max()) / temperature)
    assert weights[token] > 0
    ordered = np.sort(weights)[::-1]
    if top_k:
        assert weights[token] >= ordered[:top_k][-1] * (1 - 1e-5)
        ordered = ordered[:top_k]
    likelier = ordered[ordered > weights[token] * (1 + 1e-5)].sum()
    assert likelier <= top_p * ordered.sum() * (1 + 1e-5)


@given(values, st.sampled_from([5e-324, 1e-300, 1e-40, 1e-10]), st.integers(0, 2**32 - 1))
def test_the_coldest_draws_take_the_likeliest(logits: Any, temperature: float, number: int) -> None:
    """Not what there is no number for: their inverse is larger than any."""
    for rule in ((temperature, 1.0, 0), (temperature, 0.9, 3)):
        tokens = drawn(logits, [rule] * len(logits), [number * 2.0**-32] * len(logits))
        assert all(row[token] >= row.max() - 1e-4 for row, token in zip(logits, tokens, strict=True))
        assert tokens[0] == drawn_one(logits[0], rule, number * 2.0**-32)


def test_draws_follow_the_probabilities() -> None:
    logits = np.log(np.array([[0.5, 0.25, 0.15, 0.1] + [1e-9] * (SIZE - 4)], np.float32))
    u = uniforms(np.array([stream_key(7, 0, 0)], np.uint64), np.zeros(1, np.int64), 20_000)
    one = Rule(1)
    one.set(0, SIZE, 1.0, 0.85, 0)
    sampler = Sampler(one, 0, 1, logits)
    shares = np.bincount([sampler.draw_one(float(x)) for x in u[:, 0]], minlength=SIZE) / len(u)
    assert np.abs(shares[:3] - np.array([0.5, 0.25, 0.15]) / 0.9).max() < 0.02
    assert shares[3:].sum() == 0


@given(st.integers(0, 2**64 - 1), st.integers(0, 10_000), st.integers(1, 100))
def test_a_number_depends_on_its_stream_and_place_only(key: int, start: int, count: int) -> None:
    keys = np.array([key, 1], np.uint64)
    block = uniforms(keys, np.array([start, 0]), count)
    assert ((block >= 0) & (block < 1)).all()
    last = uniforms(keys[:1], np.array([start + count - 1]), 1)
    assert block[-1, 0] == last[0, 0]


def test_streams_differ() -> None:
    assert len({stream_key(seed, i, j) for seed in (-1, 0, 1, 2**80) for i in range(3) for j in range(3)}) == 36


@given(values)
def test_log_probabilities_are_those_of_a_softmax(logits: Any) -> None:
    exact = logits.astype(np.float64)
    exact = exact - np.log(np.exp(exact - exact.max(axis=1, keepdims=True)).sum(axis=1, keepdims=True)) - exact.max(axis=1, keepdims=True)
    for token in (0, SIZE - 1):
        found = logprobs(logits, np.full(len(logits), token))
        assert np.allclose(found, exact[:, token], atol=1e-4)
        assert found[0] == logprobs(logits[:1], np.array([token]))[0]


class Letters:
    """Ids are places in a list of byte strings."""

    def __init__(self, tokens: list[bytes]) -> None:
        self.tokens = tokens

    def to_bytes(self, ids: Any) -> bytes:
        return b"".join(self.tokens[i] for i in ids)


@given(
    st.lists(st.text("ab\n", max_size=4).map(str.encode), min_size=1, max_size=8),
    st.lists(st.text("ab\n", min_size=1, max_size=5), max_size=3),
    st.lists(st.integers(0, 7), max_size=30),
)
def test_stop_strings_end_where_their_bytes_complete(tokens: list[bytes], strings: list[str], numbers: list[int]) -> None:
    ids = [number % len(tokens) for number in numbers]
    tokenizer: Any = Letters(tokens)
    stops = Stops(tuple(strings), (), tokenizer, len(tokens))
    found = next((i for i in range(len(ids)) if stops.flags[ids[i]] and stops.completed(ids[: i + 1])), None)
    texts = [tokenizer.to_bytes(ids[: i + 1]) for i in range(len(ids))]
    assert found == next((i for i, text in enumerate(texts) if any(stop.encode() in text for stop in strings)), None)


def test_stop_ids_and_nothing_to_stop_for() -> None:
    tokenizer: Any = Letters([b"a", b"b", b""])
    assert Stops((), (1, 77), tokenizer, 3).flags.tolist() == [0, 2, 0]
    assert not Stops(("",), (), tokenizer, 3).any
    assert Stops(("xab",), (), tokenizer, 3).flags.tolist() == [0, 1, 0]


def test_many_stop_strings_cost_little() -> None:
    class Counted(bytes):
        """Counts how often it is searched for a stop string."""

        searches = 0

        def __contains__(self, stop: object) -> bool:
            Counted.searches += 1
            return super().__contains__(stop)  # type: ignore[operator]

    class Single(Letters):
        def to_bytes(self, ids: Any) -> bytes:
            return self.tokens[ids[0]]

    tokenizer: Any = Single([Counted(b"ab"), Counted(b"cd")])
    stops = Stops(tuple(f"{number:06}b" for number in range(10_000)), (), tokenizer, 2)
    assert stops.flags.tolist() == [0, 0]
    assert Counted.searches < 100
