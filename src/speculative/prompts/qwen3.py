"""Qwen3 and its kin."""

from __future__ import annotations

from speculative.prompts.chatml import Dialect
from speculative.prompts.parts import Part


class Qwen3(Dialect):
    """Qwen3, and others with its tokens (QwQ). Earlier turns keep their answers without their thinking, as in its template."""

    name = "qwen3"
    answer_instruction = "Please reason step by step, and put your final answer within \\boxed{}."

    def _turn(self, role: str, content: str) -> list[Part]:
        answer = content.rpartition(self.unthink)[2].lstrip("\n") if role == "assistant" else content
        return super()._turn(role, answer)
