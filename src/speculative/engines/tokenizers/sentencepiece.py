"""Tokens of a BPE that falls back to bytes (SentencePiece, as Llama 2 and Mistral have it), read from a `tokenizer.json`."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from speculative.engines.tokenizers.base import TokenTable, check_whole, encode_text
from speculative.errors import BadWeights

if TYPE_CHECKING:
    from tokenizers import Tokenizer

SPACE = "\u2581"
"""What such a vocabulary writes for a space. A text that holds this character itself spells it in bytes."""

BYTE = re.compile(r"<0x([0-9A-F]{2})>")


class PieceVocabulary(TokenTable):
    """The `Vocabulary` of a model folder. No space is put before a text, nothing is normalised, no text becomes a marker.

    Raises `BadWeights` when the file is missing, damaged, or has no token for some byte.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            spec: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            vocabulary = cast("dict[str, int]", spec["model"]["vocab"])
            added = cast("list[dict[str, Any]]", spec.get("added_tokens") or [])
            self.markers = {str(token["content"]): int(token["id"]) for token in added}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadWeights(f"{path}: not a tokenizer ({type(error).__name__}: {error}); fetch it again") from None
        marked = frozenset(self.markers.values())
        self._byte_ids: dict[int, int] = {}
        self._bytes = {}
        for token, number in vocabulary.items():
            if number in marked:
                continue
            byte = BYTE.fullmatch(token)
            if byte:
                self._byte_ids[int(byte[1], 16)] = number
                self._bytes[number] = bytes([int(byte[1], 16)])
            else:
                self._bytes[number] = token.replace(SPACE, " ").encode()
        missing = set(range(256)) - set(self._byte_ids)
        if missing:
            raise BadWeights(f"{path}: no token for byte {min(missing)}; a vocabulary has to say every text")
        self._tokenizer = self._plain(spec, marked)
        self._space_bytes = [self._byte_ids[byte] for byte in SPACE.encode()]

    def _plain(self, spec: dict[str, Any], marked: frozenset[int]) -> Tokenizer:
        """The tokenizer without markers, templates and added spaces: all that it does to a text is to write its spaces."""
        from tokenizers import Tokenizer

        spaces = {"type": "Replace", "pattern": {"String": " "}, "content": SPACE}
        nothing: dict[str, Any] = {"added_tokens": [], "pre_tokenizer": None, "post_processor": None, "truncation": None, "padding": None}
        vocabulary, merges = spec["model"]["vocab"], spec["model"]["merges"]
        # Markers and byte tokens stay out of reach of merges: only the fallback itself may give a byte.
        unreachable = {token for token, number in vocabulary.items() if number in marked or BYTE.fullmatch(token)}
        pairs = [merge.split(" ", 1) if isinstance(merge, str) else merge for merge in merges]
        kept = [pair for pair in pairs if "".join(pair) not in unreachable]
        model = {**spec["model"], "merges": kept, "ignore_merges": False, "dropout": None}
        try:
            return Tokenizer.from_str(json.dumps({**spec, **nothing, "normalizer": spaces, "model": model}))
        except Exception as error:  # the library raises bare Exception
            raise BadWeights(f"{self.path}: not a tokenizer ({error}); fetch it again") from error

    def encode(self, text: str) -> list[int]:
        """Plain text to ids. Raises `UsageError` for a lone surrogate, which no bytes can say."""
        check_whole(text)
        ids: list[int] = []
        for place, part in enumerate(text.split(SPACE)):
            ids += self._space_bytes if place else []
            ids += encode_text(self._tokenizer, part) if part else []
        return ids
