"""`speculative report`, and `speculative show --web`."""

import json
import sys

import pytest
from samples import sample

from speculative.runs.folder import SAMPLES, RunFolder

pytestmark = pytest.mark.usefixtures("scripted")


@pytest.fixture
def folder(cli, tmp_path):
    """What a comparison leaves behind."""
    ran = cli("compare", "--methods", "big_only,random_switch", "--limit", 3, "--no-controls", "--out", tmp_path / "run")
    assert ran.code == 0
    return tmp_path / "run"


def test_the_default_page_is_in_the_run_folder(cli, folder, tmp_path):
    ran = cli("report", folder)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == f"{folder / 'report.html'} (methods: 2, chains: 6)\n"
    first = (folder / "report.html").read_bytes()
    assert cli("report", folder, "--out", tmp_path / "other.html").code == 0
    assert (tmp_path / "other.html").read_bytes() == first


def test_json_prints_the_standings(cli, folder):
    rows = json.loads(cli("report", folder, "--json").out)
    assert [(row["label"], row["chains"]) for row in rows] == [("big_only", 3), ("random_switch", 3)]
    assert rows[1]["contrasts"][0]["against"] == "big_only"


@pytest.mark.slow
def test_tables_and_figures_are_written_beside_it(cli, folder, tmp_path):
    ran = cli("report", folder, "--csv", tmp_path / "a.csv", "--parquet", tmp_path / "a.parquet", "--figures", tmp_path / "figures")
    assert ran.code == 0, ran.err
    assert (tmp_path / "a.csv").read_text().count("\n") == 7
    assert (tmp_path / "a.parquet").read_bytes().startswith(b"PAR1")
    names = {path.name for path in (tmp_path / "figures").iterdir()}
    assert {"tunnel-big-tokens.svg", "tunnel-big-tokens.png", "tunnel-seconds.svg", "tunnel-flops.png"} <= names


def test_a_price_file_is_used(cli, folder, tmp_path):
    prices = tmp_path / "prices.toml"
    each = "{ prompt = 1, cached = 0, produced = 2 }"
    prices.write_text(f'[api]\ncurrency = "EUR"\nprices.big = {each}\nprices.small = {each}\n')
    rows = json.loads(cli("report", folder, "--prices", prices, "--json").out)
    assert {row["costs"]["api"]["unit"] for row in rows} == {"EUR"}


@pytest.mark.parametrize("name", ["matplotlib", "polars"])
def test_a_missing_extra_is_an_error_before_the_report(cli, folder, tmp_path, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    flags = {"matplotlib": ["--figures", tmp_path / "figures"], "polars": ["--parquet", tmp_path / "a.parquet"]}[name]
    ran = cli("report", folder, *flags)
    assert ran.code == 2
    assert "pip install" in ran.one_line()
    assert not (folder / "report.html").exists()


def test_another_folder_is_an_error(cli, tmp_path):
    ran = cli("report", tmp_path)
    assert ran.code == 2
    assert "must be a run folder" in ran.one_line()
    ran = cli("report", tmp_path / "none")
    assert ran.code == 2
    assert "none must be a run folder" in ran.one_line()


def test_an_empty_folder_gives_a_warning_and_the_others_are_shown(cli, folder, tmp_path):
    RunFolder(tmp_path / "empty").close()
    ran = cli("report", tmp_path / "empty")
    assert ran.code == 2
    assert "no sample yet" in ran.one_line()
    ran = cli("report", folder, tmp_path / "empty")
    assert ran.code == 0
    assert "empty has no samples yet" in ran.one_line()


def test_damaged_samples_are_errors_and_damaged_traces_are_warnings(cli, folder):
    files = sorted((folder / "traces").iterdir())
    files[0].write_text("{}\n")
    ran = cli("report", folder)
    assert ran.code == 0
    assert "1 of 6 chains" in ran.one_line()
    assert files[0].name in ran.err
    with (folder / SAMPLES).open("ab") as file:
        file.write(b'{"task":7}\n')
    ran = cli("report", folder)
    assert ran.code == 2
    assert "line 7" in ran.one_line()


def test_a_page_that_cannot_be_written(cli, folder, tmp_path):
    ran = cli("report", folder, "--out", tmp_path / "none" / "report.html")
    assert ran.code == 1
    assert "none" in ran.one_line()


def test_show_writes_a_page_of_one_chain(cli, folder, tmp_path):
    file = next((folder / "traces").iterdir())
    ran = cli("show", file, "--web", "--out", tmp_path / "chain.html")
    assert (ran.code, ran.out) == (0, f"{tmp_path / 'chain.html'}\n")
    assert (tmp_path / "chain.html").read_text().startswith("<!doctype html>")
    assert cli("show", file, "--web").code == 0
    assert file.with_suffix(".html").exists()
    assert "--web" in cli("show", file, "--out", tmp_path / "x.html").one_line()


@pytest.mark.slow
def test_plot_draws_what_compare_printed_against_any_cost(cli, folder, tmp_path):
    results, picture = tmp_path / "all.json", tmp_path / "a.svg"
    results.write_text(cli("report", folder, "--json").out)
    for axis in ("share_kept", "seconds", "flops"):
        assert cli("plot", results, "--axis", axis, "--out", picture).code == 0
        assert "random_switch" in picture.read_text()


def test_plot_names_the_methods_that_it_leaves_out(cli, folder, tmp_path):
    results, picture = tmp_path / "all.json", tmp_path / "a.svg"
    rows = json.loads(cli("report", folder, "--json").out)
    results.write_text(json.dumps([{**row, "mean_concurrency": 64.0 if row["method"] == "random_switch" else 1.0} for row in rows]))
    assert "Left out: random_switch" in cli("plot", results, "--axis", "seconds", "--out", picture).one_line()
    picture.unlink()
    results.write_text(json.dumps([{**row, "costs": {}} for row in rows]))
    assert "no method has a value on the axis api" in cli("plot", results, "--axis", "api", "--out", picture).one_line()
    assert not picture.exists()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[]", "must be of one task, got none"),
        ('[{"label": "x"}]', "must be the output of `speculative compare --json`"),
        ("no", "must be the output"),
    ],
)
def test_plot_refuses_other_files(cli, tmp_path, text, told):
    results = tmp_path / "all.json"
    results.write_text(text)
    ran = cli("plot", results, "--out", tmp_path / "a.svg")
    assert ran.code == 2
    assert told in ran.one_line()


def test_chains_graded_by_a_harness_give_a_warning(cli, tmp_path):
    with RunFolder(tmp_path / "ungraded") as made:
        made.append(sample(gold="", correct=False, why="graded elsewhere"))
    assert "1 of 1 chains were graded by a harness" in cli("report", tmp_path / "ungraded").one_line()
