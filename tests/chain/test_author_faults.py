"""Mistakes that a method's author makes: each is one error that names the line in the author's file, and none hangs."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from strategies import check_books, scripted_pair

from speculative import Message, MethodError, Problem, Result, UsageError, solve

ENDLESS = "thinking " * 99
HEAD = "from speculative import Method\n\n\nclass Mine(Method):\n    '''Mine.'''\n\n    async def think(self, chain):\n"
FIRST = HEAD.count("\n") + 1
"""The line on which the body of `think` begins."""


def tried(folder: Path, body: str, **settings: Any) -> Result:
    """Runs a method whose `think` is that body, from a file of its own."""
    file = folder / "mine.py"
    file.write_text(HEAD + "".join(f"        {line}\n" for line in body.splitlines()))
    return solve("6*7?", str(file), pair=scripted_pair(ENDLESS, ENDLESS), **settings)


def refused(folder: Path, body: str, line: int, **settings: Any) -> str:
    """The message of the error, which must name that line of `think`."""
    with pytest.raises(MethodError) as caught:
        tried(folder, body, **settings)
    message = str(caught.value)
    assert f"mine.py, line {FIRST + line - 1})" in message
    assert "\n" not in message
    if caught.value.trace and caught.value.trace.events:
        check_books(caught.value.trace)
    return message


# ---- forgotten awaits -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "line", "verb"),
    [
        ("chain.write('big')", 1, "write"),
        ("while chain.thinking:\n    chain.write('big', max_tokens=4)", 2, "write"),
        ("while chain.thinking:\n    step = chain.write('big', max_tokens=4)", 2, "write"),
        ("await chain.write('big', max_tokens=4)\nchain.insert('Wait')\nawait chain.write('big', max_tokens=4)", 2, "insert"),
        ("step = await chain.draft('big', max_tokens=4)\nchain.accept(step)", 2, "accept"),
        ("await chain.child().insert('x')\nchain.child().write('big')", 2, "write"),
        ("step = chain.write('big')\nreturn", 1, "write"),
    ],
)
def test_a_forgotten_await_is_named(tmp_path: Path, body: str, line: int, verb: str) -> None:
    assert f"chain.{verb}(…) was never awaited" in refused(tmp_path, body, line)


@pytest.mark.parametrize("body", ["step = chain.write('big')\nprint(step.text)", "print(1)\nif 'x' in chain.write('big').text: pass"])
def test_what_is_read_off_a_verb_that_was_not_awaited_is_named(tmp_path: Path, body: str) -> None:
    assert "await chain.write(…)" in refused(tmp_path, body, 2)


def test_a_loop_that_never_waits_is_found(tmp_path: Path) -> None:
    assert "`chain.thinking` was read" in refused(tmp_path, "while chain.thinking:\n    pass", 1)


def test_verbs_may_be_begun_before_they_are_awaited(tmp_path: Path) -> None:
    body = """
import asyncio
drafts = [chain.draft('small', max_tokens=2), chain.draft('big', max_tokens=2)]
score = asyncio.create_task(chain.draft('big', max_tokens=2))
first, second = await asyncio.gather(*drafts)
await score
async with asyncio.TaskGroup() as group:
    group.create_task(chain.write('big', max_tokens=4))
    never = group.create_task(chain.draft('big'))
    never.cancel()
