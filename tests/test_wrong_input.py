"""Wrong and hostile input is one short error, at once."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from strategies import scripted_pair

from speculative import Message, Method, Pair, Problem, Sampling, SpeculativeError, Trace, UsageError, solve, stream
from speculative.chain.progress import IDLE
from speculative.engines.options import tower_parts
from speculative.evaluate.grid import read as read_grid
from speculative.methods.ballots import MOST_CHAINS
from speculative.methods.big_only import BigOnly
from speculative.methods.cascade import Cascade
from speculative.methods.policy_table import read_table
from speculative.methods.preset import read_preset
from speculative.methods.registry import build
from speculative.methods.spec import parse_method
from speculative.methods.vote import Vote
from speculative.plan.field import read_field
from speculative.plan.profile import load_profile
from speculative.problem import messages_of
from speculative.stats.prices import Prices
from speculative.testing import ScriptedEngine

SCRIPT = "Six sevens.\n\n</think>\\boxed{42}"
HUGE = "z" * 10**6


# ---- files --------------------------------------------------------------------------------------------------------

HEADER = '{"speculative_trace":3}\n'
NESTED: list[tuple[str, Callable[[Path], object]]] = [
    (HEADER + '{"event":"child","at":0,"id":0,"events":[' * 50_000, Trace.load),
    ('{"a":' * 200_000, Trace.load),
    ("[" * 20_000, lambda file: read_grid(file, {})),
    ("[" * 20_000, read_field),
    ("x = " + "[" * 20_000, lambda file: read_preset(f"@{file}")),
    ("x = " + "[" * 20_000, Prices.load),
    ('{"a":' * 200_000, load_profile),
]


@pytest.mark.parametrize(("text", "read"), NESTED)
def test_a_file_that_is_nested_too_deeply_is_an_error(text: str, read: Callable[[Path], object], tmp_path: Path) -> None:
    file = tmp_path / "deep.txt"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(SpeculativeError, match=r"deep\.txt"):
        read(file)


def test_a_policy_that_is_nested_too_deeply_is_an_error() -> None:
    with pytest.raises(ValueError, match="a policy must be a JSON table"):
        read_table('{"edges":' + "[" * 200_000)


def test_towers_and_wrappers_have_a_limit() -> None:
    with pytest.raises(UsageError, match="a tower must have at most 16 brackets in each other, got 2000"):
        tower_parts("random_switch(bundled:small," * 2000 + "bundled:big" + ")" * 2000)
    assert build("big_only", wrappers=["early_exit"] * 32).full_name.count("early_exit") == 32
    with pytest.raises(UsageError, match="a method must have at most 32 wrappers"):
        build("big_only", wrappers=["early_exit"] * 33)


@pytest.mark.parametrize(("source", "words"), [("import sys; sys.exit(3)", "SystemExit: 3"), ("1 / 0", "ZeroDivisionError")])
def test_a_file_that_ends_at_its_top_is_an_error_each_time(source: str, words: str, tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text(source, encoding="utf-8")
    for _ in range(2):
        with pytest.raises(UsageError, match=f"cannot be loaded: {words}"):
            solve("6*7?", str(file), pair=scripted_pair(SCRIPT))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (f"{'x' * 300}.py", "cannot be a path: File name too long"),
        (f"./{'x' * 5000}.py:C", "cannot be a path: File name too long"),
        ("a\0b.py", "cannot be a path: embedded null byte"),
        ("~nobody-here/x.py", "does not exist"),
        ("@a\0b", "embedded null byte"),
        ("@~nobody-here/x", "No such file"),
    ],
)
def test_a_name_that_no_path_can_have_is_an_error(name: str, words: str) -> None:
    with pytest.raises(UsageError, match=words) as raised:
        build(name)
    assert len(str(raised.value)) < 300


def test_an_interrupted_load_leaves_no_half_module(tmp_path: Path) -> None:
    file = tmp_path / "own.py"
    file.write_text("raise KeyboardInterrupt", encoding="utf-8")
    before = set(sys.modules)
    with pytest.raises(KeyboardInterrupt):
        build(str(file))
    assert set(sys.modules) == before


# ---- methods ------------------------------------------------------------------------------------------------------


def test_a_vote_has_no_more_ballots_than_a_chain_may_have_children() -> None:
    assert MOST_CHAINS < IDLE
    for name, field in (("vote", "ballots"), ("cascade", "samples"), ("auto", "samples")):
        spec = f"{field}={MOST_CHAINS + 1}"
        with pytest.raises(UsageError, match=f"must be at most {MOST_CHAINS}, got '?{MOST_CHAINS + 1}"):
            build("big_only", wrappers=[f"vote({spec})"]) if name == "vote" else build(name, {field: MOST_CHAINS + 1})


@pytest.mark.parametrize(
    ("spec", "counted"),
    [
        ("vote(ballots=1024)*cascade(samples=1024)", r"vote\.ballots and cascade\.samples .* got 1024 x 1024"),
        ("vote(ballots=33)*vote(ballots=32)*big_only", r"vote\.ballots and vote\.ballots .* got 33 x 32"),
        (
            "vote(ballots=2)*early_exit*vote(ballots=3)*cascade(samples=171)",
            r"vote\.ballots, vote\.ballots and cascade\.samples .* 2 x 3 x 171",
        ),
        ("vote(ballots=1024)*auto(allow=cascade,samples=2)", r"vote\.ballots and auto\.samples .* got 1024 x 2"),
    ],
)
def test_chains_within_chains_have_a_limit_together(spec: str, counted: str) -> None:
    with pytest.raises(UsageError, match=f"^vote: {counted}.*") as raised:
        parse_method(spec)
    assert f"must be at most {MOST_CHAINS} chains together" in str(raised.value)
    assert str(raised.value).endswith("; lower one of them")


def test_a_vote_made_in_python_has_the_same_limit() -> None:
    with pytest.raises(ValidationError, match=f"at most {MOST_CHAINS} chains together, got 1024 x 2"):
        Vote(ballots=1024, inner=Cascade(samples=2))
    assert Vote(ballots=512, inner=Cascade(samples=2)).chains_at_once == MOST_CHAINS
    assert Vote(ballots=1024, inner=Vote(ballots=1, inner=BigOnly())).chains_at_once == MOST_CHAINS


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"medium": {"score"}}, r"unknown role 'medium' \(known: big, judge, small\)"),
        ({"big": {"scores"}}, r"unknown ability 'scores'; did you mean 'score'\?"),
        ({"big": ["score"]}, "must have a set of abilities for big"),
        (["big"], "must be a dict of roles"),
    ],
)
def test_unknown_needs_are_refused_when_a_method_is_defined(wrong: Any, words: str) -> None:
    with pytest.raises(UsageError, match=f"^Odd.needs.*{words}"):

        class Odd(Method):
            needs = wrong


# ---- arguments ----------------------------------------------------------------------------------------------------


class Asynchronous:
    async def __call__(self, happened: object) -> None: ...


async def listen(happened: object) -> None: ...


@pytest.mark.parametrize("listener", [listen, Asynchronous()])
def test_a_listener_must_be_a_plain_function(listener: Any) -> None:
    with pytest.raises(UsageError, match="the listener must be a plain function"):
        solve("6*7?", "big_only", pair=scripted_pair(SCRIPT), listener=listener)


def test_a_stream_refuses_a_wrong_listener() -> None:
    async def read() -> None:
        async for _ in stream("6*7?", "big_only", pair=scripted_pair(SCRIPT), listener=5):
            pass

    with pytest.raises(UsageError, match="the listener must be callable, got 5"):
        asyncio.run(read())


@pytest.mark.parametrize("given", [None, 5, {"role": "user", "content": "6*7?"}])
def test_the_messages_of_a_problem_must_be_a_list(given: Any) -> None:
    with pytest.raises(UsageError, match="the messages must be a text or a list, got"):
        Problem(given)


@pytest.mark.parametrize("sampling", [None, {"temperature": 1}])
def test_the_sampling_of_a_problem_must_be_one(sampling: Any) -> None:
    with pytest.raises(UsageError, match="sampling must be a Sampling, got"):
        Problem.of("6*7?", sampling=sampling)


def test_a_problem_may_not_end_with_a_reply() -> None:
    turns = (Message("user", "6*7?"), Message("assistant", "42"))
    for problem in (turns, Problem(turns)):
        with pytest.raises(UsageError, match="the last message must be of the role user, got assistant"):
            solve(problem, "big_only", pair=scripted_pair(SCRIPT))


LONG: list[Callable[[], object]] = [
    lambda: solve(HUGE.encode(), "big_only"),  # type: ignore[arg-type]
    lambda: solve("6*7?", HUGE),
    lambda: solve("6*7?", f"@{HUGE}"),
    lambda: solve("6*7?", f"{HUGE}.py"),
    lambda: solve("6*7?", wrappers=[HUGE]),
    lambda: solve("6*7?", wrappers=[f"vote({HUGE})"]),
    lambda: solve("6*7?", wrappers=[5, HUGE]),  # type: ignore[arg-type]
    lambda: solve("6*7?", listener=HUGE),  # type: ignore[arg-type]
    lambda: solve("6*7?", pair=HUGE),  # type: ignore[arg-type]
    lambda: solve("6*7?", **{HUGE: 1}),
    lambda: solve("6*7?", switch_ratio=HUGE),
    lambda: solve("6*7?", temperature=HUGE),  # type: ignore[arg-type]
    lambda: solve("6*7?", degrade=HUGE),  # type: ignore[arg-type]
    lambda: messages_of([{"role": HUGE, "content": "6*7?"}]),
    lambda: messages_of([{"role": "user", "content": [HUGE, 5]}]),
    lambda: messages_of([HUGE]),  # type: ignore[list-item]
    lambda: Sampling(top_k=HUGE),  # type: ignore[arg-type]
    lambda: Pair.open(HUGE),
    lambda: Pair.open([HUGE, 5]),  # type: ignore[list-item]
    lambda: Pair.open(f"random_switch({HUGE})"),
    lambda: Pair(HUGE, ScriptedEngine("")),  # type: ignore[arg-type]
]


@pytest.mark.parametrize("call", LONG)
def test_an_error_never_quotes_a_long_value_whole(call: Callable[[], object]) -> None:
    with pytest.raises(SpeculativeError) as raised:
        call()
    assert len(str(raised.value)) < 2000
