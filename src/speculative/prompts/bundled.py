"""The dialect of the pair that ships."""

from __future__ import annotations

from collections.abc import Sequence

from speculative.problem import Message
from speculative.prompts.dialect import Dialect
from speculative.prompts.parts import Asking, Question


class Bundled(Dialect):
    """The dialect of the pair that ships: what it was trained to be asked, word for word (docs/data-card.md)."""

    name = "bundled"
    answer_instruction = ""
    shorter = "Rewrite the reasoning, shorter."
    judge_cue = "Score: "
    curious = " End with a question."

    def _judging(self, text: str) -> Asking:
        return Asking((*self._newline(text), self.judge_cue), True, ("\n\n",))

    def ask(self, question: Question, messages: Sequence[Message], text: str) -> Asking:
        if question.kind == "check":
            return Asking(("Check:",), True, ("\n\n",))
        return super().ask(question, messages, text)
