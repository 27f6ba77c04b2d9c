"""The dialect of models behind a chat endpoint, where every question is a turn."""

from __future__ import annotations

from collections.abc import Sequence

from speculative.problem import Message
from speculative.prompts.dialect import Dialect
from speculative.prompts.parts import Part, Question, QuestionPrompt, SpecialToken


class Chat(Dialect):
    """Turns of a conversation.

    The thinking so far is the assistant's turn before the question, and the answer is the reply to one. The library begins no reply for
    the model.
    """

    name = "chat"
    think_start = think_end = ""
    stop_tokens = ("<|im_end|>",)
    answer_cue = ""
    answer_question = "Stop thinking here and give your final answer."
    check_question = "Compute the last step of the reasoning above again, and say whether it holds."
    judge_instruction = Dialect.judge_instruction.replace("within \\boxed{}.", "and a closing brace, as `7}`.")

    def close(self, text: str) -> list[Part]:
        """Closes the turn after `text`, and asks for the answer in another."""
        return [*self._next_turn(text, f"{self.answer_question} {self.answer_instruction}")]

    def ask(self, question: Question, messages: Sequence[Message], text: str) -> QuestionPrompt:
        match question.kind:
            case "answer":
                return self._turn_of_its_own(text, f"{self.answer_question} {self.answer_instruction}")
            case "check":
                return self._turn_of_its_own(text, self.check_question)
            case "judge":
                return self._turn_of_its_own(text, self.judge_instruction)
            case _:
                return super().ask(question, messages, text)

    def _turn_of_its_own(self, text: str, content: str) -> QuestionPrompt:
        return QuestionPrompt(self._next_turn(text, content), True)

    def _end_turn(self, text: str) -> list[Part]:
        return [SpecialToken(self.stop_tokens[0]), "\n"]
