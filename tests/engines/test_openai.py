"""The engine over HTTP against the fake server: what is asked, what is read, what is counted."""

import asyncio

import pytest

from speculative.engines.base import CallStats, Completion, Decoding
from speculative.engines.http.engine import OpenAIEngine
from speculative.errors import ContextExceededError, EngineError, UnknownNameError, UsageError
from speculative.testing import ScriptedEngine, ScriptedTokenizer
from speculative.testing.fake_server import FakeServer

TEXT = "One 🦊 step.\n\nTwo, then é and 中文.\n\nThree."


@pytest.fixture(params=["vllm", "sglang", "llama.cpp"])
def kind(request):
    return request.param


class Rig:
    """A scripted engine behind a fake server, and the engine that talks to it."""

    def __init__(self, script=TEXT + "</think>\n\nIt is 7.", *, width=2, **settings):
        self.local = ScriptedEngine(script, width=width, context=settings.pop("context", 4096))
        self.server = FakeServer(self.local, **settings)
        self.tokenizer = ScriptedTokenizer(width)

    async def __aenter__(self):
        await self.server.start()
        self.engine = await OpenAIEngine.connect(self.server.url, tokenizer=self.tokenizer, dialect="chatml", secret=self.server.key)
        self.server.requests.clear()
        return self

    async def __aexit__(self, *_):
        await self.engine.aclose()
        await self.server.stop()

    @property
    def prompt(self):
        return [*self.tokenizer.encode("Question"), self.tokenizer.special_token_id("<think>"), *self.tokenizer.encode("\n")]

    @property
    def closing(self):
        return (self.tokenizer.special_token_id("</think>"), self.tokenizer.special_token_id("<|im_end|>"))

    async def complete(self, decoding, prefixes=None):
        stats = CallStats()
        return await self.engine.complete(prefixes or [self.prompt], decoding, key="chain", stats=stats), stats


async def test_the_ids_are_those_of_the_model(kind):
    async with Rig(kind=kind) as rig:
        ((completion,),), stats = await rig.complete(Decoding(200, stop_ids=rig.closing))
        assert completion.finish == "end"
        assert completion.end_id == rig.closing[0]
        assert rig.tokenizer.to_bytes(completion.ids).decode() == TEXT
        assert stats.requests == 1
        assert stats.prompt_tokens == len(rig.prompt)
        assert stats.produced_tokens == completion.produced


async def test_a_stop_string_ends_with_the_token_in_which_it_completes(kind):
    async with Rig(kind=kind, width=3) as rig:
        ((completion,),), _ = await rig.complete(Decoding(200, stop=("\n\n",), stop_ids=rig.closing))
        text = rig.tokenizer.to_bytes(completion.ids).decode("utf-8", "replace")
        assert completion.finish == "stop"
        assert completion.end_id is None
        assert "\n\n" in text
        assert "\n\n" not in rig.tokenizer.to_bytes(completion.ids[:-1]).decode("utf-8", "replace")


async def test_the_limit_and_the_context_end_a_text(kind):
    async with Rig(kind=kind, context=24) as rig:
        ((short,),), _ = await rig.complete(Decoding(3, stop_ids=rig.closing))
        ((full,),), _ = await rig.complete(Decoding(500, stop_ids=rig.closing))
        assert (short.finish, len(short.ids)) == ("length", 2 if kind == "llama.cpp" else 3)  # whose third one begins the fox
        assert (full.finish, len(full.ids)) == ("context", 24 - len(rig.prompt))
        with pytest.raises(ContextExceededError):
            await rig.complete(Decoding(1), [[65] * 24])


async def test_a_stream_gives_what_complete_gives(kind):
    async with Rig(kind=kind) as rig:
        decoding = Decoding(200, stop=("Three",), stop_ids=rig.closing, logprobs=True)
        ((whole,),), counted = await rig.complete(decoding)
        stats = CallStats()
        deltas = [delta async for delta in rig.engine.stream(rig.prompt, decoding, key="chain", stats=stats)]
        assert deltas[-1].completion == whole
        assert [delta.completion for delta in deltas[:-1]] == [None] * (len(deltas) - 1)
        assert tuple(number for delta in deltas for number in delta.ids) == whole.ids
        assert len(whole.logprobs) == len(whole.ids)
        assert stats.requests == counted.requests == 1


async def test_greedy_prefixes_go_together_and_sampled_ones_apart():
    async with Rig() as rig:
        other = rig.prompt + rig.tokenizer.encode("One ")
        found, _ = await rig.complete(Decoding(5), [rig.prompt, other])
        assert [len(several) for several in found] == [1, 1]
        assert len(rig.server.requests) == 1
        assert rig.server.requests[0][2]["prompt"] == [rig.prompt, other]
        await rig.complete(Decoding(5, temperature=0.7, n=2, seed=9), [rig.prompt, rig.prompt])
        seeds = [body["seed"] for _, _, body in rig.server.requests[1:]]
        assert len(set(seeds)) == 2
        assert all(body["n"] == 2 for _, _, body in rig.server.requests[1:])


