"""Models of no known family that think between markers."""

from __future__ import annotations

from collections.abc import Sequence

from speculative.problem import Message
from speculative.prompts.dialect import Dialect, instructed
from speculative.prompts.parts import Asking, Mark, Part


class Think(Dialect):
    """A model of no known family that has `<think>` markers: turns are plain text, in the way of a dialogue that is written down."""

    def __init__(self, name: str, begin: str, end: str) -> None:
        self.name, self.begin, self.ends = name, begin, (end,)

    def prompt(self, messages: Sequence[Message], instruction: str) -> list[Part]:
        parts: list[Part] = [Mark(self.begin)] if self.begin != self.ends[0] else []
        for message in instructed(messages, instruction):
            parts += self._turn(message.role, message.content)
        return [*parts, "Assistant: ", Mark(self.think), "\n"]

    def _next_turn(self, text: str, asked: str) -> tuple[Part, ...]:
        return (*self.close(text), "\n\n", *self._turn("user", asked), *self._unthinking())

    def _alone(self, messages: Sequence[Message], text: str) -> Asking:
        begin = [Mark(self.begin)] if self.begin != self.ends[0] else []
        return Asking((*begin, *super()._alone(messages, text).parts), False)

    def _unthinking(self) -> list[Part]:
        return ["Assistant: ", Mark(self.think), "\n\n", Mark(self.unthink), "\n\n"]

    def _turn(self, role: str, content: str) -> list[Part]:
        return [f"{role.capitalize()}: {content}\n\n"]
