"""The dialect of unknown model families that think between special tokens."""

from __future__ import annotations

from collections.abc import Sequence

from speculative.problem import Message
from speculative.prompts.dialect import Dialect, instructed
from speculative.prompts.parts import Part, QuestionPrompt, SpecialToken


class Think(Dialect):
    """An unknown model family with `<think>`.

    Its turns are plain text, as in a written dialogue.
    """

    def __init__(self, name: str, begin: str, end: str) -> None:
        self.name, self.begin, self.stop_tokens = name, begin, (end,)

    def prompt(self, messages: Sequence[Message], instruction: str) -> list[Part]:
        turns = [part for message in instructed(messages, instruction) for part in self._turn(message.role, message.content)]
        return [*self._begin(), *turns, *self._reply(), *self._thinking("\n")]

    def _begin(self) -> list[Part]:
        return [SpecialToken(self.begin)] if self.begin != self.stop_tokens[0] else []

    def _end_turn(self, text: str) -> list[Part]:
        return [*self.close(text), "\n\n"]

    def _ask_alone(self, messages: Sequence[Message], text: str) -> QuestionPrompt:
        return QuestionPrompt((*self._begin(), *super()._ask_alone(messages, text).parts), False)

    def _reply(self) -> list[Part]:
        return ["Assistant: "]

    def _turn(self, role: str, content: str) -> list[Part]:
        return [f"{role.capitalize()}: {content}\n\n"]
