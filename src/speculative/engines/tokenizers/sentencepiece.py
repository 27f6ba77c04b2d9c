"""The tokenizer of a BPE with byte fallback, as Llama 2 and Gemma have it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from speculative.engines.tokenizers.base import Spec, TokenTable, encode_text
from speculative.errors import WeightsError

if TYPE_CHECKING:
    from tokenizers import Tokenizer as HfTokenizer

SPACE: Final = "\u2581"
"""The spelling of a space in such a vocabulary. A text that holds this character itself spells it in bytes."""

BYTE: Final = re.compile(r"<0x([0-9A-F]{2})>")


class SentencePieceTokenizer(TokenTable):
    """The `Tokenizer` of a model folder.

    No space is put before a text, nothing is normalised, no text becomes a special token.

    `spec` is the contents of a `tokenizer.json`; without it, `path` is read.
    Raises `WeightsError` when the file is missing or damaged.
    """

    def __init__(self, path: Path, spec: Spec | None = None) -> None:
        self.path = path
        try:
            spec = spec or cast("Spec", json.loads(path.read_text(encoding="utf-8")))
            vocabulary = cast("dict[str, int]", spec["model"]["vocab"])
            self.read_added(spec)
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise WeightsError(f"{path}: not a tokenizer ({type(error).__name__}: {error}); fetch it again") from None
        byte_ids = self._read_bytes(vocabulary)
        self._lacking = frozenset(range(256)) - frozenset(byte_ids)
        self._space_bytes = [byte_ids[byte] for byte in SPACE.encode() if byte in byte_ids]
        self._tokenizer = self._plain(spec)
        self.finish()

    def _read_bytes(self, vocabulary: dict[str, int]) -> dict[int, int]:
        """Fills the table of bytes; returns the ids of the tokens for single bytes."""
        self._bytes = {entry["id"]: content.replace(SPACE, " ").encode() for content, entry in self.texts.items()}
        others = frozenset(self.special_tokens.values()) | frozenset(self._bytes)
        byte_ids: dict[int, int] = {}
        for token, number in vocabulary.items():
            if number in others:
                continue
            if byte := BYTE.fullmatch(token):
                byte_ids[int(byte[1], 16)] = number
                self._bytes[number] = bytes([int(byte[1], 16)])
            else:
                self._bytes[number] = token.replace(SPACE, " ").encode()
        return byte_ids

    def _plain(self, spec: Spec) -> HfTokenizer:
        """Returns a tokenizer without special tokens, templates and added spaces."""
        from tokenizers import AddedToken, Tokenizer, models, normalizers

        # Runs of spaces that are spelled as the vocabulary spells them are reached by merges; a text never holds their spelling.
        added = [content for content in self.texts if SPACE not in content]
        vocabulary, model = spec["model"]["vocab"], spec["model"]
        # Markers and byte tokens stay out of reach of merges: only the fallback itself may give a byte.
        unreachable = {token for token in vocabulary if token[:3] == "<0x" and BYTE.fullmatch(token)} | set(self.special_tokens)
        try:
            pairs = [tuple(merge.split(" ", 1) if isinstance(merge, str) else merge) for merge in model["merges"]]
            merges: Any = [pair for pair in pairs if "".join(pair) not in unreachable]
            vocabulary = vocabulary | {content: self.texts[content]["id"] for content in added}
            unknown = model.get("unk_token")
            bpe = models.BPE(vocabulary, merges, unk_token=unknown, fuse_unk=bool(model.get("fuse_unk")), byte_fallback=True)
            plain: Any = Tokenizer(bpe)
            plain.normalizer = normalizers.Replace(" ", SPACE)
            plain.add_tokens([AddedToken(content, normalized=False) for content in added])
        except Exception as error:  # the library raises bare Exception
            raise WeightsError(f"{self.path}: not a tokenizer ({error}); fetch it again") from error
        return plain

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = []
        for place, part in enumerate(text.split(SPACE)):
            ids += self._space_bytes if place else []
            ids += encode_text(self._tokenizer, part) if part else []
        return ids