"""
    assert tried(tmp_path, body).reasoning == "thin"


# ---- loops that get nowhere -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("while chain.thinking:\n    await chain.insert('hm ')", 2),
        ("while chain.thinking:\n    await chain.insert('')", 2),
        ("while chain.thinking:\n    await chain.resume()", 2),
        ("while True:\n    await chain.write('big')", 2),
        ("while True:\n    await chain.draft('big')\n    await chain.write('big')", 3),
        ("while True:\n    await chain.ask('big', 'why?')\n    await chain.write('big')", 3),
        ("while True:\n    await chain.write('big')\n    await chain.prefill('small')", 3),
    ],
)
def test_a_loop_that_gets_nowhere_is_an_error(tmp_path: Path, body: str, line: int) -> None:
    refused(tmp_path, body, line, max_tokens=100, max_produced=100)


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("settings", [{"max_produced": 60}, {"max_tokens": 60}, {"max_produced": 65, "max_tokens": 50}])
@pytest.mark.parametrize("last", ["await chain.accept(drafts[0])", "chain.reject(drafts)"])
def test_drafts_without_room_end_the_thinking(tmp_path: Path, n: int, settings: dict[str, int], last: str) -> None:
    body = f"while chain.thinking:\n    drafts = await chain.draft('small', {n}, max_tokens=7)\n    {last}"
    if last.startswith("chain.reject"):
        settings = {"max_produced": 200, **settings}
    result = tried(tmp_path, body, **settings)
    assert result.finish_reason == "length"
    check_books(result.trace)


def test_questions_without_room_end_the_thinking(tmp_path: Path) -> None:
    body = "while chain.thinking:\n    await chain.ask('small', 'why?', n=3, max_tokens=7)"
    assert tried(tmp_path, body, max_produced=60).finish_reason == "length"


def test_drafts_beyond_the_context_end_the_thinking(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    body = "while chain.thinking:\n    draft = await chain.draft('small', max_tokens=7)\n    await chain.accept(draft)"
    file.write_text(HEAD + "".join(f"        {line}\n" for line in body.splitlines()))
    assert solve("6*7?", str(file), pair=scripted_pair(ENDLESS, ENDLESS, context=300)).finish_reason == "context"


def test_ends_that_are_taken_back_for_ever_are_an_error(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text(HEAD + "        while True:\n            await chain.write('big')\n            await chain.insert('Wait')\n")
    with pytest.raises(MethodError, match=rf"insert: .*mine.py, line {FIRST + 2}\)"):
        solve("6*7?", str(file), pair=scripted_pair("</think>", "</think>"))


# ---- verbs after the end --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["write('big')", "insert('x')", "answer('big')"])
def test_nothing_is_written_after_the_answer(tmp_path: Path, verb: str) -> None:
    message = refused(tmp_path, f"await chain.write('big')\nawait chain.answer('big')\nawait chain.{verb}", 3, max_tokens=100)
    assert "the chain is answered already" in message


# ---- wrong types ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "told"),
    [
        ("write('big', max_tokens='ten')", "write: max_tokens must be a whole number, got 'ten'"),
        ("write('big', max_tokens=True)", "write: max_tokens must be a whole number, got True"),
        ("write('big', max_tokens=0)", "write: max_tokens must be at least 1, got 0"),
        ("write('big', stop=5)", "write: stop must be a text, got 5"),
        ("write('big', temperature='hot')", "write: temperature must be a number, got 'hot'"),
        ("write('bog')", "no engine has the role 'bog'; the pair has big, small"),
        ("write(5)", "no engine has the role 5; the pair has big, small"),
        ("write()", "missing 1 required positional argument: 'role'"),
        ("write('big', max_token=5)", "unexpected keyword argument 'max_token'"),
        ("draft('big', 'two')", "draft: n must be a whole number, got 'two'"),
        ("draft('big', after='hello')", "draft: after must be a draft, got 'hello'"),
        ("draft('big', after=['hello'])", "draft: after must be a draft, got 'hello'"),
        ("draft('big', asked='why?')", "draft: asked must be a question, got 'why?'"),
        ("accept('hello')", "accept: draft must be a draft, got 'hello'"),
        ("accept(await chain.draft('big', 1, max_tokens=1))", "accept: draft must be a draft, got a list"),
        ("score('big', 'hello')", "score: drafts must be drafts, got 'hello'"),
        ("ask('big', 5)", "ask: question must be a text or a question, got 5"),
        ("ask('big', 'why?', n=0)", "ask: n must be at least 1, got 0"),
        ("insert(5)", "insert: text must be a text, got 5"),
        ("rewind(5)", "rewind: checkpoint must be a checkpoint, got 5"),
        ("become(5)", "become: that chain is no child of this one"),
        ("answer('big', after='hello')", "answer: after must be a draft, got 'hello'"),
    ],
)
def test_a_wrong_argument_is_named_with_its_line(tmp_path: Path, call: str, told: str) -> None:
    assert told in refused(tmp_path, f"await chain.{call}", 1)


@pytest.mark.parametrize(
    ("call", "told"),
    [
        ("reject('hello')", "reject: draft must be a draft, got 'hello'"),
        ("reject(5)", "reject: draft must be a draft, got 5"),
        ("stop(5)", "stop: reason must be a text, got 5"),
        ("at_step(5)", "at_step: watcher must be an async function, got 5"),
        ("at_step(print)", "at_step: watcher must be an async function"),
        ("child(seed='x')", "child: seed must be a whole number, got 'x'"),
        ("child(share=0)", "child: share must be at least 1, got 0"),
    ],
)
def test_a_wrong_argument_of_a_verb_without_await_is_named(tmp_path: Path, call: str, told: str) -> None:
    assert told in refused(tmp_path, f"chain.{call}", 1)


def test_the_line_is_the_authors_also_out_of_tasks(tmp_path: Path) -> None:
    body = """import asyncio
