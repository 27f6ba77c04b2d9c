"""The dialect of the bundled pair."""

from __future__ import annotations

from collections.abc import Sequence

from speculative.problem import Message
from speculative.prompts.dialect import Dialect
from speculative.prompts.parts import Question, QuestionPrompt


class Bundled(Dialect):
    """The dialect of the bundled pair.

    Its questions are those of the training data (docs/data-card.md).
    """

    name = "bundled"
    answer_instruction = ""
    rewrite_instruction = "Rewrite the reasoning, shorter."
    judge_cue = "Score: "
    judges_with_two_scores = True
    follow_up = " End with a question."

    def _judge(self, text: str) -> QuestionPrompt:
        return QuestionPrompt((*self._newline(text), self.judge_cue), True, ("\n\n",))

    def show_hint(self, hint: str, level: int) -> str:
        return f"Hint {level}: {hint.strip()}\n\n"

    def ask(self, question: Question, messages: Sequence[Message], text: str) -> QuestionPrompt:
        if question.kind == "check":
            return QuestionPrompt(("Check:",), True, ("\n\n",))
        if question.kind == "hint":
            return QuestionPrompt((f"Hint {question.level}:",), True, ("\n\n",))
        return super().ask(question, messages, text)
