"""The dialects of models without special tokens for their thinking."""

from __future__ import annotations

from collections.abc import Sequence

from speculative.problem import Message
from speculative.prompts.dialect import Dialect, instructed
from speculative.prompts.parts import Part, QuestionPrompt, SpecialToken


class ChatMLPlain(Dialect):
    """ChatML of models that do not mark their thinking, such as SmolLM2."""

    name = "chatml-plain"
    think_start = think_end = ""
    answer_opening = "\nThe final answer:\n\n"


class Gemma(ChatMLPlain):
    """Gemma 2 and 3: the role of the assistant is `model`."""

    name = "gemma"
    begin = "<bos>"
    turn_start = "<start_of_turn>"
    stop_tokens = ("<end_of_turn>", "<eos>")

    @property
    def special_tokens(self) -> tuple[str, ...]:
        return (*super().special_tokens, self.turn_start)

    def prompt(self, messages: Sequence[Message], instruction: str) -> list[Part]:
        whole = instructed(messages, instruction)
        rules = "\n\n".join(message.content for message in whole if message.role == "system")
        turns = [message for message in whole if message.role != "system"] or [Message("user", "")]
        first = Message(turns[0].role, f"{rules}\n\n{turns[0].content}".strip("\n")) if rules else turns[0]
        parts = [part for turn in (first, *turns[1:]) for part in self._turn(turn.role, turn.content)]
        return [SpecialToken(self.begin), *parts, *self._reply()]

    def _ask_alone(self, messages: Sequence[Message], text: str) -> QuestionPrompt:
        return QuestionPrompt((SpecialToken(self.begin), *super()._ask_alone(messages, text).parts), False)

    def _reply(self) -> list[Part]:
        return [SpecialToken(self.turn_start), "model\n"]

    def _turn(self, role: str, content: str) -> list[Part]:
        speaker = "model" if role == "assistant" else role
        return [SpecialToken(self.turn_start), f"{speaker}\n", content, SpecialToken(self.stop_tokens[0]), "\n"]
