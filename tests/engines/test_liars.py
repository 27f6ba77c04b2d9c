"""Servers whose numbers are not true: a typed error, or counts that can be true. Never a wrong total, never a traceback."""

import asyncio
import copy
import functools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speculative.engines.base import MIN_LOGPROB, CallStats, Decoding
from speculative.engines.http.engine import OpenAIEngine
from speculative.engines.http.protocols.base import NewTokens
from speculative.engines.http.protocols.llamacpp import LlamaCppProtocol
from speculative.engines.http.protocols.sglang import SglangProtocol
from speculative.engines.http.protocols.vllm import VllmProtocol
from speculative.engines.http.response import CompletionBuilder, ResponseReader, StreamingReader
from speculative.errors import EngineServerError
from speculative.testing import ScriptedEngine, ScriptedTokenizer
from speculative.testing.fake_server import FakeServer

TOKENIZER = ScriptedTokenizer(2)
PROMPT = TOKENIZER.encode("Question")
KINDS = ["vllm", "sglang", "llama.cpp"]
WIRES = {"vllm": VllmProtocol("fake"), "sglang": SglangProtocol(), "llama.cpp": LlamaCppProtocol(TOKENIZER)}
TEXT = "One 🦊 step, and two."
ROOM = 40
DECODING = Decoding(ROOM, stop=("wo",), stop_ids=(TOKENIZER.special_token_id("</think>"),), logprobs=True)


class Liar(FakeServer):
    """Says what `lie` makes of the truth; remembers the truth."""

    lie = staticmethod(lambda said: said)

    def __init__(self, *args, **settings):
        super().__init__(*args, **settings)
        self.truth = []

    async def _tell(self, response, said):
        self.truth.append(copy.deepcopy(said))
        await response.write(b"data: " + json.dumps(self.lie(said)).encode() + b"\n\n")  # with NaN and Infinity, which are no JSON

    async def _scored(self, body):
        return self.lie(await super()._scored(body))


async def asked(kind, lie, decoding=DECODING, work=None, script=TEXT + "</think>"):
    """What an engine makes of a server that lies, and the truth."""
    async with Liar(ScriptedEngine(script, width=2), kind=kind) as server:
        engine = await OpenAIEngine.connect(server.url, tokenizer=TOKENIZER, dialect="chatml")
        server.lie, server.truth, stats = lie, [], CallStats()
        try:
            if work:
                return await work(engine, stats), stats, server.truth
            ((completion,),) = await engine.complete([PROMPT], decoding, key="", stats=stats)
            return completion, stats, server.truth
        finally:
            await engine.aclose()


def changed(said, changes):
    """The same answer with other values at the end of some paths, wherever it has them."""
    for path, value in changes.items():
        *steps, last = path.split(".")
        place = said
        for step in steps:
            place = (place[0] if place else {}) if step == "0" else (place.get(step) or {})
        if isinstance(place, dict) and last in place:
            place[last] = value(place[last]) if callable(value) else value
    return said


def lying(**changes):
    return lambda said: changed(said, {path.replace("__", "."): value for path, value in changes.items()})


CACHED = {
    "vllm": "usage.prompt_tokens_details.cached_tokens",
    "sglang": "meta_info.cached_tokens",
    "llama.cpp": "prompt_progress.cache",
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("said", "counted"), [(-5, 0), (3, 3), (10**6, len(PROMPT)), (10**30, len(PROMPT))])
async def test_no_more_of_a_prompt_is_cached_than_there_is(kind, said, counted):
    lies = {CACHED[kind]: said, "timings.cache_n": said}
    _, stats, _ = await asked(kind, lambda answer: changed(answer, lies))
    assert (stats.prompt_tokens, stats.cached_tokens) == (len(PROMPT), counted)


COUNTS = [("vllm", "usage.completion_tokens"), ("llama.cpp", "tokens_predicted")]


@pytest.mark.parametrize(("kind", "path"), COUNTS)
@pytest.mark.parametrize("said", [-7, 0, 10**6, 10**30, lambda true: true + 3, lambda true: true - 2])
async def test_a_count_that_is_not_that_of_the_tokens_is_a_fault(kind, path, said):
    def lie(answer):
        return changed(answer, {path: said}) if answer.get("stop", not answer.get("choices")) else answer

    with pytest.raises(EngineServerError, match=r"1[01] tokens came, but the server counts .*lost, doubled or swapped"):
        await asked(kind, lie)


