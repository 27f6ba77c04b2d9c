"""All dialects by name, and which of them a vocabulary belongs to."""

from __future__ import annotations

from speculative.engines.base import Vocabulary
from speculative.errors import UnknownMarkerError, UnknownNameError, UsageError
from speculative.prompts.bundled import Bundled
from speculative.prompts.deepseek import DeepSeekR1
from speculative.prompts.dialect import Dialect
from speculative.prompts.qwen3 import Qwen3
from speculative.prompts.think import Think

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
        except UnknownMarkerError:
            continue
        return family.name
    raise UsageError(f"the model's family cannot be told from its tokens; name its dialect (known: {', '.join(DIALECTS)})")


def dialect(name: str) -> Dialect:
    """The dialect of that name. Raises `UnknownNameError`."""
    if name not in DIALECTS:
        raise UnknownNameError("dialect", name, list(DIALECTS))
    return DIALECTS[name]
