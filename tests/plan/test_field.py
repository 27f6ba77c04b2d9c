"""The file of a field, its forecast and its command."""

from __future__ import annotations

from math import log
from pathlib import Path

import pytest
import yaml

from speculative.cli import run as command
from speculative.cli.field import field as field_command
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

TUNED = {"methods": ["likelihood_verify"], "task": "gsm8k", "problems": 10}

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
            assert len(read.specs()) == len(field.method_calls())
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
    assert [name for name, _ in field.method_calls()] == ["big_only", "random_switch", "random_switch"]
    profile = load_profile("h200-32b-1.5b")
    (cost,) = field.forecast(profile)
    (double,) = read_field(written(tmp_path, epochs=6)).forecast(profile)
    assert (cost.chains, double.chains) == (90, 180)
    assert double.hours == pytest.approx(2 * cost.hours)


def test_the_forecast_heeds_parameters_that_drawn_chains_have(tmp_path: Path) -> None:
    def hours(*methods: object) -> float:
        (cost,) = read_field(written(tmp_path, methods=[*methods])).forecast(load_profile("h200-32b-1.5b"))
        return cost.hours

    def share(big_share: float) -> float:
        return hours({"method": "random_switch", "big_share": big_share})

    assert share(0.1) < share(0.8)
    assert hours({"method": "random_switch", "big_share": [0.1, 0.8]}) == pytest.approx(share(0.1) + share(0.8))
    assert hours({"method": "cascade", "samples": 1}) < hours({"method": "cascade", "samples": 32})
    assert hours("random_switch(big_share=0.8)") == pytest.approx(share(0.8))
    assert hours("vote(ballots=3)*random_switch(big_share=0.8)") == pytest.approx(share(0.8))
    ahead = hours({"method": "likelihood_verify", "pipeline": "accept"})
    assert ahead < hours({"method": "likelihood_verify"})


def test_wrappers_are_told_to_be_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for wrapped in ("vote(ballots=3)*big_only", {"method": "big_only", "with": "vote(ballots=3)"}):
        assert command(["field", str(written(tmp_path, methods=[wrapped])), "--dry-run"]) == 0
        assert "leaves wrappers out" in capsys.readouterr().err
    assert command(["field", str(written(tmp_path)), "--dry-run"]) == 0
    assert "wrappers" not in capsys.readouterr().err


def test_tuning_is_a_part_of_each_pair_and_of_the_forecast(tmp_path: Path) -> None:
    field = read_field(written(tmp_path, tuned={**TUNED, "candidates": 4}))
    tuned, cell = field.forecast(load_profile("h200-32b-1.5b"))
    assert tuned.name == "one/tuned, at most"
    assert tuned.chains == 5 * 5 + 2 * 5
    assert cell.chains == 10 * (3 + 1)
    assert tuned.hours > 0
    ((pair, method, flags),) = field.tunings()
    assert (pair, method) == ("one", "likelihood_verify")
    assert flags["big"] == "B/big"
    assert flags["task"] == "gsm8k"
    assert flags["max_tokens"] == 8192
    ((_, _, cut),) = field.tunings(cut=True)
    assert not {"task", "big", "small"} & set(cut)


def test_a_preset_that_is_there_already_is_one_row(tmp_path: Path) -> None:
    from speculative.cli.field import with_presets

    preset = tmp_path / "own.toml"
    preset.write_text('method = "likelihood_verify"\n[params]\nthreshold = -0.5\n')
    methods = ["big_only", {"method": "likelihood_verify", "threshold": [-0.5, -0.1]}]
    assert with_presets(methods, [f"@{preset}"]) == methods
    preset.write_text(preset.read_text().replace("-0.5", "-0.7"))
    assert with_presets(methods, [f"@{preset}"]) == [*methods, f"@{preset}"]


def test_data_lies_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"problem": "1+1?", "answer": "2"}\n')
    task = {"task": "gsm8k", "problems": 1, "data": "rows.jsonl"}
    field = read_field(written(tmp_path, tasks=[task], tuned={**TUNED, "task": "math500", "data": "rows.jsonl"}))
    ((_, made),) = field.cells()
    assert made["tasks"] == [{"task": "gsm8k", "data": str(tmp_path / "rows.jsonl")}]
    ((_, _, flags),) = field.tunings()
    assert flags["data"] == str(tmp_path / "rows.jsonl")


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
def test_a_cut_field_is_tuned_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = written(tmp_path, methods=["big_only"], tuned=TUNED), tmp_path / "out"
    assert command(["field", str(path), "--cut", "--out", str(out)]) == 0
    assert (out / "one" / "tuned" / "likelihood_verify" / "preset.toml").exists()
    grids = yaml.safe_load((out / "one" / "8192-none" / "grid.yaml").read_text())
    assert grids["methods"] == ["big_only", f"@{out}/one/tuned/likelihood_verify/preset.toml"]
    capsys.readouterr()
    assert command(["field", str(path), "--cut", "--out", str(out)]) == 0
    assert "tuning likelihood_verify" not in capsys.readouterr().err