@pytest.mark.parametrize("said", [-7, 0, 10**6, 10**30, lambda true: true + 3, lambda true: true - 2])
async def test_a_count_in_the_middle_that_is_not_that_of_the_tokens_is_a_fault(said):
    lie = lambda answer: changed(answer, {"usage.completion_tokens": said}) if answer.get("choices") else answer  # noqa: E731
    with pytest.raises(EngineServerError, match=r"tokens came, but the server counts .* up to here; .*lost, doubled or swapped"):
        await asked("vllm", lie)


@pytest.mark.parametrize(("kind", "path"), COUNTS)
async def test_tokens_that_came_are_counted_where_the_server_does_not_count(kind, path):
    lie = lambda answer: changed(answer, {path: None}) if "stop" not in answer or answer["stop"] else answer  # noqa: E731
    completion, stats, _ = await asked(kind, lie)
    assert stats.produced_tokens == len(completion.ids)
    assert TOKENIZER.to_bytes(completion.ids).decode() == TEXT[:-1]


def read(kind, answers, decoding=DECODING):
    """What is read of the answers, one after another."""
    stats, writing = CallStats(prompt_tokens=len(PROMPT)), CompletionBuilder(decoding, decoding.max_tokens, TOKENIZER)
    reading = ResponseReader("fake", WIRES[kind], [writing], stats, len(PROMPT))
    for one in answers:
        reading.take([json.dumps(one).encode()])
    reading.end()
    return writing.completion(), stats


@pytest.mark.parametrize("harm", ["lost", "doubled", "swapped"])
@pytest.mark.parametrize("kind", KINDS)
def test_events_that_were_lost_doubled_or_swapped_are_a_fault(kind, harm):
    said = [json.loads(one) for one in truth(kind)]
    whole = read(kind, said)
    tokens = [place for place, one in enumerate(said) if _ids(kind, one)]
    assert len(tokens) > 5
    for place in tokens:
        if harm == "lost":
            answers = [*said[:place], *said[place + 1 :]]
        elif harm == "doubled":
            answers = [*said[: place + 1], *said[place:]]
        else:
            answers = [*said[:place], *said[place : place + 2][::-1], *said[place + 2 :]]
        try:
            assert read(kind, answers) == whole  # SGLang says everything again each time: what was lost comes again
        except EngineServerError:
            continue
        assert (kind, harm) in {("sglang", "lost"), ("sglang", "doubled")} or (harm, place) == ("swapped", tokens[-1])


def _ids(kind, answer):
    """The token ids of one event."""
    if "prompt_progress" in answer:
        return []
    choices = answer.get("choices") or [{}]
    return {"vllm": choices[0].get("token_ids"), "sglang": answer.get("output_ids"), "llama.cpp": answer.get("tokens")}[kind]


@pytest.mark.parametrize("kind", ["vllm", "llama.cpp"])
async def test_a_text_that_is_not_that_of_its_ids_is_a_fault(kind):
    async def streamed(engine, stats):
        return [delta async for delta in engine.stream(PROMPT, DECODING, key="", stats=stats)][-1].completion

    def told(said, words):
        if kind == "vllm" and said.get("choices"):
            said["choices"][0]["text"] = TOKENIZER.to_bytes(said["choices"][0]["token_ids"]).decode()
        return changed(said, {"choices.0.text": lambda text: text.replace(*words), "content": lambda text: text.replace(*words)})

    script = "One step, and two.</think>"
    completion, _, _ = await asked(kind, lambda said: told(said, ("st", "st")), work=streamed, script=script)
    assert TOKENIZER.to_bytes(completion.ids).decode() == "One step, and two."
    for wrong in ("", "xx", "stst"):
        with pytest.raises(EngineServerError, match="is not that of its token ids"):
            await asked(kind, lambda said, wrong=wrong: told(said, ("st", wrong)), work=streamed, script=script)


async def test_a_prompt_that_the_server_repeats_after_a_broken_character_is_no_fault():
    """vLLM's detokenizer does so where the prompt's ids end within a character."""
    first = iter(["the prompt, which ends in \ufffd"])

    def told(said):
        for choice in said.get("choices") or ():
            choice["text"] = next(first, "") + TOKENIZER.to_bytes(choice["token_ids"]).decode()
        return said

    completion, _, _ = await asked("vllm", told, script="One step.</think>")
    assert TOKENIZER.to_bytes(completion.ids).decode() == "One step."


def test_a_prompt_that_the_server_repeats_before_parts_of_a_character_is_no_fault():
    """Seen on vLLM 0.26 with dummy weights: the text of tokens that are no whole character was the end of the prompt."""
    builder = CompletionBuilder(Decoding(1), 1, TOKENIZER)
    parts = TOKENIZER.encode("\u4fa5")[:1]
    assert "\ufffd" in TOKENIZER.to_bytes(parts).decode("utf-8", "replace")
    builder.add(NewTokens(0, parts, reason="length", text="put the answer in a box.<think>\n"))
    assert builder.agrees


