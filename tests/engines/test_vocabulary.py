"""Text becomes ids and comes back byte for byte, and never becomes a marker."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speculative.engines.local.engine import SHIPPED
from speculative.engines.tokenizers.byte_bpe import FileVocabulary, byte_alphabet, unspaced
from speculative.errors import BadWeights, UnknownMarker, UsageError

FILE = SHIPPED / "small" / "tokenizer.json"
VOCABULARY = FileVocabulary(FILE)
MARKERS = sorted(VOCABULARY.markers)
texts = st.text(st.characters(codec="utf-8"), max_size=80)
pieces = [*MARKERS, *(marker[:-1] for marker in MARKERS), "<", "<th", ">", "\n\n", " ", "é", "e\u0301", "1", "Ġ"]
tricky = st.lists(st.sampled_from(pieces)).map("".join)


def changed(tmp_path: Path, **changes: Any) -> Path:
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps({**json.loads(FILE.read_text(encoding="utf-8")), **changes}), encoding="utf-8")
    return path


@given(st.one_of(texts, tricky))
def test_every_text_comes_back_and_holds_no_marker(text: str) -> None:
    ids = VOCABULARY.encode(text)
    assert VOCABULARY.to_bytes(ids) == text.encode()
    assert not set(ids) & set(VOCABULARY.markers.values())


@given(tricky)
def test_a_marker_that_the_merges_know_is_still_text(text: str) -> None:
    spec = json.loads(FILE.read_text(encoding="utf-8"))
    spec["model"]["ignore_merges"] = True
    spec["normalizer"] = {"type": "NFC"}
    assert VOCABULARY._plain(spec).encode(text, add_special_tokens=False).ids == VOCABULARY.encode(text)  # pyright: ignore[reportPrivateUsage]


def test_markers_have_their_own_door() -> None:
    assert {"<think>", "</think>", "<|im_start|>", "<|im_end|>"} <= set(MARKERS)
    number = VOCABULARY.marker("<think>")
    assert number == VOCABULARY.markers["<think>"]
    assert VOCABULARY.to_bytes([number]) == b""
    with pytest.raises(UnknownMarker, match=r"'<thunk>'.*<think>"):
        VOCABULARY.marker("<thunk>")


def test_ids_without_text_give_nothing() -> None:
    assert VOCABULARY.to_bytes([10**9, -1]) == b""


def test_half_a_character_is_refused() -> None:
    with pytest.raises(UsageError, match=r"U\+D83D.*at 2"):
        VOCABULARY.encode("ab\ud83d")


def test_the_byte_alphabet_is_whole() -> None:
    assert sorted(byte_alphabet().values()) == list(range(256))


def test_the_fingerprint_is_the_meaning_of_the_ids(tmp_path: Path) -> None:
    assert FileVocabulary(SHIPPED / "big" / "tokenizer.json").fingerprint == VOCABULARY.fingerprint
    spec = json.loads(FILE.read_text(encoding="utf-8"))
    assert FileVocabulary(changed(tmp_path, added_tokens=spec["added_tokens"][:-1])).fingerprint != VOCABULARY.fingerprint
    swapped = dict(spec["model"]["vocab"])
    swapped["a"], swapped["b"] = swapped["b"], swapped["a"]
    assert FileVocabulary(changed(tmp_path, model={**spec["model"], "vocab": swapped})).fingerprint != VOCABULARY.fingerprint


def test_no_space_is_put_before_the_text() -> None:
    inner = {"type": "ByteLevel", "add_prefix_space": True}
    assert unspaced(None) is None
    assert unspaced({"type": "Split"}) == {"type": "Split"}
    assert unspaced({"type": "Sequence", "pretokenizers": [inner]}) == {
        "type": "Sequence",
        "pretokenizers": [{"type": "ByteLevel", "add_prefix_space": False}],
    }


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadWeights, match="no such file"):
        FileVocabulary(tmp_path / "tokenizer.json")
    broken = tmp_path / "tokenizer.json"
    for content in ("{", "[]", "{}", '{"model": 1}'):
        broken.write_text(content, encoding="utf-8")
        with pytest.raises(BadWeights, match=r"tokenizer.json: not a tokenizer"):
            FileVocabulary(broken)
    model = json.loads(FILE.read_text(encoding="utf-8"))["model"]
    with pytest.raises(BadWeights, match="not made of bytes"):
        FileVocabulary(changed(tmp_path, model={**model, "vocab": {**model["vocab"], "▁the": 9999}}))
    with pytest.raises(BadWeights, match="no token for byte 97"):
        FileVocabulary(changed(tmp_path, model={**model, "vocab": {k: v for k, v in model["vocab"].items() if k != "a"}}))
    with pytest.raises(BadWeights, match="not a tokenizer"):
        FileVocabulary(changed(tmp_path, model={**model, "merges": [["never", "there"]]}))
