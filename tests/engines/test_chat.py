"""A model behind a chat endpoint replies to conversations, and says that it cannot continue a text."""

from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

import speculative
from speculative.cli import run
from speculative.engines.base import CallStats, Decoding
from speculative.engines.diagnostics import look, ping
from speculative.engines.http.chat import ChatEngine, ChatTokenizer
from speculative.engines.http.engine import OpenAIEngine
from speculative.errors import EngineError, EngineServerError, UnknownSpecialTokenError, UnsupportedMethodError, UsageError
from speculative.methods.base import Method
from speculative.pair import Pair
from speculative.problem import Message
from speculative.prompts import Question, encode_parts, find_dialect, parse_score
from speculative.testing import ScriptedEngine
from speculative.testing.fake_server import FakeServer, Fault

TOKENIZER, DIALECT = ChatTokenizer(), find_dialect("chat")
MESSAGES = [Message("system", "Be brief."), Message("user", "What is 3 + 4?")]
PROMPT = encode_parts(TOKENIZER, DIALECT.prompt(MESSAGES, ""))


@pytest.fixture
async def rig():
    scripted = ScriptedEngine("Seven, I think.<|im_end|>", width=3)
    async with FakeServer(scripted, kind="chat") as server:
        engine = await ChatEngine.connect(server.url)
        server.requests.clear()
        yield engine, server
        await engine.aclose()


async def reply(engine, prefix=PROMPT, **settings):
    stats = CallStats()
    ((completion,),) = await engine.complete([prefix], Decoding(**{"max_tokens": 50, "stop_ids": (1,), **settings}), key="", stats=stats)
    return completion, stats


def text_of(completion):
    return TOKENIZER.to_bytes(completion.ids).decode()


@given(st.text(), st.integers(0, 60))
def test_texts_come_back_byte_for_byte(text, count):
    try:
        ids = TOKENIZER.encode(text)
    except UsageError:
        with pytest.raises(UnicodeEncodeError):
            text.encode()
        return
    assert TOKENIZER.to_bytes(ids) == TOKENIZER.to_bytes(TOKENIZER.split(text, count)) == text.encode()
    assert TOKENIZER.knows(ids)


@pytest.mark.parametrize("count", [1, 3, 8, 17, 40])
def test_a_reply_has_as_many_ids_as_the_server_counted_tokens(count):
    """As far as pieces of 1 to 6 bytes allow it."""
    ids = TOKENIZER.split("Seven, I think so", count)
    assert len(ids) == min(max(count, 3), 17)
    assert TOKENIZER.knows(ids)


async def test_it_is_known_for_what_it_is(rig):
    engine, _ = rig
    assert engine.abilities == frozenset()
    found = await look("big", engine)
    assert (found.error, found.reply, found.dialect) == (None, "Seven, I think.", "chat")


async def test_it_is_found_to_live(rig):
    engine, server = rig
    await ping(engine)
    server.faults.append(Fault("status", status=500))
    with pytest.raises(EngineServerError):
        await ping(engine)


async def test_it_replies_to_a_conversation(rig):
    engine, server = rig
    completion, stats = await reply(engine)
    assert (text_of(completion), completion.finish, completion.end_id) == ("Seven, I think.", "end", 1)
    (_, _, body), (_, _, _) = server.requests[0], server.requests[-1]
    assert body["messages"] == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "What is 3 + 4?"}]
    assert stats.produced_tokens == 6  # pieces of three letters, and the end
    assert len(completion.ids) == 5
    assert (stats.requests, stats.scored_tokens) == (1, 0)


async def test_a_stream_gives_the_reply(rig):
    engine, _ = rig
    deltas = [delta async for delta in engine.stream(PROMPT, Decoding(50, stop_ids=(1,)), key="", stats=CallStats())]
    assert deltas[-1].completion == (await reply(engine))[0]
    assert b"".join(TOKENIZER.to_bytes(delta.ids) for delta in deltas) == b"Seven, I think."


