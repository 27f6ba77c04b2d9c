"""Mistakes that a method's author makes: each is one error that names the line in the author's file, and none hangs."""

from __future__ import annotations

import asyncio
import gc
import re
from pathlib import Path
from typing import Any

import pytest
from strategies import check_books, scripted_pair

from speculative import Message, MethodError, Problem, Result, UsageError, asolve, solve
from speculative.chain import progress
from speculative.chain.progress import IDLE

ENDLESS = "thinking " * 99
HEAD = (
    "from speculative import Method\n\n\nclass Mine(Method):\n    '''Mine.'''\n\n    append_only = False\n\n"
    "    async def think(self, chain):\n"
)
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


@pytest.mark.parametrize(
    ("body", "line", "told"),
    [
        ("import asyncio\nasyncio.gather(chain.write('big'))", 2, "chain.write(…) was never awaited"),
        ("import asyncio\nasyncio.create_task(chain.write('big'))", 2, "chain.write(…) was never awaited"),
        ("import asyncio\nasyncio.create_task(chain.write('big'))\nawait asyncio.sleep(0)", 2, "chain.write(…) was never awaited"),
        ("import asyncio\nasyncio.create_task(chain.draft('big'))", 2, "chain.draft(…) was never awaited"),
        ("import asyncio\nasync def step(chain):\n    await chain.write('big')\nasyncio.create_task(step(chain))", 2, "step(…) was never"),
        ("async def step():\n    await chain.write('big')\nstep()", 3, "step(…) was never awaited; write `await step(…)`"),
        ("async def step():\n    await chain.write('big')\nwhile chain.thinking:\n    step()", 4, "step(…) was never awaited"),
        ("async def step():\n    await chain.write('big')\nstep()\nawait chain.write('big')", 3, "step(…) was never awaited"),
    ],
)
def test_work_that_nobody_waits_for_is_named(tmp_path: Path, body: str, line: int, told: str) -> None:
    assert told in refused(tmp_path, body, line)


@pytest.mark.parametrize(
    ("body", "line", "told"),
    [
        ("print(1)\nawait chain.accept(chain.draft('small'))", 2, "chain.draft(…) was never awaited; write `await chain.draft(…)`"),
        ("step = chain.draft('small')\nawait chain.accept(step)", 1, "chain.draft(…) was never awaited"),
        ("chain.reject(chain.draft('small'))", 1, "chain.draft(…) was never awaited"),
        ("await chain.draft('big', after=chain.draft('small'))", 1, "chain.draft(…) was never awaited"),
        ("await chain.insert(chain.ask('big', 'why?'))", 1, "chain.ask(…) was never awaited"),
        ("await chain.write('big', max_tokens=chain.draft('small'))", 1, "chain.draft(…) was never awaited"),
        (
            "async def size():\n    return 4\nawait chain.write('big', max_tokens=size())",
            3,
            "size(…) was never awaited; write `await size(…)`",
        ),
        ("import asyncio\nstep = asyncio.create_task(chain.draft('small'))\nawait chain.accept(step)", 3, "write `await task`"),
    ],
)
def test_work_in_place_of_its_result_is_named(tmp_path: Path, body: str, line: int, told: str) -> None:
    message = refused(tmp_path, body, line)
    assert told in message
    assert " object at " not in message


