"""Streams a completion as llama.cpp's server does, for `FakeServer`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from speculative.engines.base import Completion, Tokenizer, UnfinishedCharacter


class LlamaCppStream:
    """Cuts a completion into the messages of a stream; `end` is the last.

    As a live server was seen to do, it sends nothing in the middle of a character, and then its last id alone, with the whole text.
    Text that may begin a stop string waits, its ids do not. A stop string is cut off the text, not off the ids.
    """

    def __init__(self, tokenizer: Tokenizer, whole: Completion, stops: Sequence[str], prompt: int, *, cached: bool) -> None:
        self._ids = [*whole.ids, *([] if whole.end_id is None else [whole.end_id])]
        self._values = [*(whole.logprobs or ()), -0.5] if whole.logprobs is not None else []
        self._top = whole.top_logprobs or ()
        self._length = len(whole.ids)
        self._stops = [stop.encode() for stop in stops]
        self._word = ""
        sent, written = 0, b""
        self._messages: list[list[dict[str, Any]]] = []
        for place, number in enumerate(self._ids):
            written += tokenizer.to_bytes([number])
            self._messages.append([])
            if not UnfinishedCharacter.trailing(written):
                text = self._sendable(written[sent:])
                sent += len(text)
                self._messages[-1].append(self._message(place, text))
        for marker, number in tokenizer.special_tokens.items():
            if number == whole.end_id and marker in stops:
                self._word = marker
        reason = "limit" if whole.finish in ("length", "context") else "word" if self._word else "eos"
        held: dict[str, Any] = {"tokens_cached": prompt + len(self._ids) - 1, "timings": {"cache_n": 0} if cached else {}}
        end: dict[str, Any] = {"content": "", "tokens": [], "stop": True, "stop_type": reason, "stopping_word": self._word}
        self.end: dict[str, Any] = {**end, "tokens_predicted": len(self._ids), **held}

    def messages(self, start: int, end: int) -> list[dict[str, Any]]:
        """Returns the messages of these tokens; the last one also brings the end id."""
        last = end >= self._length
        return [message for messages in self._messages[start : None if last else end] for message in messages]

    def _sendable(self, text: bytes) -> bytes:
        """Returns the part of a text that can be sent."""
        for stop in self._stops:
            if stop in text:
                self._word = stop.decode()
                return text[: text.index(stop)]
        waits = any(text.endswith(stop[:size]) for stop in self._stops for size in range(1, len(stop)))
        return b"" if waits else text

    def _message(self, place: int, text: bytes) -> dict[str, Any]:
        message = {"content": text.decode("utf-8", "replace"), "tokens": [self._ids[place]], "stop": False, "tokens_predicted": place + 1}
        if not self._values:
            return message
        likely = [{"id": number, "logprob": logprob} for number, logprob in (self._top[place] if self._top else ())]
        scored = {"id": self._ids[place], "logprob": self._values[place], "top_logprobs": likely}
        return {**message, "completion_probabilities": [scored]}


def progress_message(prompt: int) -> dict[str, Any]:
    """Returns the message of prompt progress, which carries a dummy token."""
    progress = {"total": prompt, "cache": 0, "processed": 0, "time_ms": 0}
    return {"tokens": [0], "stop": False, "tokens_predicted": 0, "prompt_progress": progress}