async def test_limits_and_stop_strings_end_a_reply(rig):
    engine, _ = rig
    completion, stats = await reply(engine, max_tokens=2)
    assert (text_of(completion), completion.finish, stats.produced_tokens) == ("Seven,", "length", 2)
    completion, stats = await reply(engine, stop=(",",))
    assert completion.finish == "stop"
    assert text_of(completion).startswith("Seven,")
    assert stats.produced_tokens == 6  # all of it was written


async def test_each_question_is_a_turn_of_its_own(rig):
    engine, server = rig
    for kind in ("answer", "check", "judge", "rewrite", "free"):
        question = DIALECT.ask(Question(kind, "Is it right?"), MESSAGES, "3 + 4 is 8.")
        chain = encode_parts(TOKENIZER, [*DIALECT.prompt(MESSAGES, ""), "3 + 4 is 8."]) if question.follows_chain else []
        await reply(engine, [*chain, *encode_parts(TOKENIZER, question.parts)])
        messages = server.requests[-1][2]["messages"]
        assert messages[-1]["role"] == "user"
        if question.follows_chain:
            assert messages[-2] == {"role": "assistant", "content": "3 + 4 is 8."}
    assert parse_score("7}") == 7


async def test_a_text_that_it_would_have_to_continue_is_refused(rig):
    engine, server = rig
    with pytest.raises(EngineError, match="cannot continue a text, it is a chat endpoint"):
        await reply(engine, [*PROMPT, *TOKENIZER.encode("So")])
    with pytest.raises(EngineError, match="cannot score"):
        await engine.score([PROMPT], [[300]], key="", stats=CallStats())
    with pytest.raises(EngineError, match="log-probabilities"):
        await reply(engine, logprobs=True)
    with pytest.raises(UnknownSpecialTokenError, match="<think>"):
        TOKENIZER.special_token_id("<think>")
    assert not server.requests


async def test_the_other_name_of_the_limit_is_found_out_once(rig):
    engine, server = rig
    server.renames_limit = True
    for _ in range(2):
        assert text_of((await reply(engine))[0]) == "Seven, I think."
    assert ["max_tokens" in body for _, _, body in server.requests] == [True, False, False]


async def test_a_reply_that_is_none_is_an_error(rig, monkeypatch):
    engine, server = rig
    for answer in ({"choices": []}, {"error": "x"}, {"choices": [{"message": {"content": 3}}]}):

        async def replied(body, answer=answer):
            return answer

        monkeypatch.setattr(server, "_replied", replied)
        with pytest.raises(EngineServerError, match="must be a chat completion"):
            await reply(engine)
    server.faults.append(Fault("status", status=500))
    with pytest.raises(EngineServerError, match="500"):
        await reply(engine)


class Consulting(Method):
    """Small writes, and asks big one question."""

    asks_only: ClassVar = frozenset({"big"})
    answer_by: str = "small"

    async def think(self, chain):
        await chain.write("small")
        await chain.ask("big", Question("free", "Is it right?"), max_tokens=20)


async def test_it_serves_methods_that_only_ask_it(rig):
    engine, server = rig
    pair = Pair(engine, ScriptedEngine("It is 7.</think>\n\n7"))
    with pytest.raises(
        UnsupportedMethodError, match=r"random_switch continues text with the big model, and fake at .* cannot continue a text"
    ):
        await speculative.asolve("What is 3 + 4?", "random_switch", pair=pair)
    result = await speculative.asolve("What is 3 + 4?", Consulting(), pair=pair, max_tokens=400)
    assert result.text == "7"
    assert result.usage["big"].requests == 1
    assert server.requests[-1][2]["messages"][-1] == {"role": "user", "content": "Is it right?"}
    assert server.requests[-1][2]["messages"][-2] == {"role": "assistant", "content": "It is 7."}


SMALL = "It is 7.</think>\n\n7"
METHODS = ["advisor", "cascade", "guide", "small_only", "whole_draft(by=question)"]


async def test_the_methods_that_it_serves_are_named(rig):
    engine, _ = rig
    assert Pair(engine, ScriptedEngine(SMALL)).served() == METHODS
    assert set(METHODS) < set(Pair(ScriptedEngine(SMALL), ScriptedEngine(SMALL)).served()) | {"whole_draft(by=question)"}
    with pytest.raises(UnsupportedMethodError, match=r"needs score of the big model.*whole_draft\(by=question\)"):
        await speculative.asolve("What is 3 + 4?", "whole_draft", pair=Pair(engine, ScriptedEngine(SMALL)))


