"""The spec of a tower, and the doors that take one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from profiles import quick_cases

from speculative import Pair, UsageError, solve
from speculative.engines.base import CallStats
from speculative.engines.options import EngineOptions, describe_engines, engine_kind, is_tower, single_models, tower_parts
from speculative.evaluate.lm_eval.arguments import read
from speculative.methods.registry import names
from speculative.settings import Settings
from speculative.tower import TowerEngine
from speculative.tower.opening import tower_plan

SPEC = "random_switch(bundled:small,bundled:big,big_share=0.3)"


def test_the_small_model_comes_first_and_roles_can_be_named() -> None:
    plain = tower_parts(SPEC)
    assert (plain.method, plain.engines, plain.fields) == (
        "random_switch",
        {"small": "bundled:small", "big": "bundled:big"},
        {"big_share": "0.3"},
    )
    named = tower_parts("step_verify(big=http://b/v1 http://c/v1, small = org/small, judge=org/judge)")
    assert named.engines == {"big": ("http://b/v1", "http://c/v1"), "small": "org/small", "judge": "org/judge"}


def test_fields_are_parameters_of_the_method_or_options_of_an_engine() -> None:
    plan = tower_plan("random_switch(org/a,org/b,big_share=0.3,big_model=name,small_dialect=qwen3,degrade=big)", EngineOptions(key="k"))
    assert plan.method.params["big_share"] == 0.3
    assert (plan.options["big"].model, plan.options["small"].dialect) == ("name", "qwen3")
    assert [plan.options[role].key for role in ("big", "small")] == ["k", "k"]
    assert plan.degrade == "big"


def test_wrappers_stand_before_the_method_as_everywhere() -> None:
    plan = tower_plan("early_exit(agree=3)*random_switch(org/a,org/b,unit=step)", EngineOptions())
    assert plan.method.full_name == "early_exit*random_switch"
    assert plan.method.params["early_exit"]["agree"] == 3
    assert plan.method.params["unit"] == "step"


def test_a_method_by_path_can_be_the_method_of_a_tower() -> None:
    path = Path(__file__).parents[2] / "examples" / "methods" / "take_over.py"
    assert tower_plan(f"{path}:TakeOver(org/a,org/b,doubt=x)", EngineOptions()).method.full_name == "take_over"


@pytest.mark.parametrize("spec", ["http://host/v1?x=(y)", "org/name", "bundled:big", "/tmp"])
def test_other_specs_are_no_towers(spec: str) -> None:
    assert not is_tower(spec)


def test_a_folder_with_brackets_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "model(1)").mkdir()
    assert engine_kind([str(tmp_path / "model(1)")]) == "model"


@pytest.mark.parametrize("size", [256, 5000])
def test_a_spec_may_be_longer_than_a_path(size: int) -> None:
    spec = f"random_switch(bundled:small,bundled:big,big_share=0.{'3' * size})"
    assert is_tower(spec)
    assert isinstance(Pair.open(small=spec)["small"], TowerEngine)


def test_the_context_of_a_bundled_model_inside_can_be_shorter() -> None:
    tower: Any = Pair.open(small="random_switch(bundled:small,bundled:big,big_context=500)")["small"]
    assert (tower.inner["big"].context, tower.context) == (500, 500)


def test_a_spec_may_be_longer_than_a_files_name() -> None:
    spec = SPEC
    for _ in range(8):
        spec = f"random_switch(bundled:small,{spec})"
    assert len(spec) > 255
    assert is_tower(spec)


def test_records_name_every_model_inside() -> None:
    nested = f"random_switch({SPEC},org/x)"
    models = {"big": "bundled:big", "small/small/small": "bundled:small", "small/small/big": "bundled:big", "small/big": "org/x"}
    assert single_models({"big": "bundled:big", "small": nested}) == models
    assert describe_engines({"big": "bundled:big", "small": nested}, {})["small"] == nested


def test_python_opens_one() -> None:
    pair = Pair.open(small=SPEC)
    assert isinstance(pair["small"], TowerEngine)
    assert pair["small"].name == "random_switch(bundled:small, bundled:big, big_share=0.3)"
    result = solve("How many apples has Mia now?", "random_switch", pair=pair, max_tokens=60, seed=3, unit="step")
    assert result.usage["small/big"].produced_tokens + result.usage["small/small"].produced_tokens > 0


async def test_closing_the_pair_closes_the_models_inside() -> None:
    async with await Pair.connect(small=SPEC) as pair:
        inner: Any = pair["small"]
    with pytest.raises(Exception, match="closed"):
        await inner.inner["big"].score([[1]], [[2]], key="k", stats=CallStats())


def test_settings_take_one_from_the_environment_and_no_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPECULATIVE_SMALL", SPEC)
    settings = Settings()
    assert settings.small == [SPEC]
    assert isinstance(settings.pair()["small"], TowerEngine)
    monkeypatch.setenv("SPECULATIVE_SMALL", "./mine.py:Mine(bundled:small,bundled:big)")
    with pytest.raises(UsageError, match=r"must be a name, got './mine.py:Mine'"):
        Settings()


def test_lm_eval_spells_the_comma_as_everywhere() -> None:
    arguments = read({"small": "random_switch(bundled:small|bundled:big|big_share=0.3)"})
    assert arguments.specs["small"] == SPEC


def test_inspect_splits_at_commas_and_the_tower_is_whole_again() -> None:
    from speculative.evaluate.inspect_ai import _spec  # pyright: ignore[reportPrivateUsage]

    assert _spec(SPEC.split(",")) == SPEC
    assert _spec(["http://a/v1", "http://b/v1"]) == ["http://a/v1", "http://b/v1"]


@pytest.mark.parametrize("wrapper", quick_cases(names(wrappers=True)))
def test_the_advice_for_a_wrapper_without_a_method_can_be_followed(wrapper: str) -> None:
    with pytest.raises(UsageError, match=f"must run a method, got the wrapper {wrapper}; ") as refused:
        tower_plan(f"{wrapper}(bundled:small,bundled:big)", EngineOptions())
    advised = str(refused.value).rpartition("; ")[2]
    if advised.startswith("write it as "):
        Pair.open(
            small=advised.removeprefix("write it as ").replace("METHOD(SMALL,BIG,field=value,…)", "big_only(bundled:small,bundled:big)")
        )
    else:
        with pytest.raises(UsageError, match="must write one chain"):
            Pair.open(small=f"{wrapper}*big_only(bundled:small,bundled:big)")
