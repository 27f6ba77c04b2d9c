"""Large requests do not hold up other requests, and none is built larger than it may be."""

import asyncio
import json
import threading
from pathlib import Path

import pytest
from hypothesis import given as holds_for
from hypothesis import strategies as st
from serving import ASK, TEXT, pair, serving

import speculative
from speculative.chain.context import tokenize_prompts
from speculative.engines.tokenizers.byte_bpe import ByteBpeTokenizer
from speculative.methods.base import Method
from speculative.pair import Pair
from speculative.problem import Message, Problem
from speculative.prompts import Question
from speculative.runner import run
from speculative.serve import app as service
from speculative.serve.body import BodyMeter
from speculative.serve.errors import ApiError
from speculative.testing import ScriptedEngine, ScriptedTokenizer

TOKENIZER = Path(speculative.__file__).parent / "bundled/big/tokenizer.json"


class Watchdog:
    """Counts the turns of an event loop, and tells whether it goes on turning."""

    def __init__(self, loop):
        self.turns = 0
        self._loop = loop
        self._moved = threading.Condition()
        self._over = False
        self._loop.call_soon_threadsafe(self._turn)

    def _turn(self):
        with self._moved:
            self.turns += 1
            self._moved.notify_all()
        if not self._over:
            self._loop.call_later(0.001, self._turn)

    def turns_on(self) -> bool:
        """Waits until the loop has turned again; false if it does not, since it waits for the caller."""
        with self._moved:
            seen = self.turns
            return self._moved.wait_for(lambda: self.turns > seen + 3, timeout=10)

    def stop(self):
        self._over = True


class Guarded(ScriptedTokenizer):
    """A vocabulary whose work on a long text is over only after the loop has turned meanwhile."""

    dog = None
    long_texts = 0
    blocked = 0

    def encode(self, text):
        if len(text) > 10_000:
            self.long_texts += 1
            if not self.dog.turns_on():
                self.blocked += 1
        return super().encode(text)


class GuardedEngine(ScriptedEngine):
    tokenizer = None


def guarded():
    engines = Pair(*(GuardedEngine(TEXT, name=name, width=3) for name in "BS"))
    GuardedEngine.tokenizer = Guarded(3)
    return engines, GuardedEngine.tokenizer


