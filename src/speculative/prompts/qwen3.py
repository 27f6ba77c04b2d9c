"""The dialect of Qwen3."""

from __future__ import annotations

from speculative.prompts.dialect import Dialect


class Qwen3(Dialect):
    """Qwen3, and models with the same tokens (QwQ)."""

    name = "qwen3"
    answer_instruction = "Please reason step by step, and put your final answer within \\boxed{}."
