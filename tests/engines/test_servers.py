"""What servers say of themselves: adapters, contexts, names of pages, and answers of things that are no model server."""

import asyncio
import logging
import socket
import threading

import huggingface_hub
import pytest
import unlike

import speculative
from speculative.engines import hub
from speculative.engines.base import CallStats, Decoding
from speculative.engines.diagnostics import look
from speculative.engines.http.discovery import UNKNOWN_CONTEXT
from speculative.engines.http.engine import OpenAIEngine
from speculative.engines.tokenizers import loader
from speculative.errors import ContextExceededError, UnknownNameError, UnknownSpecialTokenError, UsageError
from speculative.pair import Pair
from speculative.testing import ScriptedEngine, ScriptedTokenizer
from speculative.testing.fake_server import FakeServer


def serving(*cards, kind="vllm", **more):
    """A server with those cards, and with those pages."""
    server = FakeServer(ScriptedEngine("x" * 9), kind=kind)
    pages = server._pages
    server._pages = lambda: pages() | {"/v1/models": {"data": list(cards)}} | more
    return server


async def connected(server, **options):
    engine = await OpenAIEngine.connect(server.url, tokenizer=ScriptedTokenizer(), dialect="chatml", **options)
    await engine.aclose()
    return engine


BASE = {"id": "base", "owned_by": "vllm", "root": "/models/base", "parent": None, "max_model_len": 512}
ADAPTER = {"id": "fine", "owned_by": "vllm", "root": "/adapters/fine", "parent": "base", "max_model_len": None}


async def test_an_adapter_has_the_tokenizer_and_the_context_of_its_parent(caplog):
    async with serving(BASE, ADAPTER) as server:
        engine = await connected(server, model="fine")
        assert (engine.server.model, engine.server.source, engine.context) == ("fine", "/models/base", 512)
        with pytest.raises(UsageError, match="several models"):
            await connected(server)
    async with serving(ADAPTER) as server:  # its parent is not listed
        assert (await connected(server)).server.source == "/adapters/fine"
    async with serving({**ADAPTER, "parent": "fine"}) as server:
        assert (await connected(server)).server.source == "/adapters/fine"
    assert not caplog.records


async def test_several_names_of_one_model_are_one_model():
    async with serving(BASE, {**BASE, "id": "other-name"}) as server:
        assert (await connected(server)).server.model == "base"
        assert (await connected(server, model="other-name")).server.model == "other-name"
        with pytest.raises(UnknownNameError, match="other-name"):
            await connected(server, model="third")


@pytest.mark.parametrize("owner", [None, "", "somebody"])
async def test_a_card_that_names_no_owner(owner):
    async with serving({**BASE, "owned_by": owner}) as server:
        engine = await connected(server)
        assert (engine.server.kind, engine.context) == ("other", 512)
    async with serving({"id": "base"}) as server:
        assert (await connected(server)).server.kind == "other"


@pytest.mark.parametrize(
    ("card", "context"),
    [
        ({"context_length": 300}, 300),
        ({"context_window": 301}, 301),
        ({"max_context_length": 302}, 302),
        ({"meta": {"n_ctx": 303}}, 303),
        ({"max_model_len": "many", "context_length": 304}, 304),
    ],
)
async def test_a_context_that_the_card_spells_in_another_way(card, context, caplog):
    async with serving({"id": "m", **card}, kind="other") as server:
        assert (await connected(server)).context == context
    assert not caplog.records


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("/props", {"default_generation_settings": {"n_ctx": 305}}),
        ("/info", {"max_total_tokens": 305}),
        ("/server_info", {"context_length": 305}),
    ],
)
async def test_a_context_that_the_card_does_not_name_is_asked_for(page, said, monkeypatch, caplog):
    async with serving({"id": "m"}, kind="other", **{page: said}) as server:
        monkeypatch.setattr(server, "_tokenized", lambda body: {"tokens": [1]})
        assert (await connected(server)).context == 305
    async with serving({**BASE, "max_model_len": None}) as server:
        assert (await connected(server)).context == server.engine.context  # by its /tokenize
    assert not caplog.records


async def test_a_context_that_no_page_names_is_assumed_with_a_warning_that_says_how_to_set_it(monkeypatch, caplog):
    async with serving({"id": "m"}, kind="other") as server:
        monkeypatch.setattr(server, "_tokenized", lambda body: {"tokens": [1]})
        with caplog.at_level(logging.WARNING, "speculative.engines"):
            engine = await connected(server)
        assert engine.context == UNKNOWN_CONTEXT
        (record,) = caplog.records
        assert f"{UNKNOWN_CONTEXT} tokens are assumed" in record.getMessage()
        assert "--big-context" in record.getMessage()
        for call in (engine.complete([[65] * UNKNOWN_CONTEXT], Decoding(1), key="", stats=CallStats()), short(server, engine)):
            with pytest.raises(ContextExceededError, match=rf"context of (?:{UNKNOWN_CONTEXT}|4096).*--big-context"):
                await call
        await engine.aclose()
        caplog.clear()
        assert (await connected(server, context=99)).context == 99
        assert not caplog.records


async def short(server, engine):
    """The true context is shorter than the assumed one."""
    from speculative.testing.fake_server import Fault

    server.faults.append(Fault("status", status=400, said="This model's maximum context length is 4096 tokens."))
    await engine.complete([[65]], Decoding(1), key="", stats=CallStats())


async def test_a_prefix_that_does_not_fit_names_what_does():
    async with serving(BASE) as server:
        engine = await connected(server)
        with pytest.raises(ContextExceededError, match=r"a prefix of 513 tokens .*context of 512; shorten .*: at most 511 tokens"):
            await engine.complete([[65] * 512], Decoding(1), key="", stats=CallStats())
        await engine.aclose()