@pytest.mark.parametrize("answer_by", ["big", "small"])
@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("advisor", {"ask_first": True}),
        ("cascade", {"agree": 1.0}),
        ("guide", {}),
        ("small_only", {}),
        ("whole_draft", {"by": "question"}),
    ],
)
async def test_it_serves_them_to_the_answer(rig, method, params, answer_by):
    engine, server = rig
    texts = iter(range(99))
    small = ScriptedEngine(
        lambda seen, seed: f"\\boxed{{{next(texts)}}}" if "</think>" in seen else f"Wait, {next(texts)}.\n\nSo 7.</think>"
    )
    result = await speculative.asolve("What is 3 + 4?", method, pair=Pair(engine, small), max_tokens=400, answer_by=answer_by, **params)
    assert result.finish_reason == "stop"
    assert result.text == "Seven, I think." if answer_by == "big" else result.text.startswith("\\boxed{")
    assert (result.usage["big"].requests if "big" in result.usage else 0) >= (method != "small_only") + (answer_by == "big")
    if answer_by == "big":
        asked, last = server.requests[-1][2]["messages"][-2:]
        assert asked["role"] == "assistant"
        assert last == {"role": "user", "content": f"{DIALECT.answer_question} {DIALECT.answer_instruction}"}


@pytest.mark.parametrize(("reply", "kept"), [("2", "small"), ("Version [1].", "small"), ("0", "big"), ("7", "big"), ("None.", "big")])
async def test_its_choice_of_a_whole_draft_is_read(reply, kept):
    texts = iter(range(99))
    small = ScriptedEngine(lambda seen, seed: "7" if "</think>" in seen else f"Draft {next(texts)}.</think>")
    async with FakeServer(ScriptedEngine(f"{reply}<|im_end|>"), kind="chat") as server:
        engine = await ChatEngine.connect(server.url)
        async with Pair(engine, small) as pair:
            result = await speculative.asolve("3 + 4?", "whole_draft", pair=pair, max_tokens=400, by="question", answer_by="small")
    assert {segment.author for segment in result.trace.segments() if segment.phase == "thinking"} == {kept}


async def test_it_answers_where_a_budget_ended_the_thinking(rig):
    engine, server = rig
    pair = Pair(engine, ScriptedEngine("x" * 999))
    result = await speculative.asolve("3 + 4?", "small_only", pair=pair, max_tokens=100, answer_by="big")
    assert (result.finish_reason, result.text) == ("length", "Seven, I think.")
    assert server.requests[-1][2]["messages"][-1]["content"].startswith(DIALECT.answer_question)


async def test_it_cannot_survive_alone(rig):
    engine, _ = rig
    for method in ("small_only", "guide"):
        with pytest.raises(UnsupportedMethodError, match=r"degrade=big cannot continue without small: fake at .* cannot continue a text"):
            await speculative.asolve("3 + 4?", method, pair=Pair(engine, ScriptedEngine(SMALL)), max_tokens=100, degrade="big")


async def test_the_command_line_runs_it(rig, capsys):
    import asyncio

    _, server = rig
    flags = ["--big", server.url, "--big-dialect", "chat", "--method", "cascade", "--samples", "2", "--agree", "1", "--seed", "3"]
    await asyncio.to_thread(run, ["ask", "Is it so?", *flags, "--max-tokens", "300"])
    assert "Seven, I think." in " ".join(capsys.readouterr().out.split())


async def test_a_server_without_a_tokenizer_may_be_a_chat_endpoint(rig):
    _, server = rig
    with pytest.raises(UsageError, match="for a server that only replies to conversations, set --big-dialect chat"):
        await OpenAIEngine.connect(server.url)


async def test_the_doctor_names_the_methods_that_it_can_serve(rig, capsys):
    import asyncio

    _, server = rig
    assert await asyncio.to_thread(run, ["doctor", "--big", server.url, "--big-dialect", "chat"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "it only replies to conversations; it can serve advisor, cascade, guide, whole_draft(by=question)" in said
    assert "abilities replies only" in said
