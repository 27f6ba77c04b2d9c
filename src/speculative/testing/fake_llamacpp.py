"""How llama.cpp's server tells of a completion, for `FakeServer`: as a live one was seen to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from speculative.engines.base import Completion, UnfinishedCharacter, Vocabulary


class LlamaSpeech:
    """A completion, token by token; `end` is what comes after the last.

    Nothing is sent in the middle of a character; then only its last id, with the text of all. Text that may begin a stop string
    waits, its ids do not. A stop string itself is cut off the text, and not off the ids.
    """

    def __init__(self, vocabulary: Vocabulary, whole: Completion, stops: Sequence[str], prompt: int, *, cached: bool) -> None:
        self._ids = [*whole.ids, *([] if whole.end_id is None else [whole.end_id])]
        self._values = [*(whole.logprobs or ()), -0.5] if whole.logprobs else []
        self._length = len(whole.ids)
        self._stops = [stop.encode() for stop in stops]
        self._word = ""
        sent, written = 0, b""
        self._answers: list[list[dict[str, Any]]] = []
        for place, number in enumerate(self._ids):
            written += vocabulary.to_bytes([number])
            self._answers.append([])
            if not UnfinishedCharacter.trailing(written):
                text = self._free(written[sent:])
                sent += len(text)
                self._answers[-1].append(self._told(place, text))
        for marker, number in vocabulary.markers.items():
            if number == whole.end_id and marker in stops:
                self._word = marker
        reason = "limit" if whole.finish in ("length", "context") else "word" if self._word else "eos"
        held: dict[str, Any] = {"tokens_cached": prompt + len(self._ids) - 1, "timings": {"cache_n": 0} if cached else {}}
        end: dict[str, Any] = {"content": "", "tokens": [], "stop": True, "stop_type": reason, "stopping_word": self._word}
        self.end: dict[str, Any] = {**end, "tokens_predicted": len(self._ids), **held}

    def between(self, start: int, end: int) -> list[dict[str, Any]]:
        """What is sent when these tokens of the text are written; its last one brings the one that ended it."""
        last = end >= self._length
        return [answer for answers in self._answers[start : None if last else end] for answer in answers]

    def _free(self, text: bytes) -> bytes:
        """What of a text can be sent."""
        for stop in self._stops:
            if stop in text:
                self._word = stop.decode()
                return text[: text.index(stop)]
        waits = any(text.endswith(stop[:size]) for stop in self._stops for size in range(1, len(stop)))
        return b"" if waits else text

    def _told(self, place: int, text: bytes) -> dict[str, Any]:
        told = {"content": text.decode("utf-8", "replace"), "tokens": [self._ids[place]], "stop": False, "tokens_predicted": place + 1}
        scored = [{"id": self._ids[place], "logprob": self._values[place]}] if self._values else None
        return told | ({"completion_probabilities": scored} if scored else {})


def begun(prompt: int) -> dict[str, Any]:
    """What is sent of the prompt, before any token (with one that is none)."""
    progress = {"total": prompt, "cache": 0, "processed": 0, "time_ms": 0}
    return {"tokens": [0], "stop": False, "tokens_predicted": 0, "prompt_progress": progress}
