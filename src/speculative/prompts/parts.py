"""The parts of a prompt, and the questions of methods about a chain."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, Literal

from msgspec import Struct

from speculative.engines.base import Tokenizer


class SpecialToken(Struct, frozen=True):
    """A special token of the dialect, such as `<think>`; it becomes one token id."""

    text: str


Part = str | SpecialToken
"""A str is always text, also if it spells a special token."""


class Question(Struct, frozen=True):
    """A question of a method about a chain.

    Attributes:
        kind: `answer` asks for the answer so far, `check` for a second computation of the last step, `judge` for a score of the
            last step from 0 to 9 (`parse_score` reads it), `rewrite` for a shorter text, and `free` asks `text`.
            `alone` asks it without the problem and the chain. `hint` asks for a hint to a weaker model that goes on from here.
        text: the text to rewrite, the instruction of `free`, or the subjects of the hint.
        ask_follow_up: True if the rewritten text must end with a question.
        level: the length of the hint, from 1 to 3.
    """

    kind: Literal["answer", "check", "judge", "rewrite", "free", "alone", "hint"]
    text: str = ""
    ask_follow_up: bool = False
    level: int = 1


class QuestionPrompt(Struct, frozen=True):
    """The prompt of a question, and the stop strings of the reply."""

    parts: tuple[Part, ...]
    follows_chain: bool
    stop: tuple[str, ...] = ()


SCORE: Final = re.compile(r"\s*(?:([0-9])\s*\}|[0-9]+, ([0-9])\.)")
"""Matches a box with one digit; or, from the bundled pair, a value and one digit before a full stop."""


def parse_score(reply: str) -> int | None:
    """Reads the score of a reply to `judge`, from 0 to 9, or None.

    A digit counts only with the character that ends the score, so the `1` of `10` or of a truncated reply does not.
    """
    found = SCORE.match(reply)
    return int(found[1] or found[2]) if found else None


def render(parts: Sequence[Part]) -> str:
    """Returns the parts as one text with the special tokens spelled out."""
    return "".join(part.text if isinstance(part, SpecialToken) else part for part in parts)


def encode_parts(tokenizer: Tokenizer, parts: Sequence[Part]) -> list[int]:
    """Encodes the parts.

    Adjacent texts are joined first, so that the ids do not depend on the split.
    """
    ids: list[int] = []
    text = ""
    for part in (*parts, None):
        if isinstance(part, str):
            text += part
            continue
        if text:
            ids += tokenizer.encode(text)
            text = ""
        if part is not None:
            ids.append(tokenizer.special_token_id(part.text))
    return ids
