"""Tokens of a byte-level BPE, read from a `tokenizer.json`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from speculative.engines.tokenizers.base import TokenTable, check_whole, encode_text
from speculative.errors import BadWeights

if TYPE_CHECKING:
    from tokenizers import Tokenizer


def byte_alphabet() -> dict[str, int]:
    """The character that byte-level BPE writes for each byte: printable Latin-1 stands for itself, the rest moves above 255."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    moved = [byte for byte in range(256) if byte not in set(plain)]
    return {chr(byte): byte for byte in plain} | {chr(256 + i): byte for i, byte in enumerate(moved)}


class FileVocabulary(TokenTable):
    """The `Vocabulary` of a model folder.

    Added tokens, special or not (`<|im_end|>`, `<think>`), are its markers. Text is encoded by a tokenizer that does not know
    them, with no normalizer, so that no text becomes a marker and every text comes back byte for byte.
    Raises `BadWeights` when the file is missing, damaged, or not a byte-level BPE.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            spec: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            vocabulary = cast("dict[str, int]", spec["model"]["vocab"])
            added = cast("list[dict[str, Any]]", spec.get("added_tokens") or [])
            self.markers = {str(token["content"]): int(token["id"]) for token in added}
        except FileNotFoundError:
            raise BadWeights(f"{path}: there is no such file; a model folder needs its tokenizer.json") from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadWeights(f"{path}: not a tokenizer ({type(error).__name__}: {error}); fetch the model folder again") from error
        marker_ids = frozenset(self.markers.values())
        alphabet = byte_alphabet()
        self._bytes = {}
        for token, number in vocabulary.items():
            if number in marker_ids:
                continue
            try:
                self._bytes[number] = bytes([alphabet[character] for character in token])
            except KeyError:
                raise BadWeights(f"{path}: token {number} {token!r} is not made of bytes; only byte-level BPE is supported") from None
        missing = set(range(256)) - {token[0] for token in self._bytes.values() if len(token) == 1}
        if missing:
            raise BadWeights(f"{path}: no token for byte {min(missing)}; only complete byte-level BPE is supported")
        self._tokenizer = self._plain(spec)

    def _plain(self, spec: dict[str, Any]) -> Tokenizer:
        """The tokenizer without markers, normalizer, added spaces or templates."""
        from tokenizers import Tokenizer

        nothing: dict[str, Any] = {"added_tokens": [], "normalizer": None, "post_processor": None, "truncation": None, "padding": None}
        try:
            # A marker that the BPE lists itself could be matched whole by `ignore_merges`.
            nothing["model"] = {**spec["model"], "ignore_merges": False, "dropout": None}
            nothing["pre_tokenizer"] = unspaced(spec.get("pre_tokenizer"))
            plain = Tokenizer.from_str(json.dumps({**spec, **nothing}))
        except Exception as error:  # the library raises bare Exception
            raise BadWeights(f"{self.path}: not a tokenizer ({error}); fetch the model folder again") from error
        return plain

    def encode(self, text: str) -> list[int]:
        """Plain text to ids. Raises `UsageError` for a lone surrogate, which no bytes can say."""
        check_whole(text)
        return encode_text(self._tokenizer, text)


def unspaced(splitter: dict[str, Any] | None) -> dict[str, Any] | None:
    """A pre-tokenizer that puts no space before the text."""
    if splitter is None:
        return None
    if splitter.get("type") == "Sequence":
        return {**splitter, "pretokenizers": [unspaced(part) for part in splitter["pretokenizers"]]}
    return {**splitter, "add_prefix_space": False} if "add_prefix_space" in splitter else splitter
