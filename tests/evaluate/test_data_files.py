"""Data files in every form that `--data` takes."""

import io
import json
import sys
from pathlib import Path

import pytest

from speculative.errors import UsageError
from speculative.evaluate.data_files import read_rows
from speculative.evaluate.tasks import load, load_all, task

ROWS = [{"problem": 'Say "n",\nplease.', "answer": "1"}, {"problem": "What is m?", "answer": "22"}]
CSV = 'problem,answer\r\n"Say ""n"",\nplease.",1\r\nWhat is m?,22\r\n'
GPQA = """Record ID,Question,Correct Answer,Incorrect Answer 1,Incorrect Answer 2,Incorrect Answer 3,High-level domain
old,"Which, of these?",A quark,A lepton,"A boson
of spin 1",A photon,Physics
"""


def values(path):
    return [row for _, row in read_rows(path)]


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("rows.jsonl", "\n".join(json.dumps(row) for row in ROWS).encode()),
        ("rows.json", json.dumps(ROWS, indent=2).encode()),
        ("rows.json", b"\xef\xbb\xbf  " + json.dumps(ROWS).encode()),
        ("rows.csv", CSV.encode()),
        ("rows.csv", CSV.encode("utf-16")),
        ("rows.tsv", CSV.replace(",1", "\t1").replace(",22", "\t22").replace("problem,", "problem\t").encode()),
    ],
)
def test_all_forms_hold_the_same_rows(tmp_path, name, data):
    path = tmp_path / name
    path.write_bytes(data)
    assert values(path) == ROWS
    assert [(one.problem, one.answer) for one in load(task("aime24"), path)] == [(row["problem"], row["answer"]) for row in ROWS]


DECIMALS = [("24.5", "24.5"), ("24.0", "24"), ("1e-07", "1e-07"), ("0.1", "0.1"), ("-3.25", "-3.25")]


@pytest.mark.parametrize("kind", [".jsonl", ".csv"])
def test_decimals_are_gold_answers_where_the_grading_takes_them(tmp_path, kind):
    path = tmp_path / f"rows{kind}"
    lines = [f'{{"problem": "n?", "answer": {written}}}' for written, _ in DECIMALS]
    path.write_text("\n".join(lines if kind == ".jsonl" else ["problem,answer", *(f"n?,{written}" for written, _ in DECIMALS)]))
    pytest.importorskip("math_verify")
    golds = [one.answer for one in load(task("math500"), path)]
    assert [float(gold) for gold in golds] == [float(wanted) for _, wanted in DECIMALS]
    assert kind == ".csv" or golds == [wanted for _, wanted in DECIMALS]
    loaded = load_all(task("gsm8k"), path)
    assert [one.problem.answer for one in loaded.unreadable] == ["24.5", "1e-07", "0.1", "-3.25"]


def test_decimals_of_parquet_are_what_was_written(tmp_path):
    pytest.importorskip("math_verify")
    polars = pytest.importorskip("polars")
    for type_ in (polars.Float32, polars.Float64, polars.Decimal(10, 2)):
        rows = polars.DataFrame({"problem": ["n?", "m?"], "answer": [24.1, 24.5]}).with_columns(polars.col("answer").cast(type_))
        rows.write_parquet(tmp_path / "rows.parquet")
        assert [float(one.answer) for one in load(task("math500"), tmp_path / "rows.parquet")] == [24.1, 24.5]


def test_parquet_holds_the_same_rows(tmp_path):
    polars = pytest.importorskip("polars", reason="needs the extra tables")
    path = tmp_path / "rows.parquet"
    polars.DataFrame(ROWS).write_parquet(path)
    assert values(path) == ROWS
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(UsageError, match=r"rows\.parquet is damaged Parquet"):
        values(path)


def test_standard_input_is_a_data_file(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(json.dumps(ROWS).encode())))
    assert [place for place, _ in read_rows(Path("-"))] == ["data from standard input, row 1", "data from standard input, row 2"]


@pytest.mark.parametrize("delimiter", [",", "\t"])
def test_standard_input_may_be_a_table(monkeypatch, delimiter):
    text = f"problem{delimiter}answer\n1 + 1?{delimiter}2\n"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
    assert [row for _, row in read_rows(Path("-"))] == [{"problem": "1 + 1?", "answer": "2"}]


def test_the_published_file_of_gpqa_is_read(tmp_path):
    path = tmp_path / "gpqa_diamond.csv"
    path.write_text(GPQA)
    (problem,) = load(task("gpqa_diamond"), path)
    assert problem.problem.startswith("Which, of these?")
    assert f"({problem.answer}) A quark" in problem.problem
    assert problem.level == "Physics"


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("rows.csv", "problem,answer\nn?,1,2\n", "line 2: a row must have at most 2 cells, as the header has"),
        ("rows.csv", 'problem,answer\n"n?,1\n', "must be CSV"),
        ("rows.csv", "problem,problem\nn?,1\n", "the column 'problem' must be unique"),
        ("rows.csv", "problem,answer\nn?,\n", "row 1: its column 'answer' cannot be empty; write a text or a number"),
        ("rows.json", '[{"problem": "n?", "answer": 1}, 7]', "row 2 must be an object, got '7'"),
        ("rows.json", '[{"problem": "n?"', "begins with [ and must be a JSON list"),
        ("rows.jsonl", '{"problem": "n?", "answer": null}', "line 1: its column 'answer' cannot be empty; write a text or a number"),
    ],
)
def test_a_bad_file_is_an_error_with_its_name_and_the_row(tmp_path, name, text, message):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(UsageError) as raised:
        load(task("aime24"), path)
    assert str(raised.value).startswith(f"data {path}")
    assert message in str(raised.value)


def test_equal_options_are_an_error_that_names_their_columns(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(
        json.dumps({"Question": "Which?", "Correct Answer": "A  quark", "Incorrect Answer 1": "x", "Incorrect Answer 2": " A quark"})
    )
    with pytest.raises(UsageError, match=r"line 1: the columns 'correct answer' and 'incorrect answer 2' are equal"):
        load(task("gpqa_diamond"), path)
