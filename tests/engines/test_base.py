"""The small parts that every engine shares."""

from __future__ import annotations

from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speculative.chain.calls import kept_text
from speculative.engines.base import MIN_LOGPROB, Completion, UnfinishedCharacter, digest, finite, seed_of
from speculative.testing import ScriptedTokenizer


@given(st.text(max_size=5), st.sampled_from("aé日😀"), st.integers(0, 3))
def test_an_unfinished_character_is_told_by_its_last_bytes(before: str, last: str, cut: int) -> None:
    encoded = last.encode()
    cut = min(cut, len(encoded) - 1)
    data = before.encode() + encoded[: len(encoded) - cut]
    assert UnfinishedCharacter.trailing(data) == (len(encoded) - cut if cut else 0)


@pytest.mark.parametrize("data", [b"", b"\x80", b"\x80\x80\x80\x80", b"a\xff"])
def test_bytes_that_are_no_character_are_not_unfinished(data: bytes) -> None:
    assert UnfinishedCharacter.trailing(data) == 0


@given(st.text(max_size=12), st.integers(1, 3), st.integers(0, 12))
def test_the_kept_text_is_the_whole_characters_at_a_token_boundary(text: str, width: int, size: int) -> None:
    tokenizer = ScriptedTokenizer(width)
    ids = tuple(tokenizer.encode(text)[:size])
    kept, dropped = kept_text(tokenizer, Completion(ids, "length"))
    assert text.startswith(kept)
    assert tokenizer.to_bytes(ids[: len(ids) - dropped]) == kept.encode()


def test_garbage_before_an_unfinished_character_is_not_dropped_with_it() -> None:
    tokenizer = ScriptedTokenizer(1)
    assert kept_text(tokenizer, Completion((0x1F0, 0x1F0, 0x1F0), "length")) == ("��", 1)


def test_a_digest_tells_prefix_from_continuation() -> None:
    assert digest([[1, 2]], [[3]]) == digest([(1, 2)], [(3,)])
    assert digest([[1, 2]], [[3]]) != digest([[1]], [[2, 3]])
    assert 0 <= seed_of(digest([[1]], [[2]])) < 1 << 48


def test_no_logprob_is_infinite_or_no_number() -> None:
    assert finite([-0.5, -inf, nan]) == (-0.5, MIN_LOGPROB, MIN_LOGPROB)
    assert finite([-0.5, -0.25]) == (-0.5, -0.25)
    assert finite([-0.5, -2e9]) == (-0.5, MIN_LOGPROB)
    assert finite([]) == ()
