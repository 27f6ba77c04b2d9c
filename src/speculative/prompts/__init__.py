"""Builds prompts.

A dialect turns problems and a method's questions into the prompts of one model family.

Only this package knows the special tokens of model families. A prompt is a list of parts: a `SpecialToken`, or a str, which always
stays text.
"""

from speculative.prompts.dialect import Dialect
from speculative.prompts.parts import Part, Question, QuestionPrompt, SpecialToken, encode_parts, parse_score, render
from speculative.prompts.qwen3 import Qwen3
from speculative.prompts.registry import DIALECTS, detect_dialect, find_dialect, known_dialects, load_dialect

__all__ = [
    "DIALECTS",
    "Dialect",
    "Part",
    "Question",
    "QuestionPrompt",
    "Qwen3",
    "SpecialToken",
    "detect_dialect",
    "encode_parts",
    "find_dialect",
    "known_dialects",
    "load_dialect",
    "parse_score",
    "render",
]