@pytest.mark.slow
def test_long_prompts_never_block_the_loop():
    """A 4 MB prompt, thirty of 200 kB and a body of 300,000 fields are under way, and the loop turns all the time."""
    engines, tokenizer = guarded()
    with serving(engines, max_body=1 << 23, max_prompt=1 << 22, max_chains=64) as served:
        tokenizer.dog = dog = Watchdog(served.server.loop)
        replies = {}

        def ask(number, body):
            replies[number] = served.post(json=body)

        def prompt(size):
            return {**ASK, "model": "speculative/big_only", "messages": [{"role": "user", "content": "word " * (size // 5)}]}

        bodies = [prompt(4_000_000), *(prompt(200_000) for _ in range(30)), {**ASK, **{f"f{number}": 0 for number in range(300_000)}}]
        threads = [threading.Thread(target=ask, args=(number, body)) for number, body in enumerate(bodies)]
        for thread in threads:
            thread.start()
        assert served.get("/health").status_code == 200
        for thread in threads:
            thread.join()
        dog.stop()
    assert [replies[number].status_code for number in range(31)] == [400, *[200] * 30]
    assert replies[0].json()["error"]["code"] == "context_length_exceeded"
    assert (replies[31].status_code, replies[31].json()["error"]["code"]) == (413, "too_many_values")
    assert tokenizer.long_texts == 31  # each prompt is encoded once, although both models read it
    assert tokenizer.blocked == 0


class Asks(Method):
    """Asks both models about the problem, beside the chain and in a draft."""

    async def think(self, chain):
        question = Question("rewrite", "word")
        await chain.ask("big", question)
        await chain.draft("small", asked=question)
        await chain.answer("big")


async def test_side_questions_with_a_long_problem_never_block_the_loop():
    """Such a question holds the whole problem, which is encoded once more for it."""
    engines, tokenizer = guarded()
    tokenizer.dog = Watchdog(asyncio.get_running_loop())
    problem = Problem(messages=(Message("user", "word " * 5000),), max_tokens=64)
    prompts = await asyncio.to_thread(tokenize_prompts, engines.values(), problem)
    await run(problem, Asks(), engines, prompts=prompts)
    tokenizer.dog.stop()
    assert tokenizer.long_texts == 3
    assert tokenizer.blocked == 0


@pytest.mark.slow
def test_a_long_text_is_encoded_beside_the_loop():
    """The tokenizer gives up the interpreter's lock meanwhile, or a thread of its own would not help."""
    tokenizer = ByteBpeTokenizer(TOKENIZER)
    text = "The quick brown fox jumps over 13 lazy dogs. " * 10_000

    async def turns():
        work, count = asyncio.create_task(asyncio.to_thread(tokenizer.encode, text)), 0
        while not work.done():
            await asyncio.sleep(0.001)
            count += 1
        return count, work.result()

    count, ids = asyncio.run(turns())
    assert count > 20  # with the lock held it is two
    assert tokenizer.to_bytes(ids) == text.encode()
    assert ids == tokenizer._tokenizer.encode(text, add_special_tokens=False).ids


def test_a_prompt_has_a_limit_in_bytes():
    engines, tokenizer = guarded()
    with serving(engines, max_prompt=20_000) as served:
        messages = [{"role": "user", "content": "é" * 6000}, {"role": "assistant", "content": "a"}, {"role": "user", "content": "é" * 6000}]
        reply = served.post(json={**ASK, "messages": messages})
        assert (reply.status_code, reply.json()["error"]["code"]) == (400, "context_length_exceeded")
        assert "at most 20000 bytes (--max-prompt), got 24001" in reply.json()["error"]["message"]
        assert served.post("/v1/completions", {"prompt": "a" * 20_001}).status_code == 400
        old = served.post("/speculative_reason", {"question": "a" * 20_001, "random_switch": True})
        assert (old.status_code, "at most 20000 bytes" in old.json()["error"]) == (400, True)
    assert tokenizer.long_texts == 0


def values(body: bytes, size: int, limit=1 << 30):
    meter = BodyMeter(1 << 30, limit)
    for start in range(0, len(body), size):
        meter.add(body[start : start + size])
    return meter.values


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(alphabet='ab"\\/,:[{é€\n', max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(alphabet='"\\,:{', max_size=3), inner, max_size=4),
    max_leaves=25,
)


def marks(found) -> int:
    """Opening brackets, commas, colons and strings of a value's JSON."""
    match found:
        case str():
            return 1
        case list():
            return 1 + max(0, len(found) - 1) + sum(map(marks, found))
        case dict():
            return 1 + max(0, len(found) - 1) + sum(2 + marks(value) for value in found.values())
        case _:
            return 0


@holds_for(JSON, st.integers(1, 7), st.booleans())
def test_values_are_counted_outside_strings_however_the_body_comes(found, size, plain):
    body = json.dumps(found, ensure_ascii=plain).encode()
    assert values(body, size) == values(body, len(body)) == marks(found)


@pytest.mark.parametrize("body", [b"[" * 99, b"[" + b"1," * 99, b'"' * 199, b'{"a":{' * 40, b'["\\"",' * 40, b'"a\\\\",' * 60])
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_a_body_of_too_many_values_is_refused_while_it_is_read(body, size):
    with pytest.raises(ApiError) as raised:
        values(body, size, 50)
    assert raised.value.status == 413


def test_commas_in_a_text_are_not_counted_as_values(served):
    assert served.post(json={**ASK, "messages": [{"role": "user", "content": "1,2:[{" * 30_000 + '"\\'}]}).status_code == 200


def test_the_models_are_described_once(monkeypatch):
    made = []
    original = service.Response

    def counting(*args, **named):
        made.append(args)
        return original(*args, **named)

    monkeypatch.setattr(service, "Response", counting)
    with serving() as served:
        pages = [served.get(path).content for path in ("/v1/models", "/models", "/v1/models")]
    assert pages[0] == pages[1] == pages[2]
    assert len({id(args[0]) for args in made}) == 1


def test_model_cards_have_the_context_length():
    engines = Pair(ScriptedEngine(TEXT, name="B", context=4096), ScriptedEngine(TEXT, name="S", context=2048))
    with serving(engines, presets={}) as served:
        for model in served.get("/v1/models").json()["data"]:
            assert (model["max_model_len"], model["context_length"]) == (2048, 2048)
        assert served.get("/v1/models/speculative").json()["context_length"] == 2048


async def test_prompts_are_tokenized_once_for_all_choices():
    engines, tokenizer = guarded()
    with serving(pair()) as served:
        tokenizer.dog = Watchdog(served.server.loop)
        with serving(engines) as other:
            body = {**ASK, "messages": [{"role": "user", "content": "word " * 5000}], "n": 8}
            assert (await asyncio.to_thread(other.post, json=body)).status_code == 200
        tokenizer.dog.stop()
    assert tokenizer.long_texts == 1
