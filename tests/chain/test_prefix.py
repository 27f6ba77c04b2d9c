"""Boundaries between unlike vocabularies: no text changes, no word stays cut, and little is computed again."""

import random
from pathlib import Path

import pytest
import unlike
from hypothesis import given, settings
from hypothesis import strategies as st
from profiles import examples, quick_cases

import speculative
from speculative.chain.prefix import MENDED, REACH, Prefix
from speculative.engines.tokenizers import loader

SHIPPED = Path(speculative.__file__).parent / "bundled" / "big" / "tokenizer.json"
WORDS = [
    "The ",
    "quick",
    " brown",
    "\n\n",
    "\n",
    " 42",
    "1",
    "7",
    ".",
    ",",
    "  ",
    " = ",
    "café",
    "日本語",
    "🦊",
    "▁",
    "</think>",
    "\t",
    "x" * 60,
]
texts = st.lists(st.sampled_from(WORDS) | st.text(max_size=5), max_size=40).map("".join)


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizers")
    return [loader.read(path) for path in (SHIPPED, unlike.byte_level(folder / "bytes"), unlike.byte_fallback(folder / "pieces"))]


def cut(text, chance, longest):
    """The text in pieces, each by this vocabulary (True) or by another."""
    while text:
        size = chance.randrange(longest) + 1
        yield chance.random() < 0.5, text[:size]
        text = text[size:]


@settings(max_examples=examples(150), deadline=None)
@given(text=texts, seed=st.integers(0, 999), longest=st.sampled_from([1, 5, 30, 400]))
def test_the_text_stays_and_every_addition_can_be_taken_back(tokenizers, text, seed, longest):
    for tokenizer in tokenizers:
        chance, opening = random.Random(seed), [tokenizer.special_token_id("<think>"), *tokenizer.encode("\n")]
        prefix, said, changes = Prefix(tokenizer, opening.copy()), "", []
        for own, piece in cut(text, chance, longest):
            before = prefix.ids.copy()
            change = prefix.add_ids(tokenizer.encode(piece)) if own else prefix.add_text(piece)
            after, said = prefix.ids.copy(), said + piece
            assert after[: len(opening)] == opening
            assert tokenizer.to_bytes(after[len(opening) :]) == said.encode()
            assert after[: change.start] == before[: change.start]
            assert not own or change.start == len(before)
            assert len(tokenizer.to_bytes(change.tail)) <= 2 * (REACH + 64) + MENDED * 16  # words, and what lies between them
            changes.append((before, change))
            if chance.random() < 0.2:  # taken back and done again, it is the same
                prefix.undo(change)
                assert prefix.ids == before
                assert (prefix.add_ids(tokenizer.encode(piece)) if own else prefix.add_text(piece)) == change
                assert prefix.ids == after
        assert prefix.copy().ids == prefix.ids
        for before, change in reversed(changes):
            prefix.undo(change)
            assert prefix.ids == before


@pytest.mark.parametrize("chunk", quick_cases([1, 4, 16, 64]))
def test_at_most_half_of_the_surplus_is_left(tokenizers, chunk):
    text = Path(__file__).parents[2].joinpath("CONTRIBUTING.md").read_text()[: min(6000, 2000 * chunk)]
    for reader in tokenizers[:2]:  # the third one's tokens reach over words, as those of no real model do
        for other in tokenizers:
            if other is reader:
                continue
            prefix, apart, place, own = Prefix(reader, []), 0, 0, False
            while place < len(text):
                writer = reader if own else other
                ids = writer.encode(text[place : place + 40 * chunk + 40])[:chunk]
                piece = writer.to_bytes(ids).decode("utf-8", "ignore")
                ids = reader.encode(piece)
                apart += len(ids)
                prefix.add_ids(ids) if own else prefix.add_text(piece)
                place, own = place + max(len(piece), 1), not own
            whole = len(reader.encode(reader.to_bytes(prefix.ids).decode()))
            assert len(prefix.ids) - whole <= max(3, 0.5 * (apart - whole))


def test_what_opens_a_phase_and_what_stands_before_it_stays(tokenizers):
    tokenizer = tokenizers[0]
    prefix = Prefix(tokenizer, tokenizer.encode("The "))
    prefix.add_text("quick")
    assert prefix.ids == [*tokenizer.encode("The "), *tokenizer.encode("quick")]
    before = prefix.ids.copy()
    closing = [tokenizer.special_token_id("</think>"), *tokenizer.encode("\n\n")]
    change = prefix.open_phase(closing)
    prefix.add_text("fox")
    assert prefix.ids == [*before, *closing, *tokenizer.encode("fox")]
    prefix = Prefix(tokenizer, before.copy())
    prefix.undo(prefix.open_phase(closing))
    assert prefix.ids == before
    assert change.start == len(before)


def test_a_word_that_a_boundary_cuts_is_made_whole(tokenizers):
    tokenizer = tokenizers[0]
    prefix = Prefix(tokenizer, [])
    prefix.add_text("Then he cou")
    prefix.add_ids(tokenizer.encode("nts the app"))
    prefix.add_text("les. So")
    assert prefix.ids == tokenizer.encode("Then he counts the apples. So")
    prefix = Prefix(tokenizer, [])
    prefix.add_text("Then he cou")
    prefix.add_ids(own := tokenizer.encode("nts the apples " * MENDED))
    begun = len(prefix.ids)
    prefix.add_text("and")
    assert prefix.ids[:begun][-len(own) : -2] == own[:-2]  # too much would have to be computed again


def test_broken_characters_and_special_tokens_stay(tokenizers):
    tokenizer = tokenizers[0]
    broken = tokenizer.encode("🦊")[:1]
    for ids in (broken, [tokenizer.special_token_id("<|im_start|>")]):
        prefix = Prefix(tokenizer, [])
        prefix.add_ids(ids)
        prefix.add_text(" so on")
        assert prefix.ids[: len(ids)] == ids
        assert tokenizer.to_bytes(prefix.ids[len(ids) :]) == b" so on"
