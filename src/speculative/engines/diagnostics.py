"""Checks the engines of a pair for `speculative doctor`."""

from __future__ import annotations

from typing import Any, cast

import msgspec
from msgspec import Struct

from speculative.engines.base import CallStats, Decoding, Engine, RewardEngine
from speculative.engines.http.protocols.vllm import FLAT_FLAG
from speculative.engines.tokenizers.base import check_round_trip
from speculative.errors import EngineError, SpeculativeError
from speculative.problem import Message
from speculative.prompts import encode_parts, find_dialect

QUESTION = [Message("user", "What is 1+1?")]


class Finding(Struct):
    """The findings of one role.

    `template` says whether our prompt is that of the server's own chat template.
    """

    role: str
    error: str | None = None
    name: str = ""
    server: str = ""
    dialect: str = ""
    template: str = "not asked"
    fingerprint: str = ""
    context: int = 0
    abilities: list[str] = []
    reply: str = ""
    advice: list[str] = []


async def look(role: str, engine: Engine) -> Finding:
    """Describes an open engine, and has it write, score or reward a few tokens."""
    server: Any = getattr(engine, "server", None)
    runs = f"{server.kind} {server.version}".strip() if server else "a tower" if inner_engines(engine) else "in this process"
    found = Finding(role, None, engine.name, runs, engine.dialect)
    found.fingerprint, found.context, found.abilities = engine.tokenizer.fingerprint, engine.context, sorted(engine.abilities)
    try:
        check_round_trip(engine.tokenizer, engine.name)
        prompt = encode_parts(engine.tokenizer, find_dialect(engine.dialect).prompt(QUESTION, ""))
        if "reward" not in engine.abilities or "continue" in engine.abilities:
            ((completion,),) = await engine.complete([prompt], Decoding(8), key="doctor", stats=CallStats())
            found.reply = engine.tokenizer.to_bytes(completion.ids).decode("utf-8", "replace")
        if "score" in engine.abilities:
            await engine.score([prompt], [engine.tokenizer.encode("1")], key="doctor", stats=CallStats())
        if "reward" in engine.abilities:
            (reward,) = await cast("RewardEngine", engine).reward([prompt], key="doctor", stats=CallStats())
            found.reply = found.reply or f"a reward of {reward:g}"
        if "continue" in engine.abilities and server and server.kind in ("vllm", "llama.cpp"):
            found.template = await _template(engine, prompt)
    except SpeculativeError as error:  # one of ours too: a dialect of another model
        found.error = str(error)
    found.advice = [line for line, needed in _advice(found, server, engine) if needed]
    return found


def inner_engines(engine: Engine) -> dict[str, Engine]:
    """Returns the engines of a tower's pair by role; a single model has none."""
    return getattr(engine, "inner", {})


async def ping(engine: Engine) -> None:
    """Makes the smallest call that an engine can answer. Raises `EngineError`."""
    if inner := inner_engines(engine):
        for model in inner.values():
            await ping(model)
        return
    ids, stats = engine.tokenizer.encode("1"), CallStats()
    if "continue" in engine.abilities:
        await engine.complete([ids], Decoding(1), key="ready", stats=stats)
    elif "reward" in engine.abilities:
        await cast("RewardEngine", engine).reward([ids], key="ready", stats=stats)
    else:  # it replies to conversations only
        prompt = encode_parts(engine.tokenizer, find_dialect(engine.dialect).prompt(QUESTION, ""))
        await engine.complete([prompt], Decoding(1), key="ready", stats=stats)


async def _template(engine: Any, prompt: list[int]) -> str:
    """Compares our prompt with the one that the server makes of the same messages."""
    body: dict[str, Any] = {"model": engine.server.model, "messages": [{"role": "user", "content": QUESTION[0].content}]}
    try:
        if engine.server.kind == "llama.cpp":  # its `/tokenize` takes text
            text = msgspec.json.decode(await engine.client.post("/apply-template", body, "doctor"))["prompt"]
            body = {"content": text, "add_special": True, "parse_special": True}
        theirs = msgspec.json.decode(await engine.client.post("/tokenize", body, "doctor"))["tokens"]
    except (EngineError, msgspec.DecodeError, KeyError, TypeError):
        return "the server does not say"
    same = next((i for i, (one, other) in enumerate(zip(prompt, theirs, strict=False)) if one != other), min(len(prompt), len(theirs)))
    if same == len(prompt) == len(theirs):
        return "the same as ours"
    if same == len(theirs):
        return f"ours, which opens the thinking with {len(prompt) - same} more tokens"
    return f"differs from ours at token {same} of {len(prompt)}"


def _advice(found: Finding, server: Any, engine: Any) -> list[tuple[str, bool]]:
    """Returns possible changes, and whether each is needed."""
    kind, writes = server.kind if server else "", "continue" in found.abilities
    return [
        (
            "start the server with --enable-prompt-tokens-details, so that cached tokens are counted",
            kind == "vllm" and writes and "cached" not in found.abilities,
        ),
        (
            f"start vLLM with {FLAT_FLAG}: a step is then scored at flat cost, else with its whole prefix each time",
            kind == "vllm" and "score" in found.abilities and not engine.scores_flat,
        ),
        (
            "the reward model pools by steps, so each reward reads the whole text again; one that pools the last token keeps its cache",
            kind == "vllm" and engine.reads_whole_texts,
        ),
        (f"name the model's dialect (--{found.role}-dialect): the server's chat template is another", found.template.startswith("differs")),
        (
            "a tower gives no log-probabilities of its own tokens; its big model scores, and the one that writes answers replies",
            bool(inner_engines(engine)) and not found.error,
        ),
        ("methods that score need vLLM or SGLang", writes and "score" not in found.abilities and not found.error),
        (
            f"{found.context} positions are few for a chain of thought; start the server with more"
            + (" (-c, which its slots share)" if kind == "llama.cpp" else " (--max-model-len)"),
            0 < found.context < 4096,
        ),
    ]


def broken(role: str, error: SpeculativeError) -> Finding:
    """Makes the finding of an engine that did not open."""
    return Finding(role, str(error))
