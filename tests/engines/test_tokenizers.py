"""Text becomes ids and comes back byte for byte, and never becomes a marker."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speculative.engines.local.engine import SHIPPED
from speculative.engines.tokenizers.byte_bpe import ByteBpeTokenizer, byte_alphabet, unspaced
from speculative.errors import UnknownSpecialTokenError, UsageError, WeightsError

FILE = SHIPPED / "small" / "tokenizer.json"
TOKENIZER = ByteBpeTokenizer(FILE)
MARKERS = sorted(TOKENIZER.special_tokens)
texts = st.text(st.characters(codec="utf-8"), max_size=80)
pieces = [*MARKERS, *(marker[:-1] for marker in MARKERS), "<", "<th", ">", "\n\n", " ", "é", "e\u0301", "1", "Ġ"]
tricky = st.lists(st.sampled_from(pieces)).map("".join)


def changed(tmp_path: Path, **changes: Any) -> Path:
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps({**json.loads(FILE.read_text(encoding="utf-8")), **changes}), encoding="utf-8")
    return path


@given(st.one_of(texts, tricky))
def test_every_text_comes_back_and_holds_no_marker(text: str) -> None:
    ids = TOKENIZER.encode(text)
    assert TOKENIZER.to_bytes(ids) == text.encode()
    assert not set(ids) & set(TOKENIZER.special_tokens.values())


@given(tricky)
def test_a_marker_that_the_merges_know_is_still_text(text: str) -> None:
    spec = json.loads(FILE.read_text(encoding="utf-8"))
    spec["model"]["ignore_merges"] = True
    spec["normalizer"] = {"type": "NFC"}
    assert TOKENIZER._plain(spec).encode(text, add_special_tokens=False).ids == TOKENIZER.encode(text)  # pyright: ignore[reportPrivateUsage]


def test_markers_have_their_own_door() -> None:
    assert {"<think>", "</think>", "<|im_start|>", "<|im_end|>"} <= set(MARKERS)
    number = TOKENIZER.special_token_id("<think>")
    assert number == TOKENIZER.special_tokens["<think>"]
    assert TOKENIZER.to_bytes([number]) == b""
    with pytest.raises(UnknownSpecialTokenError, match=r"'<thunk>'.*<think>"):
        TOKENIZER.special_token_id("<thunk>")


def test_ids_without_text_give_nothing() -> None:
    assert TOKENIZER.to_bytes([10**9, -1]) == b""


def test_half_a_character_is_refused() -> None:
    with pytest.raises(UsageError, match=r"U\+D83D.*at 2"):
        TOKENIZER.encode("ab\ud83d")


def test_the_byte_alphabet_is_whole() -> None:
    assert sorted(byte_alphabet().values()) == list(range(256))


def test_the_fingerprint_is_the_meaning_of_the_ids(tmp_path: Path) -> None:
    assert ByteBpeTokenizer(SHIPPED / "big" / "tokenizer.json").fingerprint == TOKENIZER.fingerprint
    spec = json.loads(FILE.read_text(encoding="utf-8"))
    assert ByteBpeTokenizer(changed(tmp_path, added_tokens=spec["added_tokens"][:-1])).fingerprint != TOKENIZER.fingerprint
    swapped = dict(spec["model"]["vocab"])
    swapped["a"], swapped["b"] = swapped["b"], swapped["a"]
    assert ByteBpeTokenizer(changed(tmp_path, model={**spec["model"], "vocab": swapped})).fingerprint != TOKENIZER.fingerprint


def test_no_space_is_put_before_the_text() -> None:
    inner = {"type": "ByteLevel", "add_prefix_space": True}
    assert unspaced(None) is None
    assert unspaced({"type": "Split"}) == {"type": "Split"}
    assert unspaced({"type": "Sequence", "pretokenizers": [inner]}) == {
        "type": "Sequence",
        "pretokenizers": [{"type": "ByteLevel", "add_prefix_space": False}],
    }


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such file"):
        ByteBpeTokenizer(tmp_path / "tokenizer.json")
    broken = tmp_path / "tokenizer.json"
    for content in ("{", "[]", "{}", '{"model": 1}'):
        broken.write_text(content, encoding="utf-8")
        with pytest.raises(WeightsError, match=r"tokenizer.json: not a tokenizer"):
            ByteBpeTokenizer(broken)
    model = json.loads(FILE.read_text(encoding="utf-8"))["model"]
    with pytest.raises(WeightsError, match="not made of bytes"):
        ByteBpeTokenizer(changed(tmp_path, model={**model, "vocab": {**model["vocab"], "▁the": 9999}}))
    with pytest.raises(WeightsError, match="not a tokenizer"):
        ByteBpeTokenizer(changed(tmp_path, model={**model, "merges": [["never", "there"]]}))


def test_a_vocabulary_that_lacks_bytes_refuses_only_the_texts_that_need_one(tmp_path: Path) -> None:
    model = json.loads(FILE.read_text(encoding="utf-8"))["model"]
    lacking = [character for character, byte in byte_alphabet().items() if byte in (0x04, 0xC0, 0xF1)]
    partial = {**model, "vocab": {token: number for token, number in model["vocab"].items() if not set(token) & set(lacking)}}
    partial["merges"] = [pair for pair in model["merges"] if not set("".join(pair)) & set(lacking)]
    tokenizer = ByteBpeTokenizer(changed(tmp_path, model=partial))
    text = "naïve 🦊\n\n  x"
    assert tokenizer.to_bytes(tokenizer.encode(text)) == text.encode()
    for text, wrong in (("ab\x04", r"'\\x04' \(at 2"), ("é\U0004ffff", r"'\\U0004ffff' \(at 1")):
        with pytest.raises(UsageError, match=rf"tokenizer.json: no token for {wrong} of the text\); leave it out"):
            tokenizer.encode(text)


ADDED = [("\n", False), ("\n\n", False), ("\t\t", False), (" " * 4, False), ("<table>", False), ("[multimodal]", False), ("<tool>", False)]


def test_added_tokens_that_are_text_keep_their_bytes_and_are_written(tmp_path: Path) -> None:
    spec = json.loads(FILE.read_text(encoding="utf-8"))
    first = max(entry["id"] for entry in spec["added_tokens"]) + 1
    flags = {"single_word": False, "lstrip": True, "rstrip": True, "normalized": False}
    added = [{"id": first + i, "content": content, "special": special, **flags} for i, (content, special) in enumerate(ADDED)]
    tokenizer = ByteBpeTokenizer(changed(tmp_path, added_tokens=[*spec["added_tokens"], *added]))
    texts = {content: first + i for i, (content, _) in enumerate(ADDED) if content != "<tool>"}
    for content, number in texts.items():
        assert tokenizer.to_bytes([number]) == content.encode()
        assert tokenizer.encode(f"x {content} x").count(number) == 1
        assert tokenizer.to_bytes(tokenizer.encode(f"x {content} x")) == f"x {content} x".encode()
    assert tokenizer.special_token_id("<tool>") == first + len(ADDED) - 1
    assert tokenizer.to_bytes(tokenizer.encode("<tool>")) == b"<tool>"
    assert first + len(ADDED) - 1 not in tokenizer.encode("<tool>")
    assert not set(texts) & set(tokenizer.special_tokens)


TAGS = ["<br/>", "<details>", "<math>", "</label>", "<tool_call>", "[UNK]", "<x>"]


@pytest.mark.parametrize("tag", TAGS)
def test_a_tag_of_no_dialect_keeps_its_bytes(tmp_path: Path, tag: str) -> None:
    spec = json.loads(FILE.read_text(encoding="utf-8"))
    first = max(entry["id"] for entry in spec["added_tokens"]) + 1
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    plain = ByteBpeTokenizer(FILE)
    tokenizer = ByteBpeTokenizer(
        changed(tmp_path, added_tokens=[*spec["added_tokens"], {"id": first, "content": tag, "special": False, **flags}])
    )
    assert tokenizer.to_bytes([*plain.encode("a"), first, *plain.encode("b")]) == f"a{tag}b".encode()
    assert tokenizer.to_bytes(tokenizer.encode(f"a{tag}b")) == f"a{tag}b".encode()
    assert tokenizer.knows([first])
    marked = ByteBpeTokenizer(
        changed(tmp_path, added_tokens=[*spec["added_tokens"], {"id": first, "content": tag, "special": True, **flags}])
    )
    assert marked.to_bytes([first]) == b""


def test_a_tag_that_a_dialect_asks_for_is_a_marker(tmp_path: Path) -> None:
    spec = json.loads(FILE.read_text(encoding="utf-8"))
    first = max(entry["id"] for entry in spec["added_tokens"]) + 1
    added = [{"id": first + i, "content": tag, "special": False} for i, tag in enumerate(["<reason>", "<think>", "<|fim|>"])]
    tokenizer = ByteBpeTokenizer(changed(tmp_path, added_tokens=[*spec["added_tokens"], *added]))
    before = tokenizer.fingerprint
    assert [tokenizer.to_bytes([first + i]) for i in range(3)] == [b"<reason>", b"", b""]
    assert tokenizer.special_token_id("<reason>") == first
    assert tokenizer.to_bytes([first]) == b""
    assert tokenizer.knows([first])
    assert ByteBpeTokenizer(tokenizer.path).fingerprint == before == tokenizer.fingerprint


def test_a_tokenizer_that_loses_blanks_is_refused(tmp_path: Path) -> None:
    spec = json.loads(FILE.read_text(encoding="utf-8"))
    newline = {"id": spec["model"]["vocab"]["\u010a"], "content": "\n", "special": True}
    losing = {"type": "Split", "pattern": {"Regex": r"\n"}, "behavior": "Removed", "invert": False}
    splitter = {"type": "Sequence", "pretokenizers": [losing, *spec["pre_tokenizer"]["pretokenizers"]]}
    with pytest.raises(WeightsError, match=r"the text '\\n' comes back as b''"):
        ByteBpeTokenizer(changed(tmp_path, pre_tokenizer=splitter))
    with pytest.raises(WeightsError, match=r"cannot encode '\\n'"):
        ByteBpeTokenizer(changed(tmp_path, added_tokens=[*spec["added_tokens"], newline]))