@pytest.mark.parametrize(("code", "ran", "ends"), [(1, True, 0), (2, True, 0), (1, False, 1), (2, False, 2), (130, True, 130)])
def test_a_tuning_without_a_setting_is_a_note_and_one_that_could_not_run_an_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], code: int, ran: bool, ends: int
) -> None:
    asked: list[str] = []

    def run(words: list[str]) -> int:
        asked.append(words[0])
        if words[0] == "tune" and ran:
            (Path(words[words.index("--out") + 1]) / "samples.jsonl").write_text("{}\n")
        return code if words[0] == "tune" else 0

    path, out = written(tmp_path, tuned=TUNED), tmp_path / "out"
    monkeypatch.setattr("speculative.cli.run", run)
    assert field_command(path, out=out) == ends
    assert asked == (["tune"] if ends else ["tune", "eval"])
    assert ("likelihood_verify has no tuned setting" in capsys.readouterr().err) is (not ends)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_whole_example_runs_cut_small(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["field", str(EXAMPLE), "--cut", "--out", str(tmp_path / "out")]) == 0
    assert len(list((tmp_path / "out").glob("*/*/run/samples.jsonl"))) == 12
    assert len(list((tmp_path / "out").glob("*/tuned/*/samples.jsonl"))) == 3 * 7


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"pairs": []}, "pairs"),
        ({"pairs": [{"name": "../up", "big": "b", "small": "s"}]}, "pairs.0.name"),
        ({"pairs": [{"name": "..", "big": "b", "small": "s"}]}, "pairs.0.name"),
        ({"pairs": [{"name": "one", "big": "b", "small": "s"}] * 2}, "pairs must be unique, got one twice"),
        ({"pairs": [{"name": "one", "big": "", "small": "s"}]}, "pairs.0.big"),
        ({"chains": {8192: 10**9}}, "chains.8192 must be at most 4096, got 1000000000"),
        ({"limits": [0], "tokens": {0: 1}, "chains": {0: 1}}, "limits.0 must be at least 1, got 0"),
        ({"temperature": -1}, "temperature must be at least 0, got -1"),
        ({"top_p": 7}, "top_p must be at most 1, got 7"),
        ({"speculation": {"none": "--x '"}}, "speculation.none must be flags"),
        ({"tasks": [{"task": "gsm8k", "problems": 1, "data": "no.jsonl"}]}, "tasks.0.data must be a file"),
        ({"tuned": {**TUNED, "data": "no.jsonl"}}, "tuned.data must be a file"),
        ({"limits": [8192, 8192]}, "limits must be unique, got 8192 twice"),
        ({"speculation": {}}, "speculation"),
        ({"speculation": {"a/b": ""}}, "speculation"),
        ({"tuned": {**TUNED, "task": "stories"}}, "tuned.task must be none of the table's tasks, got 'stories'"),
        ({"tuned": {**TUNED, "methods": ["stitch", "stitch(tau_up=1)"]}}, "tuned.methods must be unique, got stitch twice"),
        ({"tuned": {**TUNED, "problems": 1}}, "tuned.problems"),
        ({"chains": {1: 1}}, "chains must have a number above 0 for the limit 8192"),
        ({"tokens": {}}, "tokens must have a number above 0 for the limit 8192"),
        ({"chains": {8192: 0}}, "chains.8192 must be at least 1, got 0"),
        ({"layout": "z"}, "layout must be one of"),
        ({"unknown": 1}, "unknown"),
        ({"epochs": 0}, "epochs"),
    ],
)
def test_bad_files_are_refused(tmp_path: Path, change: dict[str, object], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        read_field(written(tmp_path, **change))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"tasks": [{"task": "storys", "problems": 10}]}, "unknown task 'storys'; did you mean 'stories'?"),
        ({"methods": ["big_onyl"]}, "unknown method 'big_onyl'; did you mean 'big_only'?"),
        ({"methods": [{"method": "random_switch", "big_shar": [0.1, 0.2]}]}, "big_shar"),
        ({"methods": [{"method": "random_switch", "big_share": [0.1, 7]}]}, "big_share"),
        ({"methods": [{"method": "cascade", "samples": 0}]}, "samples"),
        ({"methods": [{"method": "random_switch", "big_share": []}]}, "big_share of random_switch must have a value, got []"),
        ({"layout": "d"}, "random_switch must have a server for small, got layout d"),
        ({"methods": ["big_only", "@missing.toml"]}, "the preset missing.toml"),
        ({"methods": ["likelihood_verify(threshold=-0.5)", {"method": "likelihood_verify", "threshold": -0.5}]}, "methods must be unique"),
        ({"tuned": {**TUNED, "task": "gsm9k"}}, "unknown task 'gsm9k'"),
        ({"tuned": {**TUNED, "target": "soon"}}, "soon"),
        ({"tuned": {**TUNED, "methods": ["likelihood_verfy"]}}, "unknown method 'likelihood_verfy'"),
        ({"tuned": {**TUNED, "methods": ["cue_switch"]}}, "tuned.methods must have a parameter to choose, got cue_switch"),
    ],
)
def test_mistakes_are_found_before_a_cost_is_told(
    tmp_path: Path, change: dict[str, object], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(["field", str(written(tmp_path, **change)), "--dry-run"]) == 2
    shown = capsys.readouterr()
    assert not shown.out
    assert reason in shown.err
    assert "grid" not in shown.err


@pytest.mark.parametrize("text", ["", "[", "- 1", "tasks: 1"])
def test_other_texts_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(text)
    with pytest.raises(UsageError, match="the field"):
        read_field(path)


def test_a_field_is_one_object() -> None:
    assert FieldFile.model_validate(SMALL).speculation == {"none": ""}
