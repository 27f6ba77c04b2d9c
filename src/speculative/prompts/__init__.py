"""Dialects: how a problem becomes a model's prompt, and how that model is asked for what methods want.

The only room that knows the markers of a model family. A prompt is a list of parts: `Mark` is a marker, a str is text
that stays text whatever it says.
"""

from speculative.prompts.dialect import Dialect
from speculative.prompts.parts import Asking, Mark, Part, Question, encode, shown, verdict
from speculative.prompts.qwen3 import Qwen3
from speculative.prompts.registry import DIALECTS, FAMILIES, dialect, recognise

__all__ = [
    "DIALECTS",
    "FAMILIES",
    "Asking",
    "Dialect",
    "Mark",
    "Part",
    "Question",
    "Qwen3",
    "dialect",
    "encode",
    "recognise",
    "shown",
    "verdict",
]
