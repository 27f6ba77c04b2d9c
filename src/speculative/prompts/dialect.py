"""The base of all dialects: ChatML with thinking."""

from __future__ import annotations

import re
from collections.abc import Sequence

from msgspec import structs

from speculative.problem import Message
from speculative.prompts.parts import Part, Question, QuestionPrompt, SpecialToken


class Dialect:
    """ChatML with `<think>`, as Qwen-like models use it.

    Earlier answers come without their thinking.

    Other families override parts of it. A model without special tokens for its thinking has an empty `think_start` and `think_end`:
    it thinks in its turn, and `answer_opening` begins the answer.
    """

    name = "chatml"
    begin = "<|im_start|>"
    think_start = "<think>"
    think_end = "</think>"
    stop_tokens: tuple[str, ...] = ("<|im_end|>", "<|endoftext|>")
    answer_opening = "\n\n"
    answer_instruction = "Put your final answer within \\boxed{}."
    answer_cue = "The answer is \\boxed{"
    wait = "Wait"
    rewrite_instruction = "Rewrite the reasoning above concisely. Keep every step that the result rests on."
    judge_instruction = (
        "Is the last step of the reasoning above correct? Look only at whether its facts, its logic and its arithmetic hold, given the "
        "steps before it. Reply with one digit from 0 (surely wrong) to 9 (surely right) within \\boxed{}."
    )
    judge_cue = "Score: \\boxed{"
    judges_at_once = True
    """True if the score is the first token of the reply to a `judge` question."""
    judges_with_two_scores = False
    """True if the model was trained to reply with 0 or 9 alone to it."""
    hint_instruction = (
        "A weaker model goes on with the reasoning above, or begins it. Write a hint for it, in at most {size} sentences, about: {fields}. "
        "Do not solve the problem and name no result."
    )
    follow_up = " Close with a question that asks for a deeper look at the weakest step."

    @property
    def special_tokens(self) -> tuple[str, ...]:
        """The special tokens that are recognized in a raw prompt."""
        return tuple(token for token in (self.begin, self.think_start, self.think_end, *self.stop_tokens) if token)

    def prompt(self, messages: Sequence[Message], instruction: str) -> list[Part]:
        """Builds the prompt up to the opening of the thinking."""
        turns = [part for message in instructed(messages, instruction) for part in self._turn(message.role, message.content)]
        return [*turns, *self._reply(), *self._thinking("\n")]

    def raw(self, text: str) -> list[Part]:
        """Splits a raw prompt: special tokens in its text become `SpecialToken`s."""
        pieces = re.split(f"({'|'.join(map(re.escape, self.special_tokens))})", text)
        return [SpecialToken(piece) if piece in self.special_tokens else piece for piece in pieces if piece]

    def user_text(self, texts: Sequence[str]) -> str:
        """Finds the user's last message in the texts between special tokens."""
        turns = [text.removeprefix("user\n") for text in texts if text.startswith("user\n")]
        return turns[-1] if turns else max(texts, key=len, default="")

    @property
    def think_opening(self) -> str:
        """The text with which a raw prompt opens the thinking."""
        return self.think_start and f"{self.think_start}\n"

    def is_templated(self, text: str) -> bool:
        """Returns True if a text begins as this family's prompts do."""
        return text.startswith(self.begin)

    def is_thinking_open(self, text: str) -> bool:
        """Returns True if a raw prompt ends within the thinking."""
        return bool(self.think_start) and text.rfind(self.think_start) > text.rfind(self.think_end)

    def close(self, text: str) -> list[Part]:
        """Closes the thinking after `text`, of which the last characters are enough."""
        end = [SpecialToken(self.think_end)] if self.think_end else []
        return [*self._newline(text), *end, self.answer_opening]

    def resume(self, text: str) -> str:
        """Returns the cue that makes a model continue thinking after `text`."""
        return ("\n" if self._newline(text) else "") + self.wait

    def show_hint(self, hint: str, level: int) -> str:
        """Returns a hint as a model that goes on after it reads it."""
        return f"Hint: {hint.strip()}\n\n"

    def ask(self, question: Question, messages: Sequence[Message], text: str) -> QuestionPrompt:
        """Builds the prompt of a question after a chain that ends in `text`."""
        match question.kind:
            case "answer":
                return QuestionPrompt((*self.close(text), self.answer_cue), True, ("}",))
            case "check":
                return QuestionPrompt((*self._newline(text), self.wait, ", I compute the last step again:"), True, ("\n\n",))
            case "judge":
                return self._judge(text)
            case "rewrite":
                instruction = f"Reasoning so far:\n\n{question.text.strip()}\n\n{self.rewrite_instruction}"
                return self._ask_alone(messages, instruction + self.follow_up * question.ask_follow_up)
            case "alone":
                return self._ask_alone((), question.text)
            case "hint":
                return QuestionPrompt(
                    self._next_turn(text, self.hint_instruction.format(fields=question.text, size=2 * question.level)), True
                )
            case "free":
                return QuestionPrompt(self._next_turn(text, question.text), True)

    def _judge(self, text: str) -> QuestionPrompt:
        """Asks in a separate turn and begins the reply, so that the score is next."""
        return QuestionPrompt((*self._next_turn(text, self.judge_instruction), self.judge_cue), True, ("}",))

    def _next_turn(self, text: str, content: str) -> tuple[Part, ...]:
        """Ends the chain's turn, asks in another, and opens the reply."""
        return (*self._end_turn(text), *self._turn("user", content), *self._reply(), *self._empty_thinking())

    def _end_turn(self, text: str) -> list[Part]:
        closing = self.close(text) if self.think_end else []
        return [*closing, SpecialToken(self.stop_tokens[0]), "\n"]

    def _ask_alone(self, messages: Sequence[Message], text: str) -> QuestionPrompt:
        content = "\n\n".join([*(m.content for m in messages if m.role == "user"), text])
        return QuestionPrompt((*self._turn("user", content), *self._reply(), *self._empty_thinking()), False)

    def _thinking(self, text: str) -> list[Part]:
        """Opens the thinking, if the model has a special token for it."""
        return [SpecialToken(self.think_start), text] if self.think_start else []

    def _empty_thinking(self) -> list[Part]:
        """Opens and closes the thinking, so that the reply is an answer."""
        return [*self._thinking("\n\n"), SpecialToken(self.think_end), "\n\n"] if self.think_end else []

    def _reply(self) -> list[Part]:
        """Opens the assistant's turn."""
        return [SpecialToken("<|im_start|>"), "assistant\n"]

    def _turn(self, role: str, content: str) -> list[Part]:
        if role == "assistant":
            content = self._without_thinking(content)
        return [SpecialToken("<|im_start|>"), f"{role}\n", content, SpecialToken(self.stop_tokens[0]), "\n"]

    def _without_thinking(self, content: str) -> str:
        thinks = self.think_end and self.think_end in content
        return content.rpartition(self.think_end)[2].lstrip("\n") if thinks else content

    @staticmethod
    def _newline(text: str) -> list[Part]:
        return [] if not text or text.endswith("\n") else ["\n"]


def instructed(messages: Sequence[Message], instruction: str) -> list[Message]:
    """Adds the instruction to the user's last message."""
    by_user = [place for place, message in enumerate(messages) if message.role == "user"] or [len(messages) - 1]
    last = messages[by_user[-1]]
    whole = structs.replace(last, content=f"{last.content}\n{instruction}") if instruction else last
    return [*messages[: by_user[-1]], whole, *messages[by_user[-1] + 1 :]]
