"""The engines of the roles, opened and closed together."""

from __future__ import annotations

import asyncio
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from strategies import scripted_pair

from speculative import Pair, UsageError
from speculative.engines.options import EngineOptions, describe_engines, is_model_name
from speculative.errors import UnsupportedMethodError
from speculative.methods.registry import build
from speculative.pair import launch_config, open_engine
from speculative.testing import ScriptedEngine


class Closing(ScriptedEngine):
    """Counts how often it was closed, and may fail to close."""

    closed = 0
    fails = False

    async def aclose(self) -> None:
        self.closed += 1
        if self.fails:
            raise OSError("cannot close")


def test_a_pair_gives_engines_by_role() -> None:
    big, small, judge = ScriptedEngine("b"), ScriptedEngine("s"), ScriptedEngine("j")
    assert dict(Pair(big, small)) == {"big": big, "small": small}
    assert dict(Pair(big, small, judge)) == {"big": big, "small": small, "judge": judge}
    assert len(Pair(big, small, judge)) == 3


async def test_every_engine_is_closed_once_even_if_it_has_two_roles_or_another_fails() -> None:
    both = Closing("")
    async with Pair(both, both):
        assert both.closed == 0
    assert both.closed == 1
    big, small = Closing(""), Closing("")
    small.fails = True
    with pytest.raises(OSError, match="cannot close"):
        await Pair(big, small).aclose()
    assert (big.closed, small.closed) == (1, 1)


def test_a_method_without_needs_takes_any_pair() -> None:
    scripted_pair(abilities=frozenset({"continue"})).check(build("random_switch", {}, ["vote"]))


@pytest.mark.parametrize(
    "spec",
    [
        "bundled:huge",
        "nothing:",
        "",
        "~nobody-of-that-name/model",
        f"{'m' * 300}/y",
        f"{'m' * 300}.gguf",
        f"/{'m' * 5000}.gguf",
        f"http://{'h' * 64}:8000/v1",
        f"http://{'h' * 5000}",
        f"http://{'é' * 5000}",
        "http://h..x",
    ],
)
def test_a_spec_that_names_no_engine_is_refused(spec: str) -> None:
    with pytest.raises(UsageError) as refused:
        open_engine(spec)
    assert len(str(refused.value)) < 400


def test_a_hub_name_that_cannot_be_a_path_goes_to_its_server() -> None:
    name = f"own/{'名' * 96}"
    assert launch_config(name, EngineOptions()).model == name
    assert is_model_name(f"{name[:-5]}-GGUF")


@pytest.mark.parametrize("role", ["big", "small", "judge"])
@pytest.mark.parametrize("wrong", [5, True, ["http://localhost:1/v1", None], {"a": 1}, b"bundled:small"])
def test_a_spec_of_another_type_is_named_with_its_role(role: str, wrong: Any) -> None:
    with pytest.raises(UsageError, match=f"{role} must be the spec of an engine or a list of addresses, got "):
        Pair.open(**{role: wrong})
    with pytest.raises(UsageError, match="the engine must be the spec"):
        open_engine(wrong)


@pytest.mark.parametrize("wrong", [5, {"big": 5}, {"big": None}, {"bg": EngineOptions()}, [("big", EngineOptions())]])
def test_options_that_no_engine_would_get_are_refused(wrong: Any) -> None:
    with pytest.raises(UsageError, match="options"):
        Pair.open(options=wrong)


def test_a_listener_that_cannot_be_called_is_refused() -> None:
    with pytest.raises(UsageError, match="tell must be a function"):
        Pair.open(tell=5)  # type: ignore[arg-type]


@pytest.mark.parametrize("role", ["big", "small", "judge"])
def test_an_empty_list_is_named_with_its_role(role: str) -> None:
    with pytest.raises(UsageError, match=rf"{role} must be the spec of an engine or a list of addresses, got \[\]"):
        Pair.open(**{role: []})


WRITERS = [("big", "big_only"), ("small", "small_only"), ("big", "random_switch"), ("small", "vote*random_switch")]


@pytest.mark.parametrize(("role", "method"), WRITERS)
def test_a_reward_model_in_the_place_of_a_writer_is_named_before_the_first_call(role: str, method: str) -> None:
    pair = Pair.open(**{role: "bundled:reward"})  # type: ignore[arg-type]
    *wrappers, name = method.split("*")
    with pytest.raises(UnsupportedMethodError, match=f"with the {role} model, and bundled:reward cannot continue"):
        pair.check(build(name, {}, wrappers))


@pytest.mark.parametrize("role", ["big", "small"])
def test_a_pair_has_both_of_its_models(role: str) -> None:
    with pytest.raises(UsageError, match=f"{role} must be the spec of an engine or a list of addresses, got None"):
        Pair.open(**{role: None})  # type: ignore[arg-type]


def test_a_folder_is_named_in_full_to_its_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Servers are found again by their model's name: the same words elsewhere are another folder."""
    (tmp_path / "some" / "model").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    for spec in ("./some/model", "some/model", f"{tmp_path}/some/model"):
        assert launch_config(spec, EngineOptions()).model == str(tmp_path / "some" / "model")
    assert launch_config("some/name", EngineOptions()).model == "some/name"


def test_samples_keep_engine_options_without_secrets() -> None:
    options = {
        "big": EngineOptions(model="m", key="s3cret", dialect="qwen3", gpus="0", args="--api-key s3cret --dtype half"),
        "small": EngineOptions(),
        "judge": EngineOptions(model="unused"),
    }
    assert describe_engines({"big": ("http://me:s3cret@host/v1", "http://other/v1"), "small": "bundled:small", "judge": ()}, options) == {
        "big": "http://…@host/v1 http://other/v1",
        "small": "bundled:small",
        "big_model": "m",
        "big_dialect": "qwen3",
        "big_args": "--api-key … --dtype half",
    }


async def test_a_pair_is_opened_in_an_event_loop():
    async with await Pair.connect() as pair:
        assert [pair[role].name for role in pair] == ["bundled:big", "bundled:small"]
    with pytest.raises(UsageError, match="unknown engine"):
        await Pair.connect("bundled:medium")


async def test_cancelling_ends_the_opening_of_a_pair():
    """The server takes the connection and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        waiting = asyncio.Event()
        loop = asyncio.get_running_loop()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        opening = asyncio.create_task(Pair.connect(url, tell=lambda line: loop.call_soon_threadsafe(waiting.set)))
        await waiting.wait()
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("speculative-open")]
