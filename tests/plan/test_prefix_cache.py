"""The books of a simulated prefix cache."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from speculative.plan.calls import PlannedCall
from speculative.plan.prefix_cache import PrefixCache


class Chain:
    """A chain of calls, by its identity."""


def found(cache: PrefixCache, chain: object, prompt: int, known: int, branch: int = 0, tokens: int = 10) -> int | None:
    """Runs one call to its end, and returns what it found."""
    call = begun(chain, prompt, known, branch, tokens)
    held = cache.begin(call)
    if held is not None:
        cache.end(call, prompt + tokens)
    return held


def begun(chain: object, prompt: int, known: int = 0, branch: int = 0, tokens: int = 10) -> PlannedCall:
    call = PlannedCall("big", prompt, tokens, known, branch=branch)
    call.chain = chain
    return call


def test_a_text_that_goes_on_takes_no_second_room() -> None:
    cache, first, second = PrefixCache(250, 1), Chain(), Chain()
    for chain in (first, second):
        cache.remember(chain, 100)
    assert found(cache, second, 101, 100) == 100  # its 111 tokens and the 100 of the other text fit
    assert found(cache, first, 101, 100) == 100


def test_a_text_is_found_though_its_call_fills_the_cache() -> None:
    cache, chain, other = PrefixCache(250, 1), Chain(), Chain()
    cache.remember(chain, 100)
    cache.remember(other, 100)
    assert found(cache, chain, 200, 100, branch=1) == 100  # by another branch, whose text is the oldest


def test_the_text_that_was_found_is_cut_to_the_room_that_is_left() -> None:
    cache, chain = PrefixCache(250, 1), Chain()
    cache.remember(chain, 200)
    held = begun(chain, 100, 90, branch=1)
    assert cache.begin(held) == 90
    assert cache.begin(begun(chain, 201, 200)) is None  # no room beside the first
    cache.end(held, 110)
    assert found(cache, chain, 201, 200) == 140


def test_a_text_that_was_found_is_the_last_to_go() -> None:
    cache, chain, other = PrefixCache(250, 1), Chain(), Chain()
    cache.remember(chain, 100)
    cache.remember(other, 100)
    assert found(cache, chain, 110, 100, branch=1) == 100
    assert found(cache, other, 101, 100) == 0
    assert found(cache, chain, 101, 100) == 100


@pytest.mark.parametrize("salt", range(30))
def test_a_cache_never_holds_more_than_fits(salt: int) -> None:
    random, cache, chains = Random(salt), PrefixCache(1000, 16), [Chain() for _ in range(4)]
    running: list[PlannedCall] = []
    idle: dict[Any, int] = cache._idle  # pyright: ignore[reportPrivateUsage]
    for _ in range(300):
        if running and random.random() < 0.5:
            call = running.pop(random.randrange(len(running)))
            cache.end(call, call.prompt + random.randint(0, call.tokens))
        else:
            prompt = random.randint(1, 600)
            call = begun(random.choice(chains), prompt, random.randint(0, prompt), random.randint(0, 2), random.randint(1, 60))
            held = cache.begin(call)
            if held is not None:
                assert 0 <= held <= min(call.known, prompt - 1)
                assert cache.reserved + sum(idle.values()) <= cache.tokens
                running.append(call)
    for call in running:
        cache.end(call, call.prompt)
    assert cache.reserved == 0
    assert cache._idle_tokens == sum(idle.values()) <= cache.tokens  # pyright: ignore[reportPrivateUsage]