@pytest.mark.parametrize(
    ("body", "line", "told"),
    [
        ("import asyncio\nasyncio.gather(chain.draft('small'), chain.draft('big'))", 2, "chain.draft(…) was never awaited"),
        ("import asyncio\nasyncio.gather(chain.write('nobody'))\nawait chain.write('big')", 2, "never awaited: "),
    ],
)
def test_gathered_work_that_nobody_awaits_prints_nothing(
    tmp_path: Path, body: str, line: int, told: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    assert told in refused(tmp_path, body, line)
    gc.collect()
    assert [record.getMessage() for record in caplog.records] == []
    assert capsys.readouterr().err == ""


async def test_the_failed_tasks_of_other_code_are_still_told(caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise ValueError("mine")

    await asolve("6*7?", "big_only", pair=scripted_pair("Hm.</think>42", ""))
    asyncio.gather(fail())
    for _ in range(3):
        await asyncio.sleep(0)
    gc.collect()
    assert ["exception was never retrieved" in record.getMessage() for record in caplog.records] == [True]


def test_a_helper_of_the_method_that_is_not_awaited_is_named(tmp_path: Path) -> None:
    body = "self.step(chain)\n\n    async def step(self, chain):\n        await chain.write('big')"
    file = tmp_path / "mine.py"
    file.write_text(HEAD + "        " + body + "\n")
    for _ in range(2):  # Python warns of a line once
        with pytest.raises(MethodError, match=rf"Mine\.step\(…\) was never awaited.*mine\.py, line {FIRST}\)"):
            solve("6*7?", str(file), pair=scripted_pair(ENDLESS, ENDLESS))


def test_work_that_was_cancelled_need_not_be_awaited(tmp_path: Path) -> None:
    body = """
import asyncio
task = asyncio.create_task(chain.draft('big'))
late = asyncio.create_task(chain.draft('big'))
await chain.write('big', max_tokens=4)
late.cancel()
await asyncio.wait([task])
asyncio.create_task(chain.draft('small')).cancel()
asyncio.create_task(chain.draft('small'))
await asyncio.sleep(0)
"""
    assert tried(tmp_path, body).reasoning == "thin"


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


@pytest.mark.parametrize("verb", ["insert('hm ')", "resume()"])
def test_a_loop_that_only_inserts_ends_at_the_limit(tmp_path: Path, verb: str) -> None:
    assert tried(tmp_path, f"while chain.thinking:\n    await chain.{verb}").finish_reason in ("length", "loop")


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("while chain.thinking:\n    await chain.insert('')", 2),
        ("while True:\n    await chain.write('big')", 2),
        ("while True:\n    await chain.draft('big')\n    await chain.write('big')", 3),
        ("while True:\n    await chain.ask('big', 'why?')\n    await chain.write('big')", 2),
        ("while True:\n    await chain.write('big')\n    await chain.prefill('small')", 3),
    ],
)
def test_a_loop_without_room_is_an_error(tmp_path: Path, body: str, line: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "IDLE", 300)
    assert "the chain must grow within 300 verbs in a row" in refused(tmp_path, body, line, max_tokens=100, max_produced=100)


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("while chain.thinking:\n    step = await chain.draft('small')\n    chain.reject(step)", 2),
        ("while chain.thinking:\n    await chain.draft('small', 2)", 2),
        ("start = chain.checkpoint()\nwhile True:\n    await chain.rewind(start)\n    await chain.write('big')", 3),
        ("while chain.thinking:\n    await chain.ask('big', 'why?')", 2),
        ("while chain.thinking:\n    await chain.prefill('big')", 2),
        ("while chain.thinking:\n    kid = chain.child()\n    await kid.insert('x')", 2),
        ("while chain.thinking:\n    await chain.child().write('big')", 2),
    ],
)
def test_a_loop_that_gets_nowhere_is_an_error(tmp_path: Path, body: str, line: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "IDLE", 300)
    assert "the chain must grow within 300 verbs in a row" in refused(tmp_path, body, line, max_tokens=200)


def test_a_loop_that_waits_for_the_end_is_an_error(tmp_path: Path) -> None:
    assert "`chain.finish` was read" in refused(tmp_path, "while chain.finish is None:\n    pass", 1)


def test_a_method_that_tries_much_before_it_writes_is_none_of_them(tmp_path: Path) -> None:
    body = """
for _ in range(2):
    beams = [await chain.draft('small', max_tokens=2, temperature=1) for _ in range(256)]
    for depth in range(3):
        beams = await chain.draft('small', 1, beams, max_tokens=2)
    for beam in beams:
        await chain.score('big', [beam])
    await chain.accept(beams[-1])
for _ in range(256):
    await chain.child().write('small', max_tokens=4)
"""
    assert len(tried(tmp_path, body).trace.events) > 1000


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


@pytest.mark.slow
def test_the_bound_is_not_a_setting(tmp_path: Path) -> None:
    assert f"must grow within {IDLE} verbs in a row" in refused(tmp_path, "while chain.thinking:\n    await chain.insert('')", 2)