@pytest.mark.parametrize("names", [("/model_info", "/server_info"), ("/get_model_info", "/get_server_info")])
async def test_sglangs_pages_have_new_and_old_names(names):
    server = FakeServer(ScriptedEngine("x" * 9), kind="sglang")
    cards = server._pages()["/v1/models"]
    about, info = {"tokenizer_path": "/tokenizer"}, {"version": "0.5.23"}
    server._pages = lambda: {"/v1/models": cards, names[0]: about, names[1]: info}
    async with server:
        engine = await connected(server)
        assert (engine.server.source, engine.server.version) == ("/tokenizer", "0.5.23")
        assert server.running == 0


async def test_serve_behind_serve_says_why_it_cannot_be():
    async with serving(*({"id": f"speculative/{name}", "owned_by": "speculative"} for name in ("big_only", "vote"))) as server:
        with pytest.raises(UsageError, match=r"is a `speculative serve`.*gives no token ids back.*name the model servers behind it"):
            await connected(server)


# ---- a wrong dialect ------------------------------------------------------------------------------------------------


async def test_the_doctor_puts_a_wrong_dialect_into_the_roles_column(tmp_path):
    path = unlike.byte_level(tmp_path)

    class Real(ScriptedEngine):
        tokenizer = loader.read(path)

    for dialect, said in (("deepseek-r1", "no special token"), ("qwen33", "unknown dialect 'qwen33'")):
        finding = await look("big", Real("One.", dialect=dialect))
        assert said in (finding.error or "")


def test_an_unknown_marker_lists_a_dozen_of_thousands(tmp_path):
    import json

    path = unlike.byte_level(tmp_path)
    spec = json.loads(path.read_text())
    spec["added_tokens"] += [{**spec["added_tokens"][0], "id": 10_000 + i, "content": f"<|reserved_{i}|>"} for i in range(5000)]
    path.write_text(json.dumps(spec))
    with pytest.raises(UnknownSpecialTokenError, match=r"no special token '<thinking>' \(known: <think>, .*, and \d{4} more\)") as raised:
        loader.read(path).special_token_id("<thinking>")
    assert len(str(raised.value)) < 500


# ---- what is waited for ---------------------------------------------------------------------------------------------


async def test_while_the_tokenizer_is_read_no_server_is_said_to_be_waited_for(monkeypatch, tmp_path):
    path, told, seen = unlike.byte_level(tmp_path), [], threading.Event()

    def tell(line):
        told.append(line)
        if line.startswith("reading"):
            seen.set()

    def slow(path):
        assert seen.wait(60)
        raise UsageError("enough")

    monkeypatch.setattr(loader, "read", slow)
    async with FakeServer(ScriptedEngine("x")) as server:
        with pytest.raises(UsageError, match="enough"):
            await asyncio.to_thread(OpenAIEngine.open, server.url, tokenizer=str(path), tell=tell)
    assert [line.rpartition(" (")[0] for line in told if line.startswith("reading")][:1] == [f"reading the tokenizer of {path}"]


# ---- the hub --------------------------------------------------------------------------------------------------------


@pytest.fixture
def fetched(monkeypatch):
    """Names that were to be fetched over the network."""
    names = []

    def fetch(name, file, local_files_only=False, token=None):
        if local_files_only:
            raise huggingface_hub.errors.LocalEntryNotFoundError("not here")
        names.append(name)
        raise huggingface_hub.errors.LocalEntryNotFoundError("not there")

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fetch)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    return names


def test_a_hub_that_cannot_be_reached_is_said_at_once_in_one_line(fetched, monkeypatch):
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{held.getsockname()[1]}/")
        with pytest.raises(
            UsageError, match=r"cache of the hub, and http://127\.0\.0\.1:\d+ cannot be reached \(Connection refused\)"
        ) as raised:
            loader.find("someone/model")
    assert "\n" not in str(raised.value)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UsageError, match="HF_HUB_OFFLINE is set"):
        loader.find("someone/model")
    assert fetched == []


def test_a_hub_that_does_not_answer_is_not_waited_for_long(fetched, monkeypatch):
    monkeypatch.setattr(hub, "DEADLINE", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        with pytest.raises(UsageError, match=r"cannot be reached \(.*(no answer within|timed out)"):
            loader.find("someone/model")
    assert fetched == []


async def test_a_hub_that_answers_anything_is_asked(fetched, monkeypatch):
    async with FakeServer(ScriptedEngine("x")) as server:
        monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{server.port}")
        with pytest.raises(UsageError, match="was not found on the hub"):
            await asyncio.to_thread(loader.find, "someone/model")
    assert fetched == ["someone/model"]


# ---- a text that goes round in circles ------------------------------------------------------------------------------


class Looping(FakeServer):
    """As vLLM with `repetition_detection`: it ends a text that repeats itself."""

    def _read_request(self, body):
        return super()._read_request({**body, "max_tokens": min(body["max_tokens"], 10)})

    async def _tell(self, response, said):
        for choice in said["choices"]:
            if choice["finish_reason"] == "length":
                choice |= {"finish_reason": "repetition", "stop_reason": "repetition_detected"}
        await super()._tell(response, said)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_repetition_that_the_server_ends_is_a_loop_and_no_broken_server(stream):
    async with Looping(ScriptedEngine("again " * 99)) as server:
        engine = await OpenAIEngine.connect(server.url, tokenizer=ScriptedTokenizer(), dialect="chatml")
        heard = []
        settings = {"listener": heard.append} if stream else {}
        result = await speculative.asolve("?", "random_switch", pair=Pair(engine, engine), max_tokens=200, switch_chunk=16, **settings)
        assert result.finish_reason == "loop"
        assert result.reasoning == "again agai"
        await engine.aclose()
