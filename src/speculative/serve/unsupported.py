"""Fields that cannot be honoured: refused by name, unless they say what is the case anyway. Nothing is dropped in silence."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from speculative.serve.errors import Refusal, unsupported

TOOLS = "these models call no tools"
ONE_CHAIN = "a chain is sampled by two models, this has no counterpart there"
LOGPROBS = "a chain of two models has no one distribution; `events` with a method that asks for log-probabilities has each model's own"

HARMLESS: dict[str, tuple[str, tuple[Any, ...]]] = {
    "tools": (TOOLS, ([],)),
    "tool_choice": (TOOLS, ("none", "auto")),
    "parallel_tool_calls": (TOOLS, (True, False)),
    "functions": (TOOLS, ([],)),
    "function_call": (TOOLS, ("none", "auto")),
    "tool_calls": (TOOLS, ([],)),
    "response_format": ("only plain text is written", ({"type": "text"},)),
    "modalities": ("only text is written", (["text"],)),
    "audio": ("only text is written", ()),
    "prediction": ("these models take no prediction", ()),
    "web_search_options": (TOOLS, ()),
    "presence_penalty": (ONE_CHAIN, (0, 0.0)),
    "frequency_penalty": (ONE_CHAIN, (0, 0.0)),
    "repetition_penalty": (ONE_CHAIN, (1, 1.0)),
    "length_penalty": (ONE_CHAIN, (1, 1.0)),
    "min_p": (ONE_CHAIN, (0, 0.0)),
    "min_tokens": (ONE_CHAIN, (0,)),
    "logit_bias": (ONE_CHAIN, ({},)),
    "use_beam_search": (ONE_CHAIN, (False,)),
    "ignore_eos": (ONE_CHAIN, (False,)),
    "logprobs": (LOGPROBS, (False,)),
    "top_logprobs": (LOGPROBS, (0,)),
    "reasoning_effort": ("these models have none; give max_tokens, or a method that ends the thinking early", ()),
    "verbosity": ("these models have none", ("medium",)),
    "store": ("replies are not stored", (False,)),
    "service_tier": ("there is one tier", ("auto", "default")),
    "suffix": ("text is only added at the end", ("",)),
    "echo": ("the prompt is never in the reply", (False,)),
    "best_of": ("use the wrapper vote in `with`", (1,)),
    "skip_special_tokens": ("markers are no text", (True,)),
    "name": ("a turn has a role and no name", ("",)),
    "refusal": ("a turn is text", ("",)),
    "annotations": ("a turn is text", ([],)),
    "include_obfuscation": ("chunks have the length of their text", (False,)),
}
"""Why not, and the values that ask for nothing."""

HINTS = frozenset(("metadata", "prompt_cache_key", "safety_identifier"))
"""What changes no reply. They are named under `speculative` as `ignored`."""

REASONING = frozenset(("reasoning", "reasoning_content"))


def check(fields: Mapping[str, Any], where: str = "", known: frozenset[str] = frozenset()) -> list[str]:
    """The hints among them. Raises `Refusal` (400) for anything that would change the reply if it were honoured."""
    hints: list[str] = []
    for name, value in fields.items():
        if value is None or name in known:
            continue
        if name in HINTS and not where:
            hints.append(name)
        elif name not in HARMLESS:
            raise Refusal(
                400, f"{where}{name}: there is no such field here; leave it out", code="unknown_field", param=f"{where}{name}"[:80]
            )
        elif not any(_same(value, harmless) for harmless in HARMLESS[name][1]):
            raise unsupported(f"{where}{name}", f"{_shown(value)} cannot be honoured: {HARMLESS[name][0]}; leave it out")
    return hints


def _same(value: Any, other: Any) -> bool:
    """Equal and of one type: 0 is not False here."""
    return type(value) is type(other) and value == other


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "…"
