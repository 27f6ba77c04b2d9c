"""Text out of token ids as they come, and the token at which a predicate ends it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from typing import Literal, cast

from msgspec import structs

from speculative.engines.base import Completion, Ids, TextDecoder, UnfinishedCharacter
from speculative.errors import ChainStateError
from speculative.trace.state import first_authors

Until = Callable[[str], bool]
"""Takes the text of a call so far. Its first yes ends the text there."""

EndRule = Callable[[str], Literal["until", "stop"] | None]
"""Returns the finish reason if the text of a call ends here, else None."""


class TextStream:
    """Collects ids whose characters are whole.

    `finish` is set at the first token boundary at which the rule `ends` returns a reason. The rule is asked at every boundary in order,
    so it does not matter how the ids are cut into pieces.
    """

    def __init__(self, tokenizer: TextDecoder, ends: EndRule | None = None) -> None:
        self.ids: list[int] = []
        self.finish: Literal["until", "stop"] | None = None
        self._to_bytes, self._ends = tokenizer.to_bytes, ends
        self._held: tuple[int, ...] = ()
        self._text = ""

    def add(self, ids: Ids) -> str:
        """Returns the new text that is whole with these ids.

        The text goes up to the end that the rule finds.
        """
        if self._ends is None:
            return self._take(tuple(ids))
        new = ""
        for token in ids:
            if text := self._take((token,)):
                new += text
                self._text += text
                if finish := self._ends(self._text):
                    self.finish = finish
                    break
        return new

    def _take(self, ids: tuple[int, ...]) -> str:
        self._held = held = (*self._held, *ids) if self._held else ids
        data = self._to_bytes(held)
        if not data or UnfinishedCharacter.trailing(data):
            return ""
        self.ids.extend(held)
        self._held = ()
        return data.decode("utf-8", "replace")


def cut(completion: Completion, size: int, finish: Literal["until", "stop"]) -> Completion:
    """Returns the first `size` tokens of a completion."""
    return structs.replace(
        completion,
        ids=completion.ids[:size],
        authors=first_authors(completion.authors, size),
        finish=finish,
        end_id=None,
        logprobs=completion.logprobs and completion.logprobs[:size],
        top_logprobs=completion.top_logprobs and completion.top_logprobs[:size],
    )


def tokens_within(tokenizer: TextDecoder, ids: Ids, characters: int) -> int:
    """Returns how many of the first ids have at most `characters` whole characters."""
    stream, found, size = TextStream(tokenizer), 0, 0
    for token in ids:
        size += len(stream.add((token,)))
        if size > characters:
            break
        found = len(stream.ids)
    return found


def extended(first: Completion, rest: Completion) -> Completion:
    """Returns two completions of which one goes on from the other as one."""
    return structs.replace(
        rest,
        ids=first.ids + rest.ids,
        logprobs=None if first.logprobs is None else first.logprobs + (rest.logprobs or ()),
        top_logprobs=None if first.top_logprobs is None else first.top_logprobs + (rest.top_logprobs or ()),
        choice_logprobs=first.choice_logprobs,
        authors=first.authors + rest.authors,
    )


def begun_stops(before: str, stops: Iterable[str]) -> tuple[str, ...]:
    """Returns the rests of stop strings that a text begins at its end."""
    return tuple(stop[size:] for stop in stops for size in range(1, len(stop)) if before.endswith(stop[:size]))


def completes(before: str, text: str, stops: Iterable[str]) -> bool:
    """Returns whether a stop string ends in a text, perhaps begun in the one before."""
    return any(stop in before[max(0, len(before) - len(stop) + 1) :] + text for stop in stops)


def end_rule(until: Until | None, begun: tuple[str, ...], before: str = "") -> EndRule | None:
    """Returns the rule of a call, or None if it needs none.

    Args:
        until: The caller's predicate.
        begun: The rests of stop strings that the text before the call begins. The call may begin with one of them.
        before: Text of the same verb before this call; `until` gets it too.
    """
    if not begun and until is None:
        return None

    def ends(text: str) -> Literal["until", "stop"] | None:
        if begun and text.startswith(begun):
            return "stop"
        return "until" if until is not None and _says_yes(until, before + text) else None

    return ends


def _says_yes(until: Until, text: str) -> bool:
    said = cast("object", until(text))
    if isinstance(said, Coroutine):
        said.close()
        raise ChainStateError("until must be a plain function of a text, got one that returns a coroutine; leave `async` out")
    return bool(said)
