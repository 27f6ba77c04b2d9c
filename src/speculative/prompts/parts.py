"""What a prompt is made of, and what a model can be asked about a chain."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from speculative.engines.base import Vocabulary


class Mark(Struct, frozen=True):
    """A marker of the dialect; it becomes one token id."""

    text: str


Part = str | Mark


class Question(Struct, frozen=True):
    """Something that methods ask a model about a chain.

    `answer`: what would you answer now? `check`: compute the last step again. `judge`: how good is the last step, from 0
    to 9? (`verdict` reads the reply.) `rewrite`: write the chain's text shorter (`text` is what to rewrite; `curious`: end
    with a question). `free`: `text` is the instruction, in a turn of its own.
    """

    kind: Literal["answer", "check", "judge", "rewrite", "free"]
    text: str = ""
    curious: bool = False


class Asking(Struct, frozen=True):
    """How a dialect puts a question: the parts, whether they follow the chain or stand alone, and where the reply stops."""

    parts: tuple[Part, ...]
    follows_chain: bool
    stop: tuple[str, ...] = ()


SCORE = re.compile(r"\s*(?:([0-9])\s*\}|[0-9]+, ([0-9])\.)")
"""A box that closes behind one digit; or, from the pair that ships, a value and one digit that a full stop follows."""


def verdict(reply: str) -> int | None:
    """The score, 0 (wrong) to 9 (right), that a reply to a `judge` question gives; None where it gives none.

    A score is whole only with what ends it: the `1` of a `10`, or of a reply that was cut off, is none.
    """
    found = SCORE.match(reply)
    return int(found[1] or found[2]) if found else None


def shown(parts: Sequence[Part]) -> str:
    """Parts as somebody reads them, markers spelled out."""
    return "".join(part.text if isinstance(part, Mark) else part for part in parts)


def encode(vocabulary: Vocabulary, parts: Sequence[Part]) -> list[int]:
    """Parts to ids. Neighbouring texts are joined first, so that how a prompt is put together never shows in its tokens."""
    ids: list[int] = []
    text = ""
    for part in (*parts, None):
        if isinstance(part, str):
            text += part
            continue
        if text:
            ids += vocabulary.encode(text)
            text = ""
        if part is not None:
            ids.append(vocabulary.marker(part.text))
    return ids