@pytest.mark.parametrize("tells", [False, True])
@pytest.mark.parametrize("kind", KINDS)
async def test_an_id_that_is_not_in_the_vocabulary_is_the_fault_of_the_server_that_sent_it(kind, tells):
    async def streamed(engine, stats):
        return [delta async for delta in engine.stream(PROMPT, DECODING, key="", stats=stats)][-1].completion

    path = {"vllm": "choices.0.token_ids", "sglang": "output_ids", "llama.cpp": "tokens"}[kind]
    lie = lambda said: changed(said, {path: lambda ids: [1 << 30, *ids[1:]] if ids else ids})  # noqa: E731
    with pytest.raises(EngineServerError, match=r"127\.0\.0\.1.*token id 1073741824 is not in the model's vocabulary.*--big-tokenizer"):
        await asked(kind, lie, work=streamed if tells else None)


@pytest.mark.parametrize("counts", [-1, None])
@pytest.mark.parametrize("tells", [False, True])
async def test_an_end_that_a_server_neither_sends_nor_counts_was_written(counts, tells):
    def lie(said):
        over = not said["choices"] or said["choices"][0]["finish_reason"]
        usage = {"usage": {"completion_tokens": said["usage"]["completion_tokens"] - 1} if counts else None} if over else {}
        return changed(said | usage, {"choices.0.token_ids": lambda ids: [n for n in ids if n not in ends]})

    async def streamed(engine, stats):
        return [delta async for delta in engine.stream(PROMPT, decoding, key="", stats=stats)][-1].completion

    ends = (TOKENIZER.special_token_id("</think>"),)
    decoding = Decoding(ROOM, stop_ids=ends)
    completion, stats, _ = await asked("vllm", lie, decoding, streamed if tells else None)
    assert completion.end_id in ends
    assert stats.produced_tokens == completion.produced == len(completion.ids) + 1


@pytest.mark.parametrize("index", [-1, 1, 10**30])
async def test_an_answer_for_a_completion_that_nobody_asked_for(index):
    with pytest.raises(EngineServerError, match=r"127\.0\.0\.1"):
        await asked("vllm", lying(choices__0__index=index))


@pytest.mark.parametrize("number", [-1, 1 << 31, 1 << 64, True, 1.5, "1", None])
@pytest.mark.parametrize(("kind", "path"), [("vllm", "choices.0.token_ids"), ("sglang", "output_ids"), ("llama.cpp", "tokens")])
async def test_ids_that_are_none(kind, path, number):
    with pytest.raises(EngineServerError, match=r"127\.0\.0\.1"):
        await asked(kind, lambda said: changed(said, {path: lambda ids: [*ids[:-1], number]}))


LOGPROBS = {
    "vllm": ("choices.0.logprobs.token_logprobs", lambda value: lambda true: [value] * len(true)),
    "sglang": ("meta_info.output_token_logprobs", lambda value: lambda true: [[value, number, None] for _, number, _ in true]),
    "llama.cpp": ("completion_probabilities", lambda value: lambda true: [{"id": 1, "logprob": value} for _ in true]),
}