async def test_greedy_copies_are_written_and_paid_for_once(kind):
    async with Rig(kind=kind) as rig:
        (once, copies), stats = await rig.complete(Decoding(5, n=3, logprobs=True), [rig.prompt, rig.prompt[:-1]])
        assert once == [once[0]] * 3
        assert copies == [copies[0]] * 3
        assert (stats.prompt_tokens, stats.produced_tokens) == (2 * len(rig.prompt) - 1, 10)


async def test_completions_land_in_their_places(kind):
    def script(seen, seed):
        return f"{seen.rpartition('<think>')[2].strip()}{'-greedy' if seed == 0 else ''}</think>"

    async with Rig(script, kind=kind) as rig:
        prefixes = [rig.prompt + rig.tokenizer.encode(word) for word in ("ab", "cd", "ef")]
        found, stats = await rig.complete(Decoding(30, temperature=1.0, n=2, stop_ids=rig.closing), prefixes)
        texts = [[rig.tokenizer.to_bytes(one.ids).decode() for one in several] for several in found]
        assert texts == [["ab", "ab"], ["cd", "cd"], ["ef", "ef"]]
        assert stats.produced_tokens >= sum(one.produced for several in found for one in several)


async def test_seeds_reach_the_server_and_repeat(kind):
    async with Rig(lambda seen, seed: f"{seed}</think>", kind=kind) as rig:
        decoding = Decoding(30, temperature=1.0, seed=5, n=3, stop_ids=rig.closing)
        first, _ = await rig.complete(decoding, [rig.prompt, rig.prompt])
        again, _ = await rig.complete(decoding, [rig.prompt, rig.prompt])
        assert first == again
        assert len({one.ids for several in first for one in several}) == 6


async def test_scores_are_those_of_the_continuation():
    for kind in ("vllm", "sglang"):
        async with Rig(kind=kind) as rig:
            stats = CallStats()
            given = [rig.tokenizer.encode("One"), rig.tokenizer.encode("Two, and"), []]
            scores = await rig.engine.score([rig.prompt] * 3, given, key="chain", stats=stats)
            assert [len(values) for values in scores] == [len(ids) for ids in given]
            assert scores[0][0] == pytest.approx(-0.1)
            assert stats.scored_tokens == sum(len(ids) for ids in given)
            assert stats.requests == 2
            assert "score" in rig.engine.abilities


async def test_what_llama_cannot_do_is_said():
    async with Rig(kind="llama.cpp") as rig:
        assert "score" not in rig.engine.abilities
        with pytest.raises(EngineError, match="cannot score"):
            await rig.engine.score([[1]], [[2]], key="", stats=CallStats())


async def test_a_limit_within_a_character_ends_before_it():
    async with Rig(kind="llama.cpp", width=1) as rig:
        for limit in range(1, 12):
            ((completion,),), stats = await rig.complete(Decoding(limit, stop_ids=rig.closing, logprobs=True))
            text = rig.tokenizer.to_bytes(completion.ids).decode()  # whole characters: the next call begins the last one again
            assert text == TEXT[: len(text)]
            assert len(text.encode()) >= min(limit, len(TEXT.encode())) - 3
            assert text
            assert len(completion.logprobs) == len(completion.ids)
            assert stats.produced_tokens >= limit


async def test_the_session_header_and_the_key_are_sent():
    async with Rig(key="geheim") as rig:
        await rig.complete(Decoding(2))
        headers = rig.server.requests[0][1]
        assert headers["X-Session-ID"] == "chain"
        assert headers["Authorization"] == "Bearer geheim"


async def test_no_sampling_is_left_to_the_servers_defaults():
    async with Rig() as rig:
        await rig.complete(Decoding(2, temperature=0.5, top_p=0.9, top_k=7))
        body = rig.server.requests[0][2]
        assert (body["temperature"], body["top_p"], body["top_k"], body["min_p"], body["repetition_penalty"]) == (0.5, 0.9, 7, 0.0, 1.0)
        assert body["include_stop_str_in_output"]
        assert not body["skip_special_tokens"]


