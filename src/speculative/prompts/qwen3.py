"""Qwen3 and its kin."""

from __future__ import annotations

from speculative.prompts.dialect import Dialect


class Qwen3(Dialect):
    """Qwen3, and others with its tokens (QwQ)."""

    name = "qwen3"
    answer_instruction = "Please reason step by step, and put your final answer within \\boxed{}."
