"""`--model vllm_speculative`: the arguments of SplitReason's harness class.

One of its modes is true (`random_switch=True`); models are `big_model` and `small_model`, with `|` between GPUs. What its class
needed to start a service of its own has no use here: the engines are opened in this process.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from speculative.engines.options import ROLES
from speculative.errors import UnknownNameError, UsageError
from speculative.evaluate.lm_eval.arguments import NAMES, SERVICE
from speculative.methods.registry import find
from speculative.splitreason.modes import MODES, instruction_from, params_of_mode

MAX_TOKENS = 16384
DEFAULTS = {"sgen": 256}
"""The parameters in which its harness class differs from our methods."""

ENGINES = ("model", "model_port", "model_gpus", "args", "tokenizer", "dialect")
OURS = tuple(name for name in NAMES if name not in ("method", "max_tokens", "answer_instruction") and name.partition("_")[0] not in ROLES)
UNUSED = (
    "add_bos_token",
    "data_parallel_size",
    "dtype",
    "enforce_eager",
    "gpu_memory_utilization",
    "host",
    "max_length",
    "max_model_len",
    "port",
    "prefix_token_id",
    "pretrained",
    "revision",
    "service_port",
    "service_script_path",
    "speculative_config",
    "speculative_reasoner_host",
    "speculative_reasoner_port",
    "test_logging",
    "tokenizer",
    "tokenizer_mode",
    "trust_remote_code",
)
LATER = ("spec_decoding", "spec_reason_perf", "spec_reason_perf_only")
"""Modes of its later versions that have no counterpart."""

_ENGINES = tuple(f"{role}_{name}" for role in ("big", "small") for name in ENGINES)
_FIELDS = tuple(dict.fromkeys(field for name in MODES.values() for field in find(name, paths=False).model_fields if field != "answer_by"))
KNOWN = (*MODES, *_FIELDS, *_ENGINES, "max_tokens", "max_gen_toks", "terminating_string", *OURS, *UNUSED)


def translate_arguments(arguments: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Translates its arguments to ours, and lists those that have no use here.

    Raises:
        UsageError: an argument is wrong.
        UnknownNameError: an argument is unknown.
    """
    given = {name: value for name, value in arguments.items() if value is not None}
    for name, value in given.items():
        if name in LATER and value:
            raise UsageError(f"{name} has no counterpart here; name one of {', '.join(MODES)}")
        if name == "service":
            raise UsageError(SERVICE)
        if name not in (*KNOWN, *LATER):
            raise UnknownNameError("model argument", name, list(KNOWN))
    if given.get("max_length") and given.get("max_model_len"):
        raise UsageError("max_length and max_model_len: give one of them")
    mode = _mode(given)
    instruction = instruction_from(given.get("terminating_string"))
    ours: dict[str, Any] = {
        "method": MODES[mode],
        **params_of_mode(mode, {**DEFAULTS, **given}),
        **{name: given[name] for name in OURS if name in given},
        "max_tokens": given.get("max_tokens", given.get("max_gen_toks", MAX_TOKENS)),
        **({} if instruction is None else {"answer_instruction": instruction}),
    }
    engines = [name for name in (*_ENGINES, "terminate_on_exit") if name in given]
    unused = [name for name in given if name in UNUSED and name != "pretrained"]
    return ours | {_engine(name): given[name] for name in engines}, unused


def _mode(given: Mapping[str, Any]) -> str:
    """Finds the one mode that is true."""
    true = [mode for mode in MODES if given.get(mode) is True]
    if not true:
        raise UsageError(f"no mode is True; name one, as in random_switch=True (known: {', '.join(MODES)})")
    if len(true) > 1:
        raise UsageError(f"{' and '.join(true)} are True, it must be one mode")
    return true[0]


def _engine(name: str) -> str:
    """Translates an option: `big_model` is the engine, `big_model_gpus` its GPUs."""
    role, _, option = name.partition("_")
    if name == "terminate_on_exit":
        return name
    return role if option == "model" else f"{role}_{option.removeprefix('model_')}"
