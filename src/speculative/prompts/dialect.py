"""ChatML, and what all dialects can do."""

from __future__ import annotations

import re
from collections.abc import Sequence

from msgspec import structs

from speculative.problem import Message
from speculative.prompts.parts import Asking, Mark, Part, Question


class Dialect:
    """ChatML with `<think>`, as Qwen-like models speak it: earlier answers are told without their thinking.

    Other families override what differs.
    """

    name = "chatml"
    begin = "<|im_start|>"
    think = "<think>"
    unthink = "</think>"
    ends: tuple[str, ...] = ("<|im_end|>", "<|endoftext|>")
    answer_instruction = "Put your final answer within \\boxed{}."
    answer_cue = "The answer is \\boxed{"
    wait = "Wait"
    shorter = "Rewrite the reasoning above concisely. Keep every step that the result rests on."
    judge_instruction = (
        "Is the last step of the reasoning above correct? Look only at whether its facts, its logic and its arithmetic hold, given the "
        "steps before it. Reply with one digit from 0 (surely wrong) to 9 (surely right) within \\boxed{}."
    )
    judge_cue = "Score: \\boxed{"
    curious = " Close with a question that asks for a deeper look at the weakest step."

    def prompt(self, messages: Sequence[Message], instruction: str) -> list[Part]:
        """Everything up to and including the opening of the thinking; `instruction` joins the user's last message."""
        turns = [part for message in instructed(messages, instruction) for part in self._turn(message.role, message.content)]
        return [*turns, Mark("<|im_start|>"), "assistant\n", Mark(self.think), "\n"]

    @property
    def markers(self) -> tuple[str, ...]:
        """What stands for a marker where a prompt is given raw."""
        return (self.begin, self.think, self.unthink, *self.ends)

    def raw(self, text: str) -> list[Part]:
        """A prompt that is given as the model sees it: markers that are spelled out are markers."""
        pieces = re.split(f"({'|'.join(map(re.escape, self.markers))})", text)
        return [Mark(piece) if piece in self.markers else piece for piece in pieces if piece]

    @property
    def opening(self) -> str:
        """How a raw prompt opens the thinking."""
        return f"{self.think}\n"

    def templated(self, text: str) -> bool:
        """Whether a text begins as this family's prompts do."""
        return text.startswith(self.begin)

    def opened(self, text: str) -> bool:
        """Whether a raw prompt ends within the thinking."""
        return text.rfind(self.think) > text.rfind(self.unthink)

    def close(self, text: str) -> list[Part]:
        """Closes the thinking after `text` (its last characters are enough)."""
        return [*self._newline(text), Mark(self.unthink), "\n\n"]

    def resume(self, text: str) -> str:
        """The cue that makes a model go on thinking, after `text`."""
        return ("\n" if self._newline(text) else "") + self.wait

    def ask(self, question: Question, messages: Sequence[Message], text: str) -> Asking:
        """How to ask after a chain that ends in `text`."""
        match question.kind:
            case "answer":
                return Asking((*self.close(text), self.answer_cue), True, ("}",))
            case "check":
                return Asking((*self._newline(text), self.wait, ", I compute the last step again:"), True, ("\n\n",))
            case "judge":
                return self._judging(text)
            case "rewrite":
                told = f"Reasoning so far:\n\n{question.text.strip()}\n\n{self.shorter}"
                return self._alone(messages, told + self.curious * question.curious)
            case "free":
                return Asking(self._next_turn(text, question.text), True)

    def _judging(self, text: str) -> Asking:
        """A turn of its own whose reply has begun: the score is next, and the box closes behind it."""
        return Asking((*self._next_turn(text, self.judge_instruction), self.judge_cue), True, ("}",))

    def _next_turn(self, text: str, asked: str) -> tuple[Part, ...]:
        """Ends the turn of a chain that ends in `text`, and asks in another; its reply follows."""
        return (*self.close(text), Mark(self.ends[0]), "\n", *self._turn("user", asked), *self._unthinking())

    def _alone(self, messages: Sequence[Message], text: str) -> Asking:
        asked = "\n\n".join([*(m.content for m in messages if m.role == "user"), text])
        return Asking((*self._turn("user", asked), *self._unthinking()), False)

    def _unthinking(self) -> list[Part]:
        """An assistant's turn whose thinking is closed at once: the reply is its answer."""
        return [Mark("<|im_start|>"), "assistant\n", Mark(self.think), "\n\n", Mark(self.unthink), "\n\n"]

    def _turn(self, role: str, content: str) -> list[Part]:
        if role == "assistant" and self.unthink in content:
            content = content.rpartition(self.unthink)[2].lstrip("\n")
        return [Mark("<|im_start|>"), f"{role}\n", content, Mark(self.ends[0]), "\n"]

    @staticmethod
    def _newline(text: str) -> list[Part]:
        return [] if not text or text.endswith("\n") else ["\n"]


def instructed(messages: Sequence[Message], instruction: str) -> list[Message]:
    """The messages, the last one of the user (of anybody, if there is none) with the instruction on a line of its own."""
    by_user = [place for place, message in enumerate(messages) if message.role == "user"] or [len(messages) - 1]
    told = messages[by_user[-1]]
    whole = structs.replace(told, content=f"{told.content}\n{instruction}") if instruction else told
    return [*messages[: by_user[-1]], whole, *messages[by_user[-1] + 1 :]]
