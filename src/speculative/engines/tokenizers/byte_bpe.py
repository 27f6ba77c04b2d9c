"""The tokenizer of a byte-level BPE."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from speculative.engines.tokenizers.base import Spec, TokenTable, encode_text
from speculative.errors import WeightsError

if TYPE_CHECKING:
    from tokenizers import Tokenizer as HfTokenizer


def byte_alphabet() -> dict[str, int]:
    """Returns the byte of each character of byte-level BPE.

    Printable Latin-1 stands for itself, the rest moves above 255.
    """
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    moved = [byte for byte in range(256) if byte not in set(plain)]
    return {chr(byte): byte for byte in plain} | {chr(256 + i): byte for i, byte in enumerate(moved)}


class ByteBpeTokenizer(TokenTable):
    """The `Tokenizer` of a model folder.

    Text is encoded without special tokens and without a normalizer, so that no text becomes a special token and every text comes back
    byte for byte. `spec` is the contents of a `tokenizer.json`; without it, `path` is read.
    Raises `WeightsError` when the file is missing, damaged, or not a byte-level BPE.
    """

    def __init__(self, path: Path, spec: Spec | None = None) -> None:
        self.path = path
        try:
            spec = spec or cast("Spec", json.loads(path.read_text(encoding="utf-8")))
            vocabulary = cast("dict[str, int]", spec["model"]["vocab"])
            self.read_added(spec)
        except FileNotFoundError:
            raise WeightsError(f"{path}: there is no such file; a model folder needs its tokenizer.json") from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise WeightsError(f"{path}: not a tokenizer ({type(error).__name__}: {error}); fetch the model folder again") from error
        self._read_bytes(vocabulary)
        self._tokenizer = self._plain(spec)
        self.finish()

    def _read_bytes(self, vocabulary: dict[str, int]) -> None:
        alphabet = byte_alphabet()
        self._bytes = {entry["id"]: content.encode() for content, entry in self.texts.items()}
        others = frozenset(self.special_tokens.values()) | frozenset(self._bytes)
        for token, number in vocabulary.items():
            if number in others:
                continue
            try:
                self._bytes[number] = bytes([alphabet[character] for character in token])
            except KeyError:
                raise WeightsError(
                    f"{self.path}: token {number} {token!r} is not made of bytes; only byte-level BPE is supported"
                ) from None
        self._lacking = frozenset(range(256)) - {token[0] for token in self._bytes.values() if len(token) == 1}

    def _plain(self, spec: Spec) -> HfTokenizer:
        """Returns a tokenizer without special tokens, normalizer, spaces and templates."""
        from tokenizers import Tokenizer

        nothing: dict[str, Any] = {"normalizer": None, "post_processor": None, "truncation": None, "padding": None}
        try:
            # An added token takes its id from the model's vocabulary, where no merge can reach it.
            added = {content: entry["id"] for content, entry in self.texts.items()}
            # A special token that the BPE lists itself could be matched whole by `ignore_merges`.
            model = {**spec["model"], "vocab": {**spec["model"]["vocab"], **added}, "ignore_merges": False, "dropout": None}
            splitter = unspaced(spec.get("pre_tokenizer"))
            whole = {**spec, **nothing, "model": model, "pre_tokenizer": splitter, "added_tokens": [*self.texts.values()]}
            return Tokenizer.from_str(json.dumps(whole))
        except Exception as error:  # the library raises bare Exception
            raise WeightsError(f"{self.path}: not a tokenizer ({error}); fetch the model folder again") from error

    def _encode(self, text: str) -> list[int]:
        return encode_text(self._tokenizer, text)


def unspaced(splitter: dict[str, Any] | None) -> dict[str, Any] | None:
    """Returns a pre-tokenizer that puts no space before the text."""
    if splitter is None:
        return None
    if splitter.get("type") == "Sequence":
        return {**splitter, "pretokenizers": [unspaced(part) for part in splitter["pretokenizers"]]}
    return {**splitter, "add_prefix_space": False} if "add_prefix_space" in splitter else splitter
