"""Dialects: how a problem becomes a model's prompt, and how that model is asked for what methods want.

The only room that knows the markers of a model family. A prompt is a list of parts: `Mark` is a marker, a str is text
that stays text whatever it says.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from msgspec import Struct

from speculative.engines.base import Vocabulary
from speculative.errors import UnknownMarker, UnknownName, UsageError
from speculative.problem import Message


class Mark(Struct, frozen=True):
    """A marker of the dialect; it becomes one token id."""

    text: str


Part = str | Mark


class Question(Struct, frozen=True):
    """Something that methods ask a model about a chain.

    `answer`: what would you answer now? `check`: compute the last step again. `rewrite`: write the chain's text shorter
    (`text` is what to rewrite; `curious`: end with a question). `free`: `text` is the instruction, in a turn of its own.
    """

    kind: Literal["answer", "check", "rewrite", "free"]
    text: str = ""
    curious: bool = False


class Asking(Struct, frozen=True):
    """How a dialect puts a question: the parts, whether they follow the chain or stand alone, and where the reply stops."""

    parts: tuple[Part, ...]
    follows_chain: bool
    stop: tuple[str, ...] = ()


class Dialect:
    """ChatML with `<think>`, as Qwen-like models speak it. Other families override what differs."""

    name = "chatml"
    begin = "<|im_start|>"
    think = "<think>"
    unthink = "</think>"
    ends: tuple[str, ...] = ("<|im_end|>", "<|endoftext|>")
    answer_instruction = "Put your final answer within \\boxed{}."
    answer_cue = "The answer is \\boxed{"
    wait = "Wait"
    shorter = "Rewrite the reasoning above concisely. Keep every step that the result rests on."
    curious = " Close with a question that asks for a deeper look at the weakest step."

    def prompt(self, messages: Sequence[Message], instruction: str) -> list[Part]:
        """Everything up to and including the opening of the thinking; `instruction` joins the last message."""
        parts: list[Part] = []
        for message in messages[:-1]:
            parts += self._turn(message.role, message.content)
        last = messages[-1]
        parts += self._turn(last.role, f"{last.content}\n{instruction}" if instruction else last.content)
        return [*parts, Mark("<|im_start|>"), "assistant\n", Mark(self.think), "\n"]

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
            case "rewrite":
                return self._alone(messages, f"Reasoning so far:\n\n{question.text}\n\n{self.shorter}{self.curious * question.curious}")
            case "free":
                parts = (*self.close(text), Mark(self.ends[0]), "\n", *self._turn("user", question.text), *self._unthinking())
                return Asking(parts, True)

    def _alone(self, messages: Sequence[Message], text: str) -> Asking:
        asked = "\n\n".join([*(m.content for m in messages if m.role == "user"), text])
        return Asking((*self._turn("user", asked), *self._unthinking()), False)

    def _unthinking(self) -> list[Part]:
        """An assistant's turn whose thinking is closed at once: the reply is its answer."""
        return [Mark("<|im_start|>"), "assistant\n", Mark(self.think), "\n\n", Mark(self.unthink), "\n\n"]

    def _turn(self, role: str, content: str) -> list[Part]:
        return [Mark("<|im_start|>"), f"{role}\n", content, Mark(self.ends[0]), "\n"]

    @staticmethod
    def _newline(text: str) -> list[Part]:
        return [] if not text or text.endswith("\n") else ["\n"]


class Bundled(Dialect):
    """The dialect of the pair that ships: what it was trained to be asked, word for word (docs/data-card.md)."""

    name = "bundled"
    answer_instruction = ""
    shorter = "Rewrite the reasoning, shorter."
    curious = " End with a question."

    def ask(self, question: Question, messages: Sequence[Message], text: str) -> Asking:
        if question.kind == "check":
            return Asking(("Check:",), True, ("\n\n",))
        return super().ask(question, messages, text)