def test_ends_that_are_taken_back_for_ever_are_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "IDLE", 300)
    file = tmp_path / "mine.py"
    file.write_text(HEAD + "        while True:\n            await chain.write('big')\n            await chain.insert('Wait')\n")
    with pytest.raises(MethodError, match=rf"must grow within 300 verbs.*mine.py, line {FIRST + 2}\)"):
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
        ("write('big', max_tokens='ten')", "write: max_tokens must be an integer, got 'ten'"),
        ("write('big', max_tokens=True)", "write: max_tokens must be an integer, got True"),
        ("write('big', max_tokens=0)", "write: max_tokens must be at least 1, got 0"),
        ("write('big', stop=5)", "write: stop must be a text or a list of texts, got 5"),
        ("write('big', temperature='hot')", "write: temperature must be a number, got 'hot'"),
        ("write('bog')", "no engine has the role 'bog'; the pair has big, small"),
        ("write(5)", "no engine has the role 5; the pair has big, small"),
        ("write()", "missing 1 required positional argument: 'role'"),
        ("write('big', max_token=5)", "unexpected keyword argument 'max_token'"),
        ("draft('big', 'two')", "draft: n must be an integer, got 'two'"),
        ("draft('big', after='hello')", "draft: after must be a draft, got 'hello'"),
        ("draft('big', after=['hello'])", "draft: after must be a draft, got 'hello'"),
        ("draft('big', asked='why?')", "draft: asked must be a question, got 'why?'"),
        ("accept('hello')", "accept: draft must be a draft, got 'hello'"),
        ("accept(await chain.draft('big', 1, max_tokens=1))", "accept: draft must be a draft, got a list"),
        ("score('big', 'hello')", "score: drafts must be drafts, got 'hello'"),
        ("ask('big', 5)", "ask: question must be a text or a question, got 5"),
        ("ask('big', 'why?', n=0)", "ask: n must be at least 1, got 0"),
        ("insert(5)", "insert: text must be a text, got 5"),
        ("insert(None)", "insert: text must be given, got None"),
        (r"insert('\ud800')", "insert: text must be valid Unicode, got half a character at 0"),
        (r"write('big', stop='a\ud800')", "write: stop must be valid Unicode, got half a character at 1"),
        (r"draft('big', stop='\ud800')", "draft: stop must be valid Unicode, got half a character at 0"),
        (r"ask('big', 'why \ud800')", "ask: question must be valid Unicode, got half a character at 4"),
        ("write('big', stop='')", "write: stop must not be empty, got ''"),
        ("draft('big', stop='')", "draft: stop must not be empty, got ''"),
        ("write(['big'])", "no engine has the role ['big']; the pair has big, small"),
        ("write('big', temperature=float('nan'))", "write: temperature must be at least 0 and at most 100, got nan"),
        ("write('big', temperature=-1)", "write: temperature must be at least 0 and at most 100, got -1"),
        ("draft('big', temperature=10**400)", "draft: temperature must be at least 0 and at most 100, got 1"),
        ("draft('big', temperature=10**5000)", "draft: temperature must be at least 0 and at most 100, got a very long int"),
        ("ask('big', None)", "ask: question must be given, got None"),
        ("rewind(None)", "rewind: checkpoint must be given, got None"),
        ("rewind(chain.child().checkpoint())", "rewind: the checkpoint belongs to another chain; rewind to one of this chain"),
        ("close()", "close: the runner ends the chain; return from the method, or call chain.stop(reason)"),
        ("rewind(5)", "rewind: checkpoint must be a checkpoint, got 5"),
        ("become(5)", "become: child must be a child of this chain, got another chain"),
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
        ("stop('x', 'done')", "stop: finish must be one of stop, length, loop, context, time, got 'done'"),
        ("stop('x', 'cancelled')", "stop: finish must be one of stop, length, loop, context, time, got 'cancelled'"),
        ("finish = 'banana'", "finish must be one of stop, length, loop, context, time, cancelled, got 'banana'"),
        ("at_step(5)", "at_step: watcher must be an async function, got 5"),
        ("at_step(print)", "at_step: watcher must be an async function"),
        ("child(seed='x')", "child: seed must be an integer, got 'x'"),
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
    assert "max_tokens must be an integer, got 'ten'" in refused(tmp_path, body, 3)
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


