"""Values as text that a page unpacks when it needs them: JSON, deflated, in base64. And a chain's strokes, as they are packed.

A page holds thousands of chains of thousands of tokens, and shows a few: each is a block of its own.
"""

from __future__ import annotations

import binascii
import zlib
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec import Struct

from speculative.report.timeline import Fate, Sketch, Stroke
from speculative.trace.events import Phase
from speculative.trace.trace import Trace
from speculative.trace.usage import Usage

LEVEL = 9
"""Of zlib: a file is written once and kept."""

Kind = tuple[str, Fate, Phase, int, str]


class PackedChain(Struct, frozen=True):
    """The sketch of a chain, by columns, and what it cost.

    Stroke i is `texts[i]`, of the author, fate, phase, depth and verdict `kinds[marks[i]]`. `sureness` is empty if no draft has one.
    """

    kinds: list[Kind]
    marks: list[int]
    texts: list[str]
    tokens: list[int]
    sureness: list[float | None]
    usage: dict[str, Usage]

    @classmethod
    def of(cls, trace: Trace) -> PackedChain:
        sketch = Sketch(trace)
        sketch.close()
        strokes = sketch.strokes
        kinds = {_kind(stroke): 0 for stroke in strokes}
        kinds = {kind: place for place, kind in enumerate(kinds)}
        sureness = [stroke.sureness for stroke in strokes]
        return cls(
            kinds=list(kinds),
            marks=[kinds[_kind(stroke)] for stroke in strokes],
            texts=[stroke.text for stroke in strokes],
            tokens=[stroke.tokens for stroke in strokes],
            sureness=sureness if any(found is not None for found in sureness) else [],
            usage=trace.usage(),
        )

    def strokes(self) -> list[Stroke]:
        """The strokes that were packed."""
        sureness: Sequence[float | None] = self.sureness or [None] * len(self.texts)
        found: list[Stroke] = []
        for mark, text, tokens, sure in zip(self.marks, self.texts, self.tokens, sureness, strict=True):
            author, fate, phase, depth, verdict = self.kinds[mark]
            found.append(Stroke(author, text, fate, phase, depth, tokens, verdict, sure))
        return found


def pack(value: Any) -> bytes:
    """Base64 of the deflated JSON: it can stand in a page whatever was in the value."""
    return binascii.b2a_base64(zlib.compress(msgspec.json.encode(value), LEVEL), newline=False)


def unpack(block: bytes, type: Any = Any) -> Any:
    """What was packed. Raises `zlib.error`, `binascii.Error` and `msgspec.MsgspecError` for what was not."""
    return msgspec.json.decode(zlib.decompress(binascii.a2b_base64(block)), type=type)


def _kind(stroke: Stroke) -> Kind:
    return (stroke.author, stroke.fate, stroke.phase, stroke.depth, stroke.verdict)