class Qwen3(Dialect):
    """Qwen3, and others with its tokens (QwQ). Earlier turns keep their answers without their thinking, as in its template."""

    name = "qwen3"
    answer_instruction = "Please reason step by step, and put your final answer within \\boxed{}."

    def _turn(self, role: str, content: str) -> list[Part]:
        answer = content.rpartition(self.unthink)[2].lstrip("\n") if role == "assistant" else content
        return super()._turn(role, answer)


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
        system = "\n\n".join(message.content for message in messages if message.role == "system")
        turns = [message for message in messages if message.role != "system"]
        parts: list[Part] = [Mark(self.begin), system]
        for place, message in enumerate(turns):
            last = place == len(turns) - 1
            parts += self._turn(message.role, f"{message.content}\n{instruction}" if last and instruction else message.content)
        return [*parts, Mark(self.assistant), Mark(self.think), "\n"]

    def ask(self, question: Question, messages: Sequence[Message], text: str) -> Asking:
        if question.kind == "free":
            return Asking((*self.close(text), Mark(self.ends[0]), *self._turn("user", question.text), *self._unthinking()), True)
        return super().ask(question, messages, text)

    def _alone(self, messages: Sequence[Message], text: str) -> Asking:
        asking = super()._alone(messages, text)
        return Asking((Mark(self.begin), *asking.parts), False)

    def _unthinking(self) -> list[Part]:
        return [Mark(self.assistant), Mark(self.think), "\n\n", Mark(self.unthink), "\n\n"]

    def _turn(self, role: str, content: str) -> list[Part]:
        if role == "assistant":
            return [Mark(self.assistant), content.rpartition(self.unthink)[2], Mark(self.ends[0])]
        return [Mark(self.user), content]


class Think(Dialect):
    """A model of no known family that has `<think>` markers: turns are plain text, in the way of a dialogue that is written down."""

    def __init__(self, name: str, begin: str, end: str) -> None:
        self.name, self.begin, self.ends = name, begin, (end,)

    def prompt(self, messages: Sequence[Message], instruction: str) -> list[Part]:
        parts: list[Part] = [Mark(self.begin)] if self.begin != self.ends[0] else []
        for place, message in enumerate(messages):
            last = place == len(messages) - 1
            parts += self._turn(message.role, f"{message.content}\n{instruction}" if last and instruction else message.content)
        return [*parts, "Assistant: ", Mark(self.think), "\n"]

    def ask(self, question: Question, messages: Sequence[Message], text: str) -> Asking:
        if question.kind == "free":
            return Asking((*self.close(text), "\n\n", *self._turn("user", question.text), *self._unthinking()), True)
        return super().ask(question, messages, text)

    def _alone(self, messages: Sequence[Message], text: str) -> Asking:
        begin = [Mark(self.begin)] if self.begin != self.ends[0] else []
        return Asking((*begin, *super()._alone(messages, text).parts), False)

    def _unthinking(self) -> list[Part]:
        return ["Assistant: ", Mark(self.think), "\n\n", Mark(self.unthink), "\n\n"]

    def _turn(self, role: str, content: str) -> list[Part]:
        return [f"{role.capitalize()}: {content}\n\n"]


FAMILIES = (
    DeepSeekR1(),
    Qwen3(),
    Think("think", "<s>", "</s>"),
    Think("think-endoftext", "<|endoftext|>", "<|endoftext|>"),
    Think("think-end-of-text", "<|begin_of_text|>", "<|end_of_text|>"),
)
"""The families that are told by their vocabulary, in this order."""

DIALECTS: dict[str, Dialect] = {dialect.name: dialect for dialect in (Dialect(), Bundled(), *FAMILIES)}


def recognise(vocabulary: Vocabulary) -> str:
    """The name of the first family all of whose markers the vocabulary has. Raises `UsageError`."""
    for family in FAMILIES:
        try:
            for marker in family.markers:
                vocabulary.marker(marker)
        except UnknownMarker:
            continue
        return family.name
    raise UsageError(f"the model's family cannot be told from its tokens; name its dialect (known: {', '.join(DIALECTS)})")


def dialect(name: str) -> Dialect:
    """The dialect of that name. Raises `UnknownName`."""
    if name not in DIALECTS:
        raise UnknownName("dialect", name, list(DIALECTS))
    return DIALECTS[name]


def shown(parts: Sequence[Part]) -> str:
    """Parts as somebody reads them, markers spelled out."""
    return "".join(part.text if isinstance(part, Mark) else part for part in parts)


def encode(vocabulary: Vocabulary, parts: Sequence[Part]) -> list[int]:
    """Parts to ids. Neighbouring texts are joined first, so that how a prompt is put together never shows in its tokens."""
    ids: list[int] = []
    text = ""
    for part in (*parts, None):
        if isinstance(part, str):
            text += part
            continue
        if text:
            ids += vocabulary.encode(text)
            text = ""
        if part is not None:
            ids.append(vocabulary.marker(part.text))
    return ids
