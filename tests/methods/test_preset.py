"""Presets: `@FILE` in place of a method, and parameters that are read from files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speculative.errors import UsageError
from speculative.methods.preset import format_preset, read_preset
from speculative.methods.registry import build, find
from speculative.methods.spec import parse_method


@pytest.fixture
def preset(tmp_path: Path) -> Any:
    def write(text: str, name: str = "mine.toml") -> str:
        (tmp_path / name).write_text(text)
        return f"@{tmp_path / name}"

    return write


def test_a_preset_stands_for_its_method_and_parameters(preset: Any) -> None:
    spec = preset('method = "likelihood_verify"\nwith = ["vote(ballots=3)"]\n[params]\nthreshold = -0.3\n[tuned]\nat = "today"\n')
    assert find(spec).name() == "likelihood_verify"
    method = build(spec, {"measure": "min"}, ["early_exit"])
    assert method.params["threshold"] == -0.3
    assert method.params["measure"] == "min"
    made = parse_method(spec)
    assert made.label == "vote(ballots=3)*likelihood_verify(threshold=-0.3)"
    assert made.name == "vote*likelihood_verify"


def test_a_given_parameter_goes_before_that_of_the_preset(preset: Any) -> None:
    spec = preset('method = "likelihood_verify"\n[params]\nthreshold = -0.3\n')
    assert build(spec, {"threshold": -0.5}).params["threshold"] == -0.5
    assert parse_method(f"{spec}(threshold=-0.7)").label == "likelihood_verify(threshold=-0.7)"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("method = ", "must be TOML"),
        ("[params]\nthreshold = 1", "method is required; add it"),
        ('method = "likelihood_verify"\nthreshold = -1', "threshold is not a key of a preset; put a parameter under [params]"),
        ('method = "likelihood_verify"\n[parameters]\nthreshold = -1', "unknown table 'parameters'; did you mean 'params'"),
        ('method = "likelihood_verif"', "did you mean 'likelihood_verify'"),
        ('method = "./mine.py:Mine"', "unknown method"),
        ('method = "likelihood_verify"\n[params]\nthreshold = 1.0', "threshold must be at most 0, got 1.0"),
        ('method = "likelihood_verify"\n[params]\nthreshhold = 1.0', "did you mean 'threshold'"),
    ],
)
def test_a_mistake_in_a_preset_is_named(preset: Any, text: str, told: str) -> None:
    with pytest.raises(UsageError, match=re.escape(told)):
        build(preset(text))


def test_a_missing_preset_is_named(tmp_path: Path) -> None:
    for spec in ("@", f"@{tmp_path}", f"@{tmp_path / 'none.toml'}"):
        with pytest.raises(UsageError, match="preset"):
            build(spec)


def test_a_request_cannot_name_a_file(preset: Any, tmp_path: Path) -> None:
    spec = preset('method = "big_only"')
    with pytest.raises(UsageError, match="unknown method"):
        build(spec, paths=False)
    (tmp_path / "known.txt").write_text("2; 3\n")
    with pytest.raises(UsageError, match="cannot name a file here"):
        build("chunk_gate", {"calibration": f"@{tmp_path / 'known.txt'}"}, paths=False)
    assert build("chunk_gate", {"calibration": f"@{tmp_path / 'known.txt'}"}).params["calibration"] == "2; 3"


def test_files_of_a_preset_lie_beside_it(preset: Any, tmp_path: Path) -> None:
    (tmp_path / "known.txt").write_text("2; 3\n")
    spec = preset('method = "chunk_gate"\n[params]\ncalibration = "@known.txt"\n')
    assert build(spec).params["calibration"] == "2; 3"
    (tmp_path / "known.txt").unlink()
    with pytest.raises(UsageError, match=r"chunk_gate: calibration: known\.txt: No such file"):
        build(spec)


def test_a_written_preset_has_its_comments_and_no_empty_values(tmp_path: Path) -> None:
    tuned = {"target": "at most 30%", "command": None, "held_out": {"kept": 0.25, "cost": None}, "engines": {"big": "a/b"}}
    text = format_preset("likelihood_verify", {"threshold": -0.3, "measure": None}, tuned, ["one", "two"])
    assert text.startswith('# one\n# two\nmethod = "likelihood_verify"\n')
    (tmp_path / "written.toml").write_text(text, encoding="utf-8")
    found = read_preset(f"@{tmp_path / 'written.toml'}")
    assert (found.params, found.tuned) == (
        {"threshold": -0.3},
        {"target": "at most 30%", "held_out": {"kept": 0.25}, "engines": {"big": "a/b"}},
    )


def test_a_preset_of_an_earlier_version_reads_the_same(preset: Any) -> None:
    spec = preset(
        '# Chosen by `speculative tune`\nmethod = "likelihood_verify"\n\n[params]\nthreshold = -1e-05\n\n[tuned]\n'
        'percentiles = { threshold = 0.2 }\ntuning = { right = 0.5, kept = 1 }\nengines = { big = "a", small = "b" }\n'
    )
    found = read_preset(spec)
    assert found.params == {"threshold": -1e-05}
    assert found.tuned["tuning"] == {"right": 0.5, "kept": 1}


values = st.one_of(st.integers(-(2**40), 2**40), st.floats(allow_nan=False, allow_infinity=False), st.booleans(), st.text())


@given(st.dictionaries(st.sampled_from(["one", "two_2", "three"]), values), st.dictionaries(st.just("list"), st.lists(values, max_size=3)))
def test_what_is_written_is_read(tmp_path_factory: pytest.TempPathFactory, params: dict[str, Any], tuned: dict[str, Any]) -> None:
    file = tmp_path_factory.getbasetemp() / "written.toml"
    file.write_text(format_preset("big_only", params, tuned, ["a comment"]), encoding="utf-8", newline="")
    found = read_preset(f"@{file}")
    assert (found.method, found.params, found.tuned) == ("big_only", params, tuned)
