"""Methods are found by name, by entry point and by path, and built from parameters."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field
from strategies import scripted_pair

from speculative import Method, Pair, UsageError, Wrapper, solve
from speculative._plugins import parse_spec, split_spec
from speculative.errors import MethodError, UnknownNameError, UnsupportedMethodError
from speculative.methods import registry
from speculative.methods.registry import build, find, names, registered
from speculative.methods.spec import format_method, parse_method
from speculative.testing import ScriptedEngine

MINE = '''
from pydantic import Field
from speculative import Chain, Method


class TakeTurns(Method):
    """Gives the chunks to the models in turn."""

    chunk: int = Field(2, ge=1, description="tokens in a chunk")

    async def think(self, chain: Chain) -> None:
        while chain.thinking:
            for role in ("big", "small"):
                await chain.write(role, max_tokens=self.chunk)
'''


@pytest.fixture
def mine(tmp_path: Path) -> str:
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    return str(path)


@pytest.fixture
def fresh() -> Iterator[None]:
    """The registry is read anew, before and after."""
    registered.cache_clear()
    yield
    registered.cache_clear()


def installed(folder: Path, monkeypatch: pytest.MonkeyPatch, module: str, point: str, code: str = MINE) -> None:
    """A package with one entry point, on the path."""
    (folder / f"{module}.py").write_text(code)
    info = folder / f"{module}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {module}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[speculative.methods]\n{point}\n")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, module, raising=False)


@pytest.mark.parametrize("name", [*names(), *names(wrappers=True)])
def test_a_docstring_tells_the_rule_the_cost_the_needs_and_the_source(name: str) -> None:
    kind = registered()[name]
    text = inspect.cleandoc(kind.__doc__ or "")
    assert all(f"{word}: " in text for word in ("Cost", "Needs", "Source")), name
    about = text.partition("Needs: ")[2].partition("Source: ")[0]
    needed = {ability for needs in kind.needs.values() for ability in needs}
    assert all(f"`{ability}`" in about for ability in needed), f"{name}: {about}"


# ---- by name --------------------------------------------------------------------------------------------------------


def test_every_file_of_a_method_is_in_the_registry_under_its_name() -> None:
    rooms = {
        "__init__",
        "base",
        "registry",
        "asking",
        "ballots",
        "checked_steps",
        "choosing",
        "confidence",
        "definition",
        "errors",
        "families",
        "driving",
        "judging",
        "mixture",
        "policy_fit",
        "policy_process",
        "policy_table",
        "preset",
        "same_step",
        "spec",
        "step_check",
        "step_loop",
        "tags",
        "threshold",
        "tunable",
        "words",
        "wrapper",
    }
    files = {path.stem for path in Path(registry.__file__).parent.glob("*.py")} - rooms
    assert files == {*names(), *names(wrappers=True)}
    assert {"big_only", "logprob_subselect", "placeholder", "random_switch", "small_only", "spec_rewrite"} < set(names())
    assert {"early_exit", "vote"} <= set(names(wrappers=True))
    assert find("big_model_only") is find("big-only") is find("big_only")
    assert find("small_model_only") is find("small_only")


def test_every_method_says_what_it_is_and_what_its_fields_mean() -> None:
    for method in registered().values():
        assert method.summary().endswith(".")
        assert all(field.description for field in method.model_fields.values())


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("randomswitch", "unknown method 'randomswitch'; did you mean 'random_switch'\\? \\(known: advantage, "),
        ("zzz", "unknown method 'zzz' \\(known: advantage"),
        ("nope", "unknown method 'nope' \\(known: advantage"),
    ],
)
def test_an_unknown_name_is_told_with_the_closest_one(name: str, told: str) -> None:
    with pytest.raises(UnknownNameError, match=told):
        build(name)


@pytest.mark.parametrize(
    ("name", "params", "told"),
    [
        ("random_switch", {"switch_chunks": 3}, "unknown parameter of random_switch 'switch_chunks'; did you mean 'switch_chunk'"),
        ("random_switch", {"switch_chunk": 0}, "random_switch: switch_chunk must be at least 1, got 0"),
        ("random_switch", {"switch_ratio": 0}, "switch_ratio must be more than 0, got 0"),
        ("random_switch", {"big_share": 1.5}, "big_share must be at most 1, got 1.5"),
        ("random_switch", {"unit": "word"}, "unit must be 'chunk' or 'step', got 'word'"),
        ("random_switch", {"switch_ratio": 1, "big_share": 0.5}, "random_switch: give switch_ratio or big_share, not both"),
        ("random_switch", {"switch_ratio": float("nan")}, "switch_ratio must be a finite number, got nan"),
        ("logprob_subselect", {"sdecay": 1}, "sdecay must be at least 2, got 1"),
        (
            "logprob_subselect",
            {"ltok": 0, "sgen": "many"},
            "sgen must be an integer, got 'many'; logprob_subselect: ltok must be at least 1, got 0",
        ),
        ("big_only", {"inner": 1}, "unknown parameter of big_only 'inner'"),
        ("auto", {"threshold": 42}, "auto: threshold must be from 0 to 9 with check=ask, got 42"),
        ("auto", {"threshold": -0.1}, "threshold must be from 0 to 9 with check=ask, got -0.1"),
        ("auto", {"check": "score", "threshold": 5}, "threshold must be at most 0 with check=score, got 5"),
        ("chunk_gate", {"calibration": "nan"}, "calibration must hold perplexities of at least 1, got nan"),
        ("chunk_gate", {"calibration": "2; inf"}, "calibration must hold perplexities of at least 1, got inf"),
        ("chunk_gate", {"calibration": "1.5; 0.5"}, "calibration must hold perplexities of at least 1, got 0.5"),
        ("guide", {"fields": " ; "}, "fields must hold at least one field"),
        ("advisor", {"fields": " "}, "fields must hold at least one field"),
        ("offload", {"open_tag": "#", "close_tag": "#"}, "close_tag must differ from open_tag, got '#'"),
        ("offload", {"open_tag": "</bigmodel>"}, "close_tag must differ from open_tag, got '</bigmodel>'"),
        ("relay", {"open_tag": "</call>"}, "close_tag must differ from open_tag, got '</call>'"),
    ],
)
def test_bad_parameters_name_the_field_and_the_bound(name: str, params: dict[str, Any], told: str) -> None:
    with pytest.raises(UsageError, match=told):
        build(name, params)


def test_a_wrapper_is_no_method_and_says_so() -> None:
    with pytest.raises(UsageError, match="the method must not be a wrapper, got 'vote'; name a method, and the wrapper under `with`"):
        build("vote")


def test_a_method_that_is_made_already_takes_no_parameters() -> None:
    made = build("random_switch", {"switch_chunk": "8"})
    assert build(made) is made
    assert made.params["switch_chunk"] == 8
    with pytest.raises(UsageError, match="switch_chunk cannot be given beside a Method; set it in the Method"):
        build(made, {"switch_chunk": 4})


def test_names_that_the_runner_owns_are_no_fields() -> None:
    with pytest.raises(TypeError, match="Greedy: the field names max_tokens, seed belong to the runner; choose others"):

        class Greedy(Method):  # pyright: ignore[reportUnusedClass]
            seed: int = Field(0, description="")
            max_tokens: int = Field(0, description="")


def test_a_method_needs_think_or_run() -> None:
    class Idle(Method):
        """Does nothing."""

    with pytest.raises(MethodError, match="NotImplementedError: Idle has neither `think` nor `run`"):
        solve("6*7?", Idle(), pair=scripted_pair())


# ---- wrappers -------------------------------------------------------------------------------------------------------


def test_wrappers_are_put_around_the_first_one_innermost() -> None:
    method = build("small_only", {"sequential_scale": 1}, ["early_exit(agree=4, every=2)", "vote(ballots=3)"])
    assert method.full_name == "vote*early_exit*small_only"
    assert method.params == {
        "answer_by": "small",
        "sequential_scale": 1,
        "early_exit": {"answer_by": "small", "every": 2, "agree": 4, "probe_tokens": 20},
        "vote": {"answer_by": "small", "ballots": 3, "weights": "equal", "stop_early": False, "plans": "", "enough": None},
    }
    assert build("small_only", {}, ["early_exit"]).text_is_final
    assert not method.text_is_final
    assert build("big_only", {}, ["vote()"]) == build("big_only", {}, ["vote"])


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("votes", "unknown wrapper 'votes'; did you mean 'vote'"),
        ("big_only", "a wrapper must not be a method, got 'big_only'; name it as the method"),
        ("vote(inner=1)", r"wrapper 'vote\(inner=1\)': `inner` cannot be set"),
        ("vote(ballots=3", "has an open bracket; write it as name"),
        ("vote(3)", "wrapper 'vote\\(3\\)': each part must be field=value, got '3'"),
        ("vote(ballot=3)", "unknown parameter of vote 'ballot'; did you mean 'ballots'"),
        ("vote(ballots=0)", "vote: ballots must be at least 1, got '0'"),
        ("vote(inner=big_only)", "`inner` cannot be set, since it is the method"),
        ("vote(ballots=2,enough=9)", "vote: enough must be at most ballots, 2, got 9"),
        ("vote(enough=6)", "vote: enough must be at most ballots, 5, got 6"),
        ("vote(ballots=3,plans=a;b;c;d)", "vote: plans must be at most as many as ballots, 3, got 4"),
        ("budget_forcing(most=3,least=9)", "budget_forcing: most must be at least the value of least, 9, got 3"),
    ],
)
def test_a_bad_wrapper_says_what_is_wrong(spec: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        build("big_only", {}, [spec])


def test_a_wrapper_needs_what_it_and_its_inner_method_need() -> None:
    class Judging(Wrapper):
        """Needs a judge."""

        needs = {"judge": {"score"}, "big": {"score"}}  # noqa: RUF012

    method = Judging(inner=build("logprob_subselect", {}, ["vote"]))
    assert method.required_abilities() == {"judge": {"score"}, "big": {"score", "logprobs"}}
    with pytest.raises(UnsupportedMethodError, match="needs an engine for the role judge; give one with --judge"):
        scripted_pair().check(method)


# ---- by path and by entry point -------------------------------------------------------------------------------------


def test_a_new_method_of_15_lines_runs_by_path(mine: str) -> None:
    assert len(MINE.strip().splitlines()) <= 15
    pair = scripted_pair("abcdef</think>42", "abcdef</think>42")
    result = solve("6*7?", f"{mine}:TakeTurns", pair=pair, chunk=1)
    assert (result.reasoning, result.method, result.params["chunk"]) == ("abcdef", "take_turns", 1)
    assert [segment.author for segment in result.trace.segments()] == ["big", "small"] * 3 + ["big"] * 2
    with pytest.raises(UsageError, match="take_turns: chunk must be at least 1, got 0"):
        build(mine, {"chunk": 0})


def test_a_file_that_was_edited_is_read_again_and_one_that_was_not_is_not(mine: str) -> None:
    written = Path(mine).stat().st_mtime
    first = find(mine)
    assert find(f"{mine}:TakeTurns") is first
    Path(mine).write_text(MINE.replace("Field(2", "Field(3"))
    os.utime(mine, (written, written))  # Python's own cache goes by time and size
    assert find(mine).model_fields["chunk"].default == 3


@pytest.mark.parametrize(
    ("code", "spec", "told"),
    [
        (None, "gone.py:Mine", "gone.py does not exist; name a Python file"),
        ("def broken(:", "bad.py", "cannot be loaded: SyntaxError"),
        ("raise RuntimeError('no luck')", "bad.py", "cannot be loaded: RuntimeError: no luck"),
        ("x = 1", "bad.py", "the file must hold one method, got 0; write FILE.py:CLASS"),
        (MINE + MINE.replace("TakeTurns", "Other"), "bad.py", "the file must hold one method, got 2; write FILE.py:CLASS"),
        (MINE, "bad.py:TakeTurn", "unknown method class in bad.py 'TakeTurn'; did you mean 'TakeTurns'"),
        (MINE.replace("chunk", "seed"), "bad.py", "the field name seed belongs to the runner"),
        ("from speculative import Wrapper\nclass Around(Wrapper): ...", "bad.py", "is a wrapper; wrappers are named with --with"),
    ],
)
def test_a_path_that_gives_no_method_says_why(code: str | None, spec: str, told: str, tmp_path: Path) -> None:
    if code is not None:
        (tmp_path / "bad.py").write_text(code)
    with pytest.raises(UsageError, match=told):
        find(str(tmp_path / spec))


def test_a_wrapper_can_come_by_path_and_a_method_is_none(mine: str, tmp_path: Path) -> None:
    (tmp_path / "around.py").write_text("from speculative import Wrapper\n\nclass Around(Wrapper):\n    ...\n")
    assert build("big_only", {}, [f"{tmp_path}/around.py:Around"]).full_name == "around*big_only"
    with pytest.raises(UsageError, match="is no wrapper"):
        build("big_only", {}, [mine])


def test_paths_are_code_and_never_taken_from_a_request(mine: str) -> None:
    with pytest.raises(UnknownNameError, match="unknown method"):
        build(mine, paths=False)
    with pytest.raises(UnknownNameError, match="unknown wrapper"):
        build("big_only", {}, [mine], paths=False)


@pytest.mark.usefixtures("fresh")
def test_a_method_of_an_installed_package_is_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(tmp_path, monkeypatch, "turns_plugin", "take_turns = turns_plugin:TakeTurns")
    assert "take_turns" in names()
    result = solve("6*7?", "take_turns", pair=scripted_pair("abc</think>42", "abc</think>42"), chunk=1)
    assert (result.reasoning, result.method) == ("abc", "take_turns")


@pytest.mark.usefixtures("fresh")
@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("TakeTurns = 1", "the entry point 'take_turns' of the group speculative.methods must be a subclass of Method, got 1"),
        ("import no_such_module", "the method 'take_turns' of the package bad_plugin cannot be loaded: No module named 'no_such_module'"),
        (
            MINE.replace("class TakeTurns", "class BigOnly") + "\nTakeTurns = BigOnly",
            "'big_only' of the package bad_plugin has the name of another one",
        ),
    ],
)
def test_a_broken_package_is_named(code: str, told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(tmp_path, monkeypatch, "bad_plugin", "take_turns = bad_plugin:TakeTurns", code)
    with pytest.raises(UsageError, match=told):
        names()


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("vote(", "has an open bracket"),
        ("vote(ballots=2,ballots=3)", "gives ballots twice"),
        ("vote(ballots)", "each part must be field=value, got 'ballots'"),
        ('vote(plans="a,b)', "has an open bracket|string of JSON"),
        ('vote(plans="a"b)', "a value in quotes must be a string of JSON"),
    ],
)
def test_a_misspelled_field_list_is_told(spec: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_spec("wrapper", spec)


@pytest.mark.parametrize("plans", ["a,b=3", 'say "so" (and on)', "x*y", " with spaces ", "back\\slash, \u00fc"])
def test_a_value_in_quotes_may_hold_what_ends_a_field(plans: str) -> None:
    spelled = format_method("vote", {"ballots": 3, "plans": plans})
    assert parse_spec("wrapper", spelled) == ("vote", {"ballots": "3", "plans": plans})
    assert split_spec(f"{spelled}*big_only, small_only", ",") == [f"{spelled}*big_only", "small_only"]
    assert parse_method(f"{spelled}*big_only").method.params["vote"]["plans"] == plans


class Counting(ScriptedEngine):
    """Knows the most completions that a call had."""

    most = 0

    async def complete(self, prefixes: Any, decoding: Any, **rest: Any) -> Any:
        self.most = max(self.most, len(prefixes) * decoding.n)
        return await super().complete(prefixes, decoding, **rest)


BEAMS = [{"sgen": sgen, "lbound": lbound, "sdecay": sdecay} for sgen in (2, 3, 8) for lbound in (0, 64) for sdecay in (2, 3)]


@pytest.mark.parametrize(
    ("name", "params"),
    [*((name, {}) for name in names()), ("spec_rewrite", {"drafting_n": 5}), *(("logprob_subselect", params) for params in BEAMS)],
)
def test_no_call_asks_for_more_drafts_than_the_method_declares(name: str, params: dict[str, int]) -> None:
    """What a service bounds: one that asks for more would occupy a server with one request."""
    pair = Pair(Counting("a b c.</think>42", name="B"), Counting("a b.\n\nc d e.</think>42", name="S"), Counting("", name="J"))
    method = build(name, params)
    solve("?", method, pair=pair, seed=1)
    assert max(engine.most for engine in pair.values() if isinstance(engine, Counting)) == method.most_drafts[1]
    assert build(name, params, ["early_exit"]).most_drafts == method.most_drafts


@pytest.mark.parametrize(
    ("spec", "unit"),
    [
        ("big_only", "step"),
        ("random_switch", 16),
        ("random_switch(unit=step)", "step"),
        ("draft_verify(draft_tokens=5)", 5),
        ("offload(chunk=9)", 9),
        ("mentor(segment=7)", 7),
        ("stitch(chunk=6)", 6),
        ("chunk_gate(chunk=8)", 8),
        ("logprob_subselect(stok=4,ltok=7)", 6),
        ("vote*random_switch(switch_chunk=3)", 3),
    ],
)
def test_a_control_takes_turns_as_long_as_the_method_does(spec: str, unit: int | str) -> None:
    assert parse_method(spec).method.switch_unit == unit
