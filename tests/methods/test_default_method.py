"""The default method is the same at every door."""

from __future__ import annotations

from inspect import signature
from pathlib import Path

import pytest

from speculative import asolve, solve
from speculative.cli.ask import ask
from speculative.cli.eval import eval as eval_command
from speculative.evaluate.lm_eval.arguments import read
from speculative.methods.registry import DEFAULT_METHOD, build
from speculative.settings import Preset, Settings


def test_every_door_has_the_same_default_method(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    doors = [signature(function).parameters["method"].default for function in (solve, asolve, ask, eval_command)]
    assert [*doors, Settings().method, Preset().method, read({}).spec.name] == [DEFAULT_METHOD] * 7


def test_the_default_method_needs_nothing_special_of_an_engine() -> None:
    assert not any(build(DEFAULT_METHOD).required_abilities().values())
