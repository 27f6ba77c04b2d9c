"""The base of all tokenizers that are read from a file."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

from speculative.engines.base import Ids, Tokenizer
from speculative.errors import UnknownSpecialTokenError, UsageError, WeightsError
from speculative.prompts import DIALECTS

Spec = Mapping[str, Any]
"""The contents of a `tokenizer.json`."""

TAG: Final = re.compile(r"<[^<>\s]+>|\[/?[A-Z_]+\]")
"""The form of a token that structures a prompt, such as `<think>` or `[INST]`."""

HTML: Final = re.compile(
    "</?(?:a|b|bbox|blockquote|body|br|caption|code|div|em|footer|h[1-6]|hr|html|i|iframe|img|li|ol|p|pre|s|span|strong|sub|sup"
    "|table|tbody|td|tfoot|th|thead|tr|u|ul)/?>"
)
"""Tags that are text: some vocabularies list them among their added tokens."""

BARRED: Final = re.compile(r"<[|\uff5c].*[|\uff5c]>")
"""The form that no text has but a marker."""

SAMPLES: Final = (
    *("\n", "\n\n", "\n\n\n", "\t", "\t\t\t", " ", "  ", " " * 7, " " * 40, "a \n\n b", "<table>\n<tr><td> 1</td>"),
    "Step 1.\n\nStep 2:\n- 3 * 4 = 12\n\n\n",
    "def f(x):\n    if x:\n\t\treturn [x,  1]\n",
)
"""Texts that a tokenizer must give back: newlines, tabs, runs of spaces and indented code."""

ESSENTIAL: Final = ("\n", " ")
"""Samples without which no prompt can be written."""

SHOWN = 12
"""Markers that an error lists."""

if TYPE_CHECKING:
    from tokenizers import Tokenizer as HfTokenizer

LONG_TEXT = 4096
"""Characters from which on `encode_text` lets other threads run meanwhile."""


class TokenTable:
    """The tokens of one tokenizer, with the bytes of each.

    An added token is a special token if the file says so, or if it is a tag that is not HTML. All other added tokens
    (newlines, runs of spaces) are text. No text becomes a special token. A tag that the file does not call special keeps its bytes where a
    model writes it, until a dialect asks for it: only a dialect knows that it marks something.
    """

    path: Path
    special_tokens: dict[str, int]
    texts: dict[str, dict[str, Any]]
    """The added tokens that are text, with their entries in the file."""
    _bytes: dict[int, bytes]
    _tags: dict[int, bytes]
    """The tags of no known dialect."""
    _lacking: frozenset[int] = frozenset()
    _fingerprint: str = ""

    def read_added(self, spec: Spec) -> None:
        """Sorts the added tokens of a file into special tokens and text.

        Raises what a damaged file raises.
        """
        self.special_tokens, self.texts, self._tags = {}, {}, {}
        markers = {token for dialect in DIALECTS.values() for token in dialect.special_tokens}
        for entry in cast("list[dict[str, Any]]", spec.get("added_tokens") or []):
            content, number = str(entry["content"]), int(entry["id"])
            tag = TAG.fullmatch(content) and not HTML.fullmatch(content)
            if entry.get("special", True) or tag:
                self.special_tokens[content] = number
                if not (entry.get("special", True) or content in markers or BARRED.fullmatch(content)):
                    self._tags[number] = content.encode()
            else:
                self.texts[content] = {**entry, "id": number, "lstrip": False, "rstrip": False}  # stripping would lose blanks

    def finish(self) -> None:
        """Completes the tables once `_bytes` is filled.

        Raises:
            WeightsError: A sample text does not come back byte for byte.
        """
        self._bytes |= self._tags
        self._known = frozenset(self._bytes) | frozenset(self.special_tokens.values())
        check_round_trip(cast("Tokenizer", self), str(self.path))

    @property
    def fingerprint(self) -> str:
        """A hash of every id with its bytes, and of every special token with its id."""
        if not self._fingerprint:
            texts = [(number, token.hex()) for number, token in sorted(self._bytes.items()) if number not in self._tags]
            self._fingerprint = hashlib.sha256(json.dumps([texts, sorted(self.special_tokens.items())]).encode()).hexdigest()[:32]
        return self._fingerprint

    def special_token_id(self, text: str) -> int:
        """Returns the id of a special token, which has no bytes from now on.

        Raises `UnknownSpecialTokenError`.
        """
        try:
            number = self.special_tokens[text]
        except KeyError:
            raise UnknownSpecialTokenError(
                f"{self.path}: no special token {text!r} (known: {_some(self.special_tokens, text)}); the dialect belongs to another model"
            ) from None
        if number in self._tags:
            self._bytes.pop(number, None)
        return number

    def knows(self, ids: Ids) -> bool:
        """Returns True if every id is in the vocabulary."""
        return self._known.issuperset(ids)

    def to_bytes(self, ids: Ids) -> bytes:
        """Returns the exact bytes of the ids; special tokens and padding give none."""
        try:
            return b"".join(map(self._bytes.__getitem__, ids))
        except KeyError:  # a special token is among them
            return b"".join([self._bytes.get(number, b"") for number in ids])

    def encode(self, text: str) -> list[int]:
        """Returns the ids of plain text.

        Raises:
            UsageError: The text holds a lone surrogate, or a byte that the vocabulary lacks.
        """
        check_whole(text)
        ids = self._encode(text)
        if self._lacking and not self._lacking.isdisjoint(text.encode()):
            self._check_spelled(text, ids)
        return ids

    def _encode(self, text: str) -> list[int]:
        raise NotImplementedError

    def _check_spelled(self, text: str, ids: list[int]) -> None:
        """Raises `UsageError` if the ids do not spell the text."""
        if self.to_bytes(ids) == text.encode():
            return
        place, character = next((place, one) for place, one in enumerate(text) if not self._lacking.isdisjoint(one.encode()))
        raise UsageError(f"{self.path}: no token for {character!r} (at {place} of the text); leave it out, or use another model")


def check_round_trip(tokenizer: Tokenizer, name: str) -> None:
    """Raises `WeightsError` if a text of `SAMPLES` does not come back byte for byte.

    A text that needs a byte which the vocabulary lacks is left out: it is refused when it is encoded. Every prompt needs `ESSENTIAL`.
    """
    step = "fetch the tokenizer again, or use another model"
    for text in SAMPLES:
        try:
            data = tokenizer.to_bytes(tokenizer.encode(text))
        except UsageError as error:
            if text in ESSENTIAL:
                raise WeightsError(f"{name}: cannot encode {text!r} ({error}); {step}") from None
            continue
        if data != text.encode():
            raise WeightsError(f"{name}: the text {text!r} comes back as {data!r}; {step}")


def _some(special_tokens: dict[str, int], text: str) -> str:
    """Lists a dozen special tokens, the most alike first."""
    alike = get_close_matches(text, special_tokens, SHOWN, 0.0)
    more = len(special_tokens) - len(alike)
    return (", ".join(alike) or "none") + (f", and {more} more" if more else "")


def check_whole(text: str) -> None:
    """Raises `UsageError` for a lone surrogate, which has no bytes."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = f"U+{ord(text[error.start]):04X}"
        raise UsageError(f"the text has half a character ({half}) at {error.start}; give valid Unicode") from None


def encode_text(tokenizer: HfTokenizer, text: str) -> list[int]:
    """Encodes plain text. A long text does not hold the interpreter's lock meanwhile."""
    if len(text) < LONG_TEXT:
        return tokenizer.encode(text, add_special_tokens=False).ids
    return tokenizer.encode_batch_fast([text], add_special_tokens=False)[0].ids  # `encode` holds the lock for seconds a megabyte
