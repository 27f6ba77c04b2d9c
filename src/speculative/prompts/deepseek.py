"""The dialect of DeepSeek-R1 and its distilled models."""

from __future__ import annotations

from collections.abc import Sequence

from speculative.problem import Message
from speculative.prompts.dialect import Dialect, instructed
from speculative.prompts.parts import Part, QuestionPrompt, SpecialToken
from speculative.prompts.qwen3 import Qwen3


class DeepSeekR1(Dialect):
    """DeepSeek-R1 and its distilled models: turns without newlines."""

    name = "deepseek-r1"
    begin = "<\uff5cbegin\u2581of\u2581sentence\uff5c>"
    user = "<\uff5cUser\uff5c>"
    assistant = "<\uff5cAssistant\uff5c>"
    stop_tokens = ("<\uff5cend\u2581of\u2581sentence\uff5c>",)
    answer_instruction = Qwen3.answer_instruction

    @property
    def special_tokens(self) -> tuple[str, ...]:
        return (*super().special_tokens, self.user, self.assistant)

    def prompt(self, messages: Sequence[Message], instruction: str) -> list[Part]:
        whole = instructed(messages, instruction)
        rules = "\n\n".join(message.content for message in whole if message.role == "system")
        turns = [part for message in whole if message.role != "system" for part in self._turn(message.role, message.content)]
        return [SpecialToken(self.begin), rules, *turns, *self._reply(), *self._thinking("\n")]

    def _end_turn(self, text: str) -> list[Part]:
        return [*self.close(text), SpecialToken(self.stop_tokens[0])]

    def _ask_alone(self, messages: Sequence[Message], text: str) -> QuestionPrompt:
        alone = super()._ask_alone(messages, text)
        return QuestionPrompt((SpecialToken(self.begin), *alone.parts), False)

    def _reply(self) -> list[Part]:
        return [SpecialToken(self.assistant)]

    def _turn(self, role: str, content: str) -> list[Part]:
        if role == "assistant":
            return [SpecialToken(self.assistant), content.rpartition(self.think_end)[2], SpecialToken(self.stop_tokens[0])]
        return [SpecialToken(self.user), content]
