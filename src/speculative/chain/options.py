"""The options of verbs that call an engine."""

from __future__ import annotations

from msgspec import Struct

from speculative.chain.text_stream import Until


class WriteOptions(Struct, frozen=True):
    """The options of one `write` or `draft`."""

    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    temperature: float | None = None
    until: Until | None = None
    logprobs: bool | int = False


class AskOptions(Struct, frozen=True):
    """The options of one `ask`."""

    n: int
    max_tokens: int
    temperature: float | None = None
    logprobs: bool | int = False
    choices: tuple[str, ...] = ()