@pytest.mark.parametrize("value", [0.5, 17.0, 1e300, "-1", float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("kind", KINDS)
async def test_log_probabilities_that_are_none(kind, value):
    path, make = LOGPROBS[kind]
    with pytest.raises(EngineServerError):
        await asked(kind, lambda said: changed(said, {path: make(value)}))


@pytest.mark.parametrize("kind", ["vllm", "sglang"])
async def test_a_log_probability_that_the_server_does_not_know_is_the_least(kind):
    path, make = LOGPROBS[kind]
    completion, _, _ = await asked(kind, lambda said: changed(said, {path: make(None)}))
    assert set(completion.logprobs) == {MIN_LOGPROB}


@pytest.mark.parametrize("kind", KINDS)
async def test_a_rounded_log_probability_is_none_above_zero(kind):
    path, make = LOGPROBS[kind]
    completion, _, _ = await asked(kind, lambda said: changed(said, {path: make(1e-6)}))
    assert set(completion.logprobs) == {0.0}


@pytest.mark.parametrize("value", [None, []])
@pytest.mark.parametrize("kind", KINDS)
async def test_log_probabilities_that_were_asked_for_and_do_not_come(kind, value):
    with pytest.raises(EngineServerError, match=r"log-probabilities|token_logprobs"):
        await asked(kind, lambda said: changed(said, {LOGPROBS[kind][0]: value}))


async def test_a_count_that_does_not_tell_the_new_tokens_from_all():
    with pytest.raises(EngineServerError, match="counts"):
        await asked("sglang", lying(meta_info__completion_tokens=lambda true: true + 1))


async def test_llamas_counts_that_would_lose_text():
    lie = lying(tokens_predicted=lambda true: true + 9)
    with pytest.raises(EngineServerError, match="9 token ids of 'plain text'"):
        await asked("llama.cpp", lie, Decoding(5), script="plain text")
    with pytest.raises(EngineServerError, match="10 token ids of 'One 🦊' did not come"):
        await asked("llama.cpp", lie)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_server_that_does_not_stop(kind):
    def lie(said):  # the script ends it otherwise
        path = {"vllm": "choices.0.token_ids", "sglang": "output_ids", "llama.cpp": "tokens"}[kind]
        more = {"meta_info.completion_tokens": 60, "tokens_predicted": 60, "content": "x" * 60, "choices.0.logprobs": None}
        return changed(said, {path: TOKENIZER.encode("x" * 120), **more})

    with pytest.raises(EngineServerError, match="asked for"):
        await asked(kind, lie, Decoding(5))


@pytest.mark.parametrize("said", [-5, 10**30])
async def test_scores_of_a_liar(said):
    async def score(engine, stats):
        return await engine.score([PROMPT], [TOKENIZER.encode("abcd")], key="", stats=stats)

    lies = {"vllm": {"usage": {"prompt_tokens_details": {"cached_tokens": said}}}, "sglang": {"meta_info": {"cached_tokens": said}}}
    for kind, lie in lies.items():
        (scores,), stats, _ = await asked(
            kind, lambda answer, lie=lie: {**answer, **{k: {**answer.get(k, {}), **v} for k, v in lie.items()}}, work=score
        )
        assert len(scores) == 2
        assert 0 <= stats.cached_tokens <= stats.prompt_tokens
    for value, values in {"vllm": [3.0] * 9, "sglang": [[3.0, number, None] for number in TOKENIZER.encode("abcd")]}.items():
        path = {"vllm": "choices.0.logprobs.token_logprobs", "sglang": "meta_info.input_token_logprobs"}[value]
        with pytest.raises(EngineServerError, match="log-prob"):
            await asked(value, lambda answer, path=path, values=values: changed(answer, {path: values}), work=score)


# ---- any number, anywhere -------------------------------------------------------------------------------------------


@functools.cache
def truth(kind):
    """Every answer of a stream that brings one token at a time."""

    async def streamed(engine, stats):
        return [delta async for delta in engine.stream(PROMPT, DECODING, key="", stats=stats)]

    return tuple(json.dumps(said) for said in asyncio.run(asked(kind, lambda said: said, work=streamed))[2])


def leaves(value, path=()):
    """The paths to all numbers of an answer."""
    if isinstance(value, dict | list):
        for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
            yield from leaves(inner, (*path, key))
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield path


ABSURD = st.sampled_from([-1, 0, 1, 2, 40, 1 << 31, 1 << 64, 10**30, -(10**30), 1e300, -1e300, 0.5, 1e-9, None, True, "7", [], {}])


@given(st.data(), st.sampled_from(KINDS), st.booleans())
def test_any_number_may_be_a_lie(data, kind, tells):
    said = [json.loads(one) for one in truth(kind)]
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.sampled_from([(i, path) for i, one in enumerate(said) for path in leaves(one)]))
        *steps, last = place[1]
        functools.reduce(lambda inside, step: inside[step], steps, said[place[0]])[last] = data.draw(ABSURD)
    stats, writing = CallStats(prompt_tokens=len(PROMPT)), CompletionBuilder(DECODING, ROOM, TOKENIZER)
    made = (
        StreamingReader("fake", WIRES[kind], writing, stats, len(PROMPT))
        if tells
        else ResponseReader("fake", WIRES[kind], [writing], stats, len(PROMPT))
    )
    told = []
    try:
        for one in said:
            if delta := made.take([json.dumps(one).encode()]):
                told += delta.ids
        made.end()
        completion = writing.completion()
    except EngineServerError:
        return
    finally:
        assert 0 <= stats.cached_tokens <= len(PROMPT)
        assert len(writing.ids) <= stats.produced_tokens <= ROOM
        assert all(0 <= number < 1 << 31 for number in writing.ids)
    assert not tells or told == list(completion.ids)
    assert len(completion.logprobs) == len(completion.ids) <= ROOM
    assert all(value <= 0 for value in completion.logprobs)
