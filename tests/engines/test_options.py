"""The options of engines: said once, read from flat values, put over each other."""

import pytest
from pydantic import create_model

from speculative.engines.options import (
    EngineOptions,
    describe_engines,
    engine_kind,
    flat_fields,
    is_model_name,
    with_api_key,
)
from speculative.errors import UsageError


def test_options_of_a_role_are_picked_out_of_flat_values():
    values = {"big_model": "a", "small_model": "b", "big_port": "8801", "vllm": "python", "small_args": None, "seed": 3, "big_gpus": 0}
    assert EngineOptions.of("big", values) == EngineOptions(model="a", port=8801, vllm="python", gpus="0")
    assert EngineOptions.of("small", values) == EngineOptions(model="b", vllm="python")
    assert EngineOptions.of("judge", {}) == EngineOptions()
    assert EngineOptions.of("big", {"terminate_on_exit": False}).keep
    assert not EngineOptions.of("big", {"terminate_on_exit": True}).keep


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("big_port", 70000, "big_port must be at most 65535, got 70000"),
        ("big_port", "x", "big_port must be an integer, got 'x'"),
        ("big_context", 0, "big_context must be at least 1, got 0"),
        ("big_model", ["a"], "big_model must be a string, got a list"),
        ("big_key", ["secret"], r"big_key must be a string$"),
    ],
)
def test_a_value_out_of_range_is_named_as_it_was_given(name, value, said):
    with pytest.raises(UsageError, match=said) as raised:
        EngineOptions.of("big", {name: value})
    assert "secret" not in str(raised.value)


def test_flags_win_over_a_file():
    filed = EngineOptions(model="a", dialect="qwen3", port=1, keep=True)
    assert EngineOptions(model="b", port=2).over(filed) == EngineOptions(model="b", dialect="qwen3", port=2, keep=True)
    assert EngineOptions().over(filed) == filed


def test_every_option_has_a_flat_name_and_words_for_its_help():
    fields = flat_fields()
    assert {"big_model", "small_model", "judge_model", "vllm", "keep"} <= set(fields)
    assert len(fields) == 3 * (len(EngineOptions.model_fields) - 2) + 2
    assert all(field.description for _, field in fields.values())
    assert "SPECULATIVE_SMALL_KEY" in fields["small_key"][1].description
    assert "big_key" not in flat_fields(without=("key",))
    assert [name for name in flat_fields(roles=("big",)) if name.startswith("small")] == []
    made = create_model("Grid", **flat_fields(without=("key",)))
    assert EngineOptions.of("small", made(small_port=7).model_dump()).port == 7


def test_options_are_not_changed_in_place_and_show_no_key():
    options = EngineOptions(key="secret")
    assert "secret" not in repr(options)
    with pytest.raises(ValueError, match="frozen"):
        options.model = "x"


def test_a_key_comes_from_the_options_else_from_the_environment(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for name in ("SPECULATIVE_BIG_KEY", "SPECULATIVE_KEY"):
        monkeypatch.delenv(name, raising=False)
    assert with_api_key("big", EngineOptions()).key is None
    monkeypatch.setenv("SPECULATIVE_KEY", "all")
    assert with_api_key("small", EngineOptions()).key == "all"
    monkeypatch.setenv("SPECULATIVE_BIG_KEY", "big")
    assert with_api_key("big", EngineOptions()).key == "big"
    assert with_api_key("big", EngineOptions(key="own")).key == "own"


def test_kinds_of_engines(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here" / "model").mkdir(parents=True)
    assert engine_kind(["bundled:big"]) == "bundled"
    assert engine_kind([" HTTP://a:1", "https://b"]) == "server"
    assert engine_kind(["org/name"]) == engine_kind(["here/model"]) == engine_kind(["x.gguf"]) == "model"
    assert not is_model_name("name")
    with pytest.raises(UsageError, match="the replicas of an engine must be addresses of servers, got 'bundled:big'; name it once"):
        engine_kind(["http://a", "bundled:big"])
    for wrong in ([], ["ftp://x"], ["bundled:medium"]):
        with pytest.raises(UsageError, match=r"unknown engine .*; use bundled:big"):
            engine_kind(wrong)


def test_a_description_of_engines_holds_what_decides_the_text_and_no_secret():
    options = {"big": EngineOptions(key="secret", args="--api-key hush --dtype half", context=99, port=3)}
    assert describe_engines({"big": ("http://me:pw@a", "http://b"), "small": "bundled:small", "judge": ()}, options) == {
        "big": "http://…@a http://b",
        "big_args": "--api-key … --dtype half",
        "big_context": "99",
        "small": "bundled:small",
    }
