"""Cached tokens of other chains: every method pays for the tokens that it computes alone."""

import pytest
from easy import EASY
from hypothesis import given
from hypothesis import strategies as st
from profiles import quick_cases

from speculative import Pair, Problem
from speculative.chain.prefix_memory import KEPT, PrefixMemory
from speculative.methods.registry import build
from speculative.runner import run
from speculative.runs.shared_cache import shared_cache_tokens

SPECS = {
    "big_only": {},
    "random_switch": {"big_share": 0.4, "unit": "step"},
    "spec_rewrite": {"drafting_n": 2},
    "logprob_subselect": {},
    "placeholder": {},
}


async def charged(pair, name, wrappers=()):
    """By role: the prompt tokens that a chain computed, and those that it is charged for."""
    result = await run(Problem.of(EASY, seed=3), build(name, SPECS.get(name, {}), wrappers=wrappers), pair)
    shared = shared_cache_tokens(result.trace)
    computed = {role: cost.prompt_tokens - cost.cached_tokens for role, cost in result.usage.items() if cost.requests}
    return computed, {role: tokens + shared[role] for role, tokens in computed.items()}


@pytest.mark.parametrize("name", quick_cases(SPECS))
async def test_a_chain_is_charged_for_what_it_computes_alone(name):
    async with Pair.open() as pair:
        alone, first = await charged(pair, name)
        computed, again = await charged(pair, name)
    assert first == alone
    assert again == pytest.approx(alone, rel=0.02, abs=2)
    assert all(computed[role] < alone[role] for role in alone)  # the second found the first one's words


async def test_the_chains_of_a_vote_share_what_one_of_them_sent():
    async with Pair.open() as pair:
        alone, first = await charged(pair, "small_only", ["vote(ballots=4)"])
        _, again = await charged(pair, "small_only", ["vote(ballots=4)"])
    assert first == alone
    assert again == pytest.approx(alone, rel=0.02, abs=4)


def test_a_prefix_is_known_as_far_as_a_sequence_of_the_same_role_goes():
    memory = PrefixMemory()
    first = memory.begin("big", [[1, 2, 3, 4]])
    assert first.tokens == 0
    memory.extend("big", first.entries[0], [1, 2, 3, 4], (5, 6))
    assert memory.begin("small", [[1, 2, 3, 4, 5, 6]]).tokens == 0
    assert memory.begin("big", [[1, 2, 3, 4, 5, 6, 7]]).tokens == 6
    assert memory.begin("big", [[1, 2, 9]]).tokens == 2
    assert memory.begin("big", [[1, 2, 9]]).tokens == 2  # the last token is computed again
    assert memory.begin("big", [[1, 2, 3, 8], [1, 2, 3, 8, 9]]).tokens == 3 + 4


def test_what_followed_a_prefix_takes_its_place_and_more_completions_stand_beside():
    memory = PrefixMemory()
    (entry,) = memory.begin("big", [[1, 2]]).entries
    for last in range(3, 3 + KEPT):
        memory.extend("big", entry, [1, 2], (last,))
    assert memory.begin("big", [[1, 2, 3, 0]]).tokens == 3  # each of them was kept
    memory.begin("big", [[7]])
    assert memory.begin("big", [[1, 2, 4, 0]]).tokens == 2  # the oldest was forgotten for it
    assert memory.begin("big", [[1, 2, 9, 0]]).tokens == 3


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=9), min_size=1, max_size=KEPT), st.integers(0, 9))
def test_the_longest_common_beginning_is_found(sequences, cut):
    memory = PrefixMemory()
    for place, sequence in enumerate(sequences):
        best = max((common(sequence, other) for other in sequences[:place]), default=0)
        begun = memory.begin("big", [tuple(sequence) if place % 2 else sequence])
        assert begun.tokens == min(best, len(sequence) - 1)
        memory.extend("big", begun.entries[0], sequence[:cut], tuple(sequence[cut:]))


def common(one, other):
    return next((place for place, (mine, yours) in enumerate(zip(one, other, strict=False)) if mine != yours), min(len(one), len(other)))
