"""The parts of a prompt, and the questions that methods ask a model about a chain."""

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
"""A str is text that stays text, whatever it says."""


class Question(Struct, frozen=True):
    """A question that a method asks a model about a chain.

    `answer`: what would you answer now? `check`: compute the last step again. `judge`: how good is the last step, from 0
    to 9? (`parse_score` reads the reply.) `rewrite`: write the chain's text shorter (`text` is the text to rewrite;
    `ask_follow_up`: end with a question). `free`: `text` is the instruction, in a turn of its own. `alone`: the same, without
    the problem and the chain before it.
    """

    kind: Literal["answer", "check", "judge", "rewrite", "free", "alone"]
    text: str = ""
    ask_follow_up: bool = False


class QuestionPrompt(Struct, frozen=True):
    """A question as a dialect puts it: its parts, whether they follow the chain or stand alone, and where the reply stops."""

    parts: tuple[Part, ...]
    follows_chain: bool
    stop: tuple[str, ...] = ()


SCORE: Final = re.compile(r"\s*(?:([0-9])\s*\}|[0-9]+, ([0-9])\.)")
"""A box that closes behind one digit; or, from the pair that ships, a value and one digit that a full stop follows."""


def parse_score(reply: str) -> int | None:
    """Reads the score, 0 (wrong) to 9 (right), out of the reply to a `judge` question; None where it gives none.

    A digit counts only with the character that ends the score: the `1` of a `10`, or of a reply that was cut off, does not.
    """
    found = SCORE.match(reply)
    return int(found[1] or found[2]) if found else None


def render(parts: Sequence[Part]) -> str:
    """Returns the parts as one text, special tokens spelled out."""
    return "".join(part.text if isinstance(part, SpecialToken) else part for part in parts)


def encode_parts(tokenizer: Tokenizer, parts: Sequence[Part]) -> list[int]:
    """Encodes the parts. Neighbouring texts are joined first, so that the ids do not depend on how a prompt was put together."""
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
