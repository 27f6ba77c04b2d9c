"""Fields of other servers' requests: ignored where they change nothing, and refused by name where they would."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, cast

from speculative.serve.errors import ApiError, unsupported_value

TOOLS = "these models call no tools"
ONE_CHAIN = "two models sample one chain, so this has no counterpart"
LOGPROBS = "a chain of two models has no single distribution; `events` shows each model's own log-probabilities"
TEXT = "only plain text is written"
THINKING = "the thinking cannot be switched off; limit it with `thinking_budget` or `reasoning_effort`"
PROMPT = "the service writes the models' own templates"
REASONING_SHOWN = "the reasoning is always in the reply"
IDS = "the two models' token ids differ"

NEUTRAL: dict[str, tuple[str, tuple[Any, ...]]] = {
    "tools": (TOOLS, ([],)),
    "tool_choice": (TOOLS, ("none", "auto")),
    "parallel_tool_calls": (TOOLS, (True, False)),
    "functions": (TOOLS, ([],)),
    "function_call": (TOOLS, ("none", "auto")),
    "tool_calls": (TOOLS, ([],)),
    "web_search_options": (TOOLS, ()),
    "response_format": (TEXT, ({"type": "text"},)),
    "structured_outputs": (TEXT, ({},)),
    "text": (TEXT, ({}, {"format": {"type": "text"}}, {"verbosity": "medium"}, {"format": {"type": "text"}, "verbosity": "medium"})),
    "modalities": (TEXT, (["text"],)),
    "audio": (TEXT, ()),
    "prediction": ("these models take no prediction", ()),
    "presence_penalty": (ONE_CHAIN, (0,)),
    "frequency_penalty": (ONE_CHAIN, (0,)),
    "repetition_penalty": (ONE_CHAIN, (1,)),
    "repeat_penalty": (ONE_CHAIN, (1,)),
    "length_penalty": (ONE_CHAIN, (1,)),
    "min_p": (ONE_CHAIN, (0,)),
    "typical_p": (ONE_CHAIN, (1,)),
    "min_tokens": (ONE_CHAIN, (0,)),
    "mirostat": (ONE_CHAIN, (0,)),
    "dry_multiplier": (ONE_CHAIN, (0,)),
    "xtc_probability": (ONE_CHAIN, (0,)),
    "logit_bias": (ONE_CHAIN, ({}, [])),
    "bad_words": (ONE_CHAIN, ([],)),
    "use_beam_search": (ONE_CHAIN, (False,)),
    "ignore_eos": (ONE_CHAIN, (False,)),
    "stop_token_ids": (IDS, ([],)),
    "return_token_ids": (IDS, (False,)),
    "return_tokens_as_token_ids": (IDS, (False,)),
    "logprobs": (LOGPROBS, (False,)),
    "top_logprobs": (LOGPROBS, (0,)),
    "n_probs": (LOGPROBS, (0,)),
    "verbosity": ("these models have no such setting", ("medium",)),
    "enable_thinking": (THINKING, (True,)),
    "thinking": (THINKING, (True,)),
    "include_reasoning": (REASONING_SHOWN, (True,)),
    "separate_reasoning": (REASONING_SHOWN, (True,)),
    "stream_reasoning": (REASONING_SHOWN, (True,)),
    "reasoning_format": (REASONING_SHOWN, ("auto", "deepseek")),
    "add_generation_prompt": (PROMPT, (True,)),
    "continue_final_message": (PROMPT, (False,)),
    "add_special_tokens": (PROMPT, (False,)),
    "documents": (PROMPT, ([],)),
    "chat_template": (PROMPT, ()),
    "skip_special_tokens": ("markers are no text", (True,)),
    "spaces_between_special_tokens": ("markers are no text", (True,)),
    "include_stop_str_in_output": ("a stop string is not in the reply", (False,)),
    "store": ("replies are not stored", (False,)),
    "background": ("replies are not stored", (False,)),
    "previous_response_id": ("replies are not stored; send the earlier turns in `input`", ()),
    "conversation": ("replies are not stored; send the earlier turns in `input`", ()),
    "truncation": ("no turns are left out", ("disabled",)),
    "include": ("replies have no such part", ([],)),
    "max_tool_calls": (TOOLS, ()),
    "prompt": (PROMPT, ()),
    "service_tier": ("there is one tier", ("auto", "default")),
    "suffix": ("text is only added at the end", ("",)),
    "echo": ("the prompt is never in the reply", (False,)),
    "best_of": ("use the wrapper vote in `with`", (1,)),
    "refusal": ("a turn is text", ("",)),
    "annotations": ("a turn is text", ([],)),
    "include_obfuscation": ("chunks have the length of their text", (False,)),
}
"""Fields that cannot be honoured: why not, and the values that ask for what happens anyway."""

NESTED = frozenset(("chat_template_kwargs",))
"""Fields that hold other fields."""
HINTS = frozenset(
    (
        "cache_prompt",
        "cache_salt",
        "metadata",
        "priority",
        "prompt_cache_key",
        "prompt_cache_retention",
        "request_id",
        "safety_identifier",
        "session_id",
    )
)
"""Fields that change no reply: the reply names them under `speculative.ignored`."""
TURN_HINTS = frozenset(("id", "name", "reasoning_details", "status", "thinking_blocks"))
"""The same in a turn."""
PART_HINTS = frozenset(("annotations", "cache_control", "logprobs"))
"""The same in a part of a turn."""


def ignored_fields(
    fields: Mapping[str, Any], where: str = "", *, hints: frozenset[str] = HINTS, known: frozenset[str] = frozenset(), drop: bool = False
) -> list[str]:
    """Lists the fields that are ignored.

    Args:
        where: the place of the fields in the request, for messages.
        known: fields that somebody else reads.
        drop: ignore also what would change the reply (`drop_params`).

    Raises:
        ApiError: (400) names a field that would change the reply.
    """
    ignored: list[str] = []
    for name, value in fields.items():
        if value is None or name in known or _is_neutral(name, value):
            continue
        if name in NESTED and isinstance(value, dict):
            inside = cast("dict[str, Any]", value)
            ignored += ignored_fields(inside, f"{where}{name}.", hints=frozenset(), drop=drop)
        elif name in hints or drop or (name, fields.get("tool_choice")) == ("tools", "none"):
            ignored.append(f"{where}{name}")
        else:
            raise _error(f"{where}{name}", name, value)
    return ignored


def _is_neutral(name: str, value: Any) -> bool:
    return name in NEUTRAL and any(_same(value, neutral) for neutral in NEUTRAL[name][1])


def _error(place: str, name: str, value: Any) -> ApiError:
    place = place[:80]
    if name not in NEUTRAL:
        return ApiError(400, f"{place}: the service has no such field; leave it out", code="unknown_field", param=place)
    return unsupported_value(place, f"{_shorten(value)} cannot be honoured: {NEUTRAL[name][0]}; leave it out")


def _same(value: Any, other: Any) -> bool:
    """Compares by value, but keeps false and 0 apart."""
    return isinstance(value, bool) == isinstance(other, bool) and value == other


def _shorten(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else text[:57] + "…"
