"""The options of verbs that call an engine."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TypedDict

from msgspec import Struct

from speculative.chain.text_stream import Until
from speculative.chain.verb import check_differ, check_logprobs, check_number, check_predicate, check_whole, stop_strings, texts_of
from speculative.prompts import Question

REPLY_TOKENS = 256
"""The most tokens of a reply, unless the method says otherwise."""

MAX_ANSWER_PARTS = 32
"""Times that thinking tokens may interrupt an answer, before it counts as a loop."""


class DraftArguments(TypedDict, total=False):
    """The keyword arguments of `Chain.draft`."""

    max_tokens: int | None
    stop: str | Sequence[str] | None
    until: Until | None
    temperature: float | None
    logprobs: bool | int
    asked: Question | None


class AskArguments(TypedDict, total=False):
    """The keyword arguments of `Chain.ask`."""

    max_tokens: int | None
    temperature: float | None
    logprobs: bool | int
    choices: Sequence[str]


class WriteOptions(Struct, frozen=True):
    """The options of one `write` or `draft`."""

    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    temperature: float | None = None
    until: Until | None = None
    logprobs: bool | int = False

    @classmethod
    def of(
        cls,
        verb: str,
        max_tokens: int | None,
        stop: str | Sequence[str] | None,
        until: Until | None,
        temperature: float | None,
        logprobs: bool | int = False,
    ) -> WriteOptions:
        """Checks the arguments of a verb. Raises `ChainStateError`."""
        if until is None and (stop is None or type(stop) is str):  # a method writes with the same few options again and again
            return _plain_options(verb, max_tokens, stop, temperature, logprobs)
        return _check_options(verb, max_tokens, stop, until, temperature, logprobs)


def _check_options(
    verb: str,
    max_tokens: int | None,
    stop: str | Sequence[str] | None,
    until: Until | None,
    temperature: float | None,
    logprobs: bool | int,
) -> WriteOptions:
    check_whole(verb, max_tokens=max_tokens)
    check_number(verb, temperature=temperature)
    check_predicate(verb, until=until)
    check_logprobs(verb, logprobs)
    return WriteOptions(max_tokens, stop_strings(verb, stop), temperature, until, logprobs)


@lru_cache(256, typed=True)
def _known_options(verb: str, max_tokens: int | None, stop: str | None, temperature: float | None, logprobs: bool | int) -> WriteOptions:
    return _check_options(verb, max_tokens, stop, None, temperature, logprobs)


def _plain_options(verb: str, max_tokens: int | None, stop: str | None, temperature: float | None, logprobs: bool | int) -> WriteOptions:
    """Checks plain options, those that were found to be good only once."""
    try:
        return _known_options(verb, max_tokens, stop, temperature, logprobs)
    except TypeError:  # one has no hash, so it has a wrong type
        return _check_options(verb, max_tokens, stop, None, temperature, logprobs)


class AskOptions(Struct, frozen=True):
    """The options of one `ask`."""

    n: int
    max_tokens: int
    temperature: float | None = None
    logprobs: bool | int = False
    choices: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        verb: str,
        n: int | None,
        max_tokens: int | None,
        temperature: float | None,
        logprobs: bool | int,
        choices: Sequence[str],
    ) -> AskOptions:
        """Checks the arguments of a verb. Raises `ChainStateError`."""
        check_whole(verb, n=n, max_tokens=max_tokens)
        check_number(verb, temperature=temperature)
        check_logprobs(verb, logprobs)
        texts = texts_of(verb, "choices", choices)
        check_differ(verb, "choices", texts)
        return cls(n or 1, max_tokens or (1 if choices else REPLY_TOKENS), temperature, logprobs, texts)