async def two():
    await chain.write('big', max_tokens='ten')
async with asyncio.TaskGroup() as group:
    group.create_task(two())"""
    assert "max_tokens must be a whole number, got 'ten'" in refused(tmp_path, body, 3)
    body = "import asyncio\nasync with asyncio.TaskGroup() as group:\n    group.create_task(chain.accept('x'))"
    assert "draft must be a draft, got 'x'" in refused(tmp_path, body, 2)


# ---- methods that are none ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "body"), [("think", "pass"), ("run", "pass"), ("think", "yield 1")])
def test_a_method_that_is_not_async_is_refused_when_it_is_loaded(tmp_path: Path, name: str, body: str) -> None:
    file = tmp_path / "mine.py"
    prefix = "async " if "yield" in body else ""
    file.write_text(f"from speculative import Method\n\n\nclass Mine(Method):\n    {prefix}def {name}(self, chain):\n        {body}\n")
    with pytest.raises(UsageError, match=re.escape(f"Mine.{name} must be `async def`") + r".*mine.py, line 5\)"):
        solve("6*7?", str(file), pair=scripted_pair())


def test_a_think_that_gives_nothing_to_await_is_an_error(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("from speculative import Method\n\n\nclass Mine(Method):\n    think = staticmethod(lambda chain: None)\n")
    with pytest.raises(MethodError, match=r"Mine\.think must be `async def`"):
        solve("6*7?", str(file), pair=scripted_pair())


# ---- solve ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("problem", "told"),
    [
        (5, "the problem must be a text, chat messages or a Problem, got 5"),
        (None, "the problem must be a text, chat messages or a Problem, got None"),
        (b"6*7?", "the problem must be a text, chat messages or a Problem, got b'6*7?'"),
        ([], "the problem is empty; give its text"),
        ([5], "message 1 must be a Message or a dict with role and content, got 5"),
        ([{"role": "user"}], "message 1 must have a content"),
        ([{"content": "x"}], "message 1: role must be system, user or assistant, got None"),
        ([{"role": "robot", "content": "x"}], "message 1: role must be system, user or assistant, got 'robot'"),
        ([{"role": "user", "content": 5}], "message 1: content must be a text, got 5"),
        ([Message("user", 5)], "message 1: content must be a text, got 5"),  # type: ignore[arg-type]
        ([{"role": "user", "content": [{"type": "image_url"}]}], "message 1: content must be a text"),
        ([{"role": "assistant", "content": "Hi"}], "the last message must be of the role user, got assistant"),
    ],
)
def test_what_is_no_problem_is_refused(problem: Any, told: str) -> None:
    with pytest.raises(UsageError, match=re.escape(told)):
        solve(problem, pair=scripted_pair())


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"max_tokens": "ten"}, "max_tokens"),
        ({"stop": 5}, "stop must be texts, got 5"),
        ({"stop": ["a", 5]}, "stop must be texts, got 5"),
        ({"answer_instruction": 5}, "answer_instruction must be a text, got 5"),
        ({"raw": "yes"}, "raw must be true or false, got 'yes'"),
        ({"method": 5}, "the method must be a name or a Method, got 5"),
        ({"pair": 5}, "the pair must be a Pair, got 5"),
        ({"listener": 5}, "the listener must be callable, got 5"),
        ({"wrappers": 5}, "wrappers must be names, got 5"),
        ({"wrappers": [5]}, "wrappers must be names, got [5]"),
    ],
)
def test_a_setting_of_a_wrong_type_is_refused(settings: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=re.escape(told)):
        solve("6*7?", **{"pair": scripted_pair(), **settings})


def test_solve_takes_chat_messages() -> None:
    pair = scripted_pair("a</think>42", "a</think>42")
    spoken = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": [{"type": "text", "text": "6*7?"}]}]
    result = solve(spoken, "big_only", pair=pair, seed=3)
    assert result.trace.started.problem == Problem((Message("system", "Be brief."), Message("user", "6*7?")), seed=3)
    assert solve([Message("user", "6*7?")], "big_only", pair=pair).text == "42"


def test_one_wrapper_may_be_named_without_a_list() -> None:
    assert solve("6*7?", "big_only", pair=scripted_pair("a</think>42", ""), wrappers="early_exit").method == "early_exit*big_only"
