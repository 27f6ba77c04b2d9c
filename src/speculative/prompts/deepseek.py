"""DeepSeek-R1 and its distills."""

from __future__ import annotations

from collections.abc import Sequence

from speculative.problem import Message
from speculative.prompts.dialect import Dialect, instructed
from speculative.prompts.parts import Asking, Mark, Part
from speculative.prompts.qwen3 import Qwen3


class DeepSeekR1(Dialect):
    """DeepSeek-R1 and its distills, Qwen and Llama alike: turns without newlines, system texts before the first of them."""

    name = "deepseek-r1"
    begin = "<\uff5cbegin\u2581of\u2581sentence\uff5c>"
    user = "<\uff5cUser\uff5c>"
    assistant = "<\uff5cAssistant\uff5c>"
    ends = ("<\uff5cend\u2581of\u2581sentence\uff5c>",)
    answer_instruction = Qwen3.answer_instruction

    @property
    def markers(self) -> tuple[str, ...]:
        return (*super().markers, self.user, self.assistant)

    def prompt(self, messages: Sequence[Message], instruction: str) -> list[Part]:
        told = instructed(messages, instruction)
        rules = "\n\n".join(message.content for message in told if message.role == "system")
        turns = [part for message in told if message.role != "system" for part in self._turn(message.role, message.content)]
        return [Mark(self.begin), rules, *turns, Mark(self.assistant), Mark(self.think), "\n"]

    def _next_turn(self, text: str, asked: str) -> tuple[Part, ...]:
        return (*self.close(text), Mark(self.ends[0]), *self._turn("user", asked), *self._unthinking())

    def _alone(self, messages: Sequence[Message], text: str) -> Asking:
        asking = super()._alone(messages, text)
        return Asking((Mark(self.begin), *asking.parts), False)

    def _unthinking(self) -> list[Part]:
        return [Mark(self.assistant), Mark(self.think), "\n\n", Mark(self.unthink), "\n\n"]

    def _turn(self, role: str, content: str) -> list[Part]:
        if role == "assistant":
            return [Mark(self.assistant), content.rpartition(self.unthink)[2], Mark(self.ends[0])]
        return [Mark(self.user), content]