def test_a_method_that_takes_no_chain_is_refused_when_it_is_loaded(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("from speculative import Method\n\n\nclass Mine(Method):\n    async def think(self):\n        pass\n")
    with pytest.raises(UsageError, match=r"Mine\.think must take a chain: `async def think\(self, chain\)` \(.*mine\.py, line 5\)"):
        solve("6*7?", str(file), pair=scripted_pair())


def test_a_method_without_think_is_named(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("from speculative import Method\n\n\nclass Mine(Method):\n    size: int = 4\n")
    with pytest.raises(MethodError, match=r"Mine has neither `think` nor `run` \(.*mine\.py, line 4\)"):
        solve("6*7?", str(file), pair=scripted_pair())


def test_a_prepare_that_returns_no_problem_is_named(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    for body, told in (("pass", "prepare must return a Problem, got None"), ("raise ValueError('no')", "ValueError: no")):
        file.write_text(HEAD + f"        pass\n\n    def prepare(self, problem):\n        {body}\n")
        with pytest.raises(MethodError, match=rf"{told} \(.*mine\.py, line \d+\)"):
            solve("6*7?", str(file), pair=scripted_pair())


def test_a_setting_of_the_method_that_is_changed_is_named_in_one_line(tmp_path: Path) -> None:
    assert "ValidationError: x: Instance is frozen" in refused(tmp_path, "self.x = 5", 1)


def test_a_wrong_call_of_an_installed_package_is_named_at_its_call(tmp_path: Path) -> None:
    assert "DecodeError" in refused(tmp_path, "import tokenizers\nimport pydantic\nimport msgspec\nmsgspec.json.decode(b'{')", 4)
    assert "ValidationError" in refused(tmp_path, "import pydantic\npydantic.TypeAdapter(int).validate_python('x')", 2)


# ---- exits ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "line", "told"),
    [
        ("raise SystemExit(3)", 1, "SystemExit: 3"),
        ("import sys\nsys.exit()", 2, "SystemExit"),
        ("import asyncio\nasync def leave():\n    raise SystemExit\nawait asyncio.create_task(leave())", 3, "SystemExit"),
        ("import asyncio\nasync def leave():\n    raise SystemExit\nawait asyncio.gather(leave())", 3, "SystemExit"),
        ("raise BaseException('odd')", 1, "BaseException: odd"),
        ("import asyncio\nraise asyncio.CancelledError", 2, "CancelledError"),
        ("import asyncio\ntask = asyncio.create_task(chain.write('big'))\ntask.cancel()\nawait task", 4, "CancelledError"),
    ],
)
def test_an_exit_is_an_error_of_the_method(tmp_path: Path, body: str, line: int, told: str) -> None:
    assert told in refused(tmp_path, body, line)
    assert solve("6*7?", "big_only", pair=scripted_pair("a</think>42", "")).text == "42"


def test_an_exit_out_of_a_group_of_tasks_is_an_error_of_the_method(tmp_path: Path) -> None:
    body = (
        "import asyncio\nasync def leave():\n    raise SystemExit\nasync with asyncio.TaskGroup() as group:\n    group.create_task(leave())"
    )
    assert "SystemExit" in refused(tmp_path, body, 3)


LEAVES = "import asyncio\nasync def leave():\n    raise SystemExit(3)\n"


@pytest.mark.parametrize(
    "body",
    ["await asyncio.create_task(leave())", "asyncio.create_task(leave())\nawait chain.write('big')", "await asyncio.gather(leave())"],
)
def test_an_exit_in_a_task_does_not_end_the_callers_loop(tmp_path: Path, body: str) -> None:
    file = tmp_path / "mine.py"
    file.write_text(HEAD + "".join(f"        {line}\n" for line in (LEAVES + body).splitlines()))
    with pytest.raises(MethodError, match=rf"SystemExit: 3.*mine\.py, line {FIRST + 2}\)"):
        asyncio.run(asolve("6*7?", str(file), pair=scripted_pair("a</think>42", "")))


FAILS = "import asyncio\nasync def helper():\n    {fails}\n"


@pytest.mark.parametrize(
    ("fails", "told"),
    [
        ("raise ValueError('boom')", "ValueError: boom"),
        ("chain.nothing", "AttributeError: 'Chain' object has no attribute 'nothing'"),
        ("await chain.write('nobody')", "ChainStateError: no engine has the role 'nobody'"),
        ("raise SystemExit", "ChainStateError: SystemExit"),
    ],
)
def test_a_task_that_fails_and_is_never_awaited_is_an_error(tmp_path: Path, fails: str, told: str) -> None:
    body = FAILS.format(fails=fails) + "asyncio.create_task(helper())\nwhile chain.thinking:\n    await chain.write('big', max_tokens=50)"
    message = refused(tmp_path, body, 3)
    assert f"the task of helper(…) failed and was never awaited: {told}" in message


def test_a_verb_in_a_task_that_fails_and_is_never_awaited_is_an_error(tmp_path: Path) -> None:
    body = "import asyncio\ntask = asyncio.create_task(chain.draft('big', max_tokens='ten'))\nawait chain.write('big', max_tokens=50)"
    assert "the task of chain.draft(…) failed and was never awaited: ChainStateError: draft: max_tokens" in refused(tmp_path, body, 2)


def test_a_task_whose_failure_was_seen_is_no_error(tmp_path: Path) -> None:
    body = FAILS.format(fails="raise ValueError") + (
        "await asyncio.wait([task := asyncio.create_task(helper())])\n"
        "assert isinstance(task.exception(), ValueError)\nawait chain.write('big')"
    )
    assert tried(tmp_path, body).reasoning


@pytest.mark.parametrize(
    "body", ["raise KeyboardInterrupt", "import asyncio\nasync def leave():\n    raise KeyboardInterrupt\nawait asyncio.gather(leave())"]
)
def test_an_interrupt_reaches_the_caller(tmp_path: Path, body: str) -> None:
    with pytest.raises(KeyboardInterrupt):
        tried(tmp_path, body)
    assert solve("6*7?", "big_only", pair=scripted_pair("a</think>42", "")).text == "42"


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
        ({"max_tokens": None}, "max_tokens must be an integer, got None"),
        ({"seed": None}, "seed must be an integer, got None"),
        ({"prefill_every": None}, "prefill_every must be an integer, got None"),
        ({"temperature": None}, "temperature must be a number, got None"),
        ({"temperature": 10**5000}, "temperature must be at most 100, got a number of more than 80 digits"),
        ({"seed": 10**5000}, "seed must be at most"),
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
