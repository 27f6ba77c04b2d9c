"""A file of the work folder is gone on from only by a run that would make it of the same."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from training.log import tell
from training.origin import OtherOriginError, claim
from training.tunnel.batches import Course
from training.tunnel.documents import BIG_DIET, SMALL_DIET, solve

PLAN = Course("x", 96, 2, BIG_DIET)


def test_what_is_made_of_the_same_is_gone_on_from(tmp_path: Path) -> None:
    file = tmp_path / "small.pt"
    assert not claim(file, {"plan": PLAN, "rows": ((4, 128),)})
    file.touch()
    assert claim(file, {"rows": ((4, 128),), "plan": replace(PLAN)})


def test_what_was_only_begun_leaves_its_place_to_any_other(tmp_path: Path) -> None:
    file = tmp_path / "small.pt"
    assert not claim(file, {"seed": 0})
    assert not claim(file, {"seed": 1})
    file.touch()
    assert claim(file, {"seed": 1})


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (replace(PLAN, ripe=99), "plan.ripe was 96, is 99"),
        (replace(PLAN, diet=SMALL_DIET), "plan.diet.mix.solve was 0.33, is 0.52; "),
        (replace(PLAN, diet=replace(BIG_DIET, mix={solve: 0.33})), "plan.diet.mix.judge was 0.21, is None; "),
    ],
)
def test_what_was_made_of_something_else_is_refused_and_the_difference_named(tmp_path: Path, other: Course, named: str) -> None:
    file = tmp_path / "small.pt"
    claim(file, {"plan": PLAN})
    file.write_text("weights")
    with pytest.raises(OtherOriginError) as told:
        claim(file, {"plan": other})
    assert f"{file} was made of something else: " in str(told.value)
    assert named in str(told.value)
    assert "give --work another folder, or remove that file" in str(told.value)
    assert "\n" not in str(told.value)
    assert file.read_text() == "weights"
    assert claim(file, {"plan": PLAN})


@pytest.mark.parametrize("beside", [None, "", "{"])
def test_what_does_not_say_what_it_was_made_of_is_refused(tmp_path: Path, beside: str | None) -> None:
    (tmp_path / "small.pt").touch()
    if beside is not None:
        (tmp_path / "small.origin.json").write_text(beside)
    with pytest.raises(OtherOriginError, match=r"nothing says what .*small.pt was made of"):
        claim(tmp_path / "small.pt", {"seed": 0})


def test_a_log_takes_back_what_was_describe_data_steps_that_are_taken_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    log = tmp_path / "small.jsonl"
    for step in (32, 64, 96, 64):
        tell(log, step, loss=step / 100)
    assert [json.loads(line) for line in log.read_text().splitlines()] == [{"step": 32, "loss": 0.32}, {"step": 64, "loss": 0.64}]
    assert capsys.readouterr().err.splitlines()[0] == 'small {"step": 32, "loss": 0.32}'