async def test_nothing_is_asked_for_nothing():
    async with Rig() as rig:
        assert (await rig.complete(Decoding(0)))[0] == [[Completion((), "length")]]
        assert (await rig.complete(Decoding(4, n=0)))[0] == [[]]
        assert [delta async for delta in rig.engine.stream(rig.prompt, Decoding(0), key="", stats=CallStats())][
            -1
        ].completion == Completion((), "length")
        assert rig.server.requests == []
        with pytest.raises(EngineError, match="empty prefix"):
            await rig.engine.complete([[]], Decoding(1), key="", stats=CallStats())
        with pytest.raises(EngineError, match="n=2"):
            _ = [delta async for delta in rig.engine.stream(rig.prompt, Decoding(1, n=2), key="", stats=CallStats())]


async def test_the_server_says_what_it_is(kind):
    async with Rig(kind=kind, context=512) as rig:
        assert rig.engine.server.kind == kind
        assert rig.engine.context == 512
        assert rig.engine.name == f"fake at {rig.server.url}"
        assert "cached" in rig.engine.abilities


@pytest.mark.parametrize(
    ("place", "nonsense"),
    [
        ("max_model_len", -3),
        *((place, said) for place in ("context_length", "n_ctx", "default_generation_settings") for said in ("many", [1], -3)),
    ],
)
async def test_a_context_that_is_no_number_of_positions_is_not_said(kind, nonsense, place):
    server = FakeServer(ScriptedEngine("x"), kind=kind)

    def told(page):
        if isinstance(page, dict):
            return {key: nonsense if key == place else told(value) for key, value in page.items()}
        return [told(one) for one in page] if isinstance(page, list) else page

    pages = server._pages
    server._pages = lambda: told({path: {"context_length": 1, **page} for path, page in pages().items()})
    async with server:
        engine = await OpenAIEngine.connect(server.url, tokenizer=ScriptedTokenizer(), dialect="chatml")
        assert engine.context > 0
        await engine.aclose()


async def test_a_server_that_does_not_report_its_cache_lacks_that_ability():
    server = FakeServer(ScriptedEngine("x"))
    server.cached = False
    async with server:
        engine = await OpenAIEngine.connect(server.url, tokenizer=ScriptedTokenizer(), dialect="chatml")
        assert "cached" not in engine.abilities


@pytest.mark.parametrize("speculates", [True, False])
async def test_a_server_that_drafts_tokens_by_itself_is_known(speculates):
    server = FakeServer(ScriptedEngine("x"))
    server.speculates = speculates
    async with server:
        engine = await OpenAIEngine.connect(server.url, tokenizer=ScriptedTokenizer(), dialect="chatml")
        assert ("speculates" in engine.abilities) == speculates
        await engine.aclose()


@pytest.mark.parametrize("kind", ["vllm", "llama.cpp"])
async def test_a_tokenizer_that_is_not_the_models_is_refused(kind):
    """Its ids would be other words to the server: fluent nonsense, and no error."""

    class Other(ScriptedTokenizer):
        def encode(self, text):
            return super().encode(text.swapcase())

    async with FakeServer(ScriptedEngine("x"), kind=kind) as server:
        with pytest.raises(UsageError, match=r"aNN HAS 3 .*--big-tokenizer"):
            await OpenAIEngine.connect(server.url, tokenizer=Other(), dialect="chatml")


async def test_a_server_that_gives_no_ids_is_refused():
    server = FakeServer(ScriptedEngine("x"), kind="other")
    server.ids = False
    async with server:
        with pytest.raises(EngineError, match="no token ids"):
            await OpenAIEngine.connect(server.url, tokenizer=ScriptedTokenizer(), dialect="chatml")


async def test_a_wrong_model_and_a_missing_tokenizer_name_the_next_step(tmp_path):
    async with FakeServer(ScriptedEngine("x"), source=str(tmp_path)) as server:
        with pytest.raises(UnknownNameError, match="fake"):
            await OpenAIEngine.connect(server.url, model="fakee")
        with pytest.raises(UsageError, match="--big-tokenizer"):
            await OpenAIEngine.connect(server.url)


async def test_it_opens_without_an_event_loop_and_serves_several():
    async with FakeServer(ScriptedEngine("One.</think>")) as server:

        def elsewhere():
            engine = OpenAIEngine.open(server.url, tokenizer=ScriptedTokenizer(), dialect="chatml")

            async def use():
                found = await engine.complete([[65]], Decoding(3), key="", stats=CallStats())
                await engine.aclose()
                return found

            return asyncio.run(use()), asyncio.run(use())

        first, second = await asyncio.to_thread(elsewhere)
        assert first == second


async def test_calls_one_after_another_share_a_connection_where_the_server_keeps_it(kind):
    """llama.cpp's closes it after a streamed answer, although it says that it would not."""
    async with Rig(kind=kind) as rig:
        rig.server.peers.clear()
        for _ in range(3):
            await rig.complete(Decoding(20, stop_ids=rig.closing))
        assert len(rig.server.peers) == (3 if kind == "llama.cpp" else 1)
