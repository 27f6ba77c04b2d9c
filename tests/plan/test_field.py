"""The file of a field, its forecast and its command."""

from __future__ import annotations

from math import log
from pathlib import Path

import pytest
import yaml

from speculative.cli import run as command
from speculative.errors import UsageError
from speculative.evaluate import grid
from speculative.plan.field import FieldFile, read_field
from speculative.plan.profile import load_profile

EXAMPLE = Path(__file__).parents[2] / "examples" / "field.yaml"
SMALL = {
    "pairs": [{"name": "one", "big": "B/big", "small": "S/small"}],
    "limits": [8192],
    "tokens": {8192: 500},
    "chains": {8192: 4},
    "tasks": [{"task": "stories", "problems": 10}],
    "methods": ["big_only", {"method": "random_switch", "big_share": [0.2, 0.5]}],
}

PUBLISHED_BEAMS = [
    dict(zip(("stok", "sgen", "sdecay", "ltok", "lbound"), values, strict=True))
    for values in ((32, 8, 2, 512, 8), (512, 16, 2, 512, 8), (512, 16, 2, 32, 8), (512, 32, 2, 32, 8), (256, 32, 2, 16, 2))
]
"""The settings in the evaluation scripts of SplitReason's library."""


def written(tmp_path: Path, **change: object) -> Path:
    path = tmp_path / "own.yaml"
    path.write_text(yaml.safe_dump({**SMALL, **change}))
    return path


def test_every_cell_of_the_example_is_a_grid(tmp_path: Path) -> None:
    from speculative.cli.eval import file_settings

    field = read_field(EXAMPLE)
    for cut in (False, True):
        cells = dict(field.cells(cut=cut))
        assert len(cells) == len(field.pairs) * len(field.limits) * len(field.speculation)
        for made in cells.values():
            path = tmp_path / "grid.yaml"
            path.write_text(yaml.safe_dump(made))
            read = grid.read(path, file_settings())
            assert len(read.specs()) == len(field.method_names())
    assert "num_speculative_tokens" in dict(field.cells())["r1-32b+1.5b/8192-draft"]["big_args"]
    assert "{small}" not in str(dict(field.cells()))


def test_the_example_has_settings_of_the_papers_for_real_pairs() -> None:
    methods = {entry.pop("method"): entry for entry in read_field(EXAMPLE).methods if isinstance(entry, dict)}
    normalised = pytest.approx(0.03 * log(151_936), abs=0.005)
    assert methods["stitch"] == {"tau_up": normalised, "tau_down": normalised}
    assert methods["logprob_subselect"] in PUBLISHED_BEAMS
    assert "confidence_route" not in methods  # its distributions are those of the bundled pair


def test_the_forecast_counts_chains_and_hours(tmp_path: Path) -> None:
    field = read_field(written(tmp_path, epochs=3))
    assert field.chains_of_method() == 30
    assert field.method_names() == ["big_only", "random_switch", "random_switch"]
    (hours,) = field.hours(load_profile("h200-32b-1.5b")).values()
    (double,) = read_field(written(tmp_path, epochs=6)).hours(load_profile("h200-32b-1.5b")).values()
    assert double == pytest.approx(2 * hours)


def test_the_command_says_the_cost_and_runs_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert command(["field", str(written(tmp_path)), "--dry-run", "--gpu-hour", "2", "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "GPU hours" in shown
    assert "one/8192-none" in shown
    assert not out.exists()


@pytest.mark.slow
def test_the_command_runs_a_cut_field_and_continues(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = written(tmp_path), tmp_path / "out"
    assert command(["field", str(path), "--cut", "--out", str(out)]) == 0
    samples = out / "one" / "8192-none" / "run" / "samples.jsonl"
    first = samples.read_text()
    assert len(first.splitlines()) == 3 * 2
    capsys.readouterr()
    assert command(["field", str(path), "--cut", "--out", str(out)]) == 0
    assert samples.read_text() == first
    assert "all were there" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_whole_example_runs_cut_small(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["field", str(EXAMPLE), "--cut", "--out", str(tmp_path / "out")]) == 0
    assert len(list((tmp_path / "out").rglob("samples.jsonl"))) == 12


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"pairs": []}, "pairs"),
        ({"pairs": [{"name": "../up", "big": "b", "small": "s"}]}, "pairs.0.name"),
        ({"tokens": {}}, "tokens must have a number above 0 for the limit 8192"),
        ({"chains": {8192: 0}}, "chains must have a number above 0 for the limit 8192"),
        ({"layout": "z"}, "layout must be one of"),
        ({"unknown": 1}, "unknown"),
        ({"epochs": 0}, "epochs"),
    ],
)
def test_bad_files_are_refused(tmp_path: Path, change: dict[str, object], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        read_field(written(tmp_path, **change))


@pytest.mark.parametrize("text", ["", "[", "- 1", "tasks: 1"])
def test_other_texts_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match="the field"):
        read_field(path)


def test_a_field_is_one_object() -> None:
    assert FieldFile.model_validate(SMALL).speculation == {"none": ""}
