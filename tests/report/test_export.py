"""Samples as a flat table."""

import csv
import io

import pytest
from made import sample

from speculative.report import export
from speculative.trace.usage import Usage


def read(samples):
    return list(csv.DictReader(io.StringIO(export.csv(samples).decode())))


def test_a_row_a_sample_with_the_tokens_of_every_role():
    samples = [sample(), sample("small_only", usage={"small": Usage(kept_tokens=4)}, correct=False)]
    one, other = read(samples)
    assert (one["label"], one["correct"], one["big_kept_tokens"], one["small_kept_tokens"]) == ("big_only", "True", "9", "0")
    assert (other["correct"], other["big_kept_tokens"], other["small_kept_tokens"]) == ("False", "0", "4")
    assert [row["control_of"] for row in read([sample(), sample("x", control_of="big_only")])] == ["", "big_only"]
    assert one["settings"] == '{"max_tokens":100}'


@pytest.mark.parametrize("text", ["=cmd|' /C calc'!A0", "@SUM(1)", "+x", "-x", "\t=1"])
def test_no_answer_becomes_a_formula(text):
    (row,) = read([sample(found=text)])
    assert row["found"] == f"'{text}"


@pytest.mark.parametrize("text", ["-5", "+1,000", "-0.5", 'a "quoted", line\nand another', "7"])
def test_numbers_and_text_stay_as_they_are(text):
    (row,) = read([sample(found=text)])
    assert row["found"] == text


def test_parquet_holds_the_same_rows():
    polars = pytest.importorskip("polars", reason="needs the extra tables")
    samples = [sample(), sample("small_only", usage={"small": Usage(seconds=0.5)}, found=None)]
    assert polars.read_parquet(io.BytesIO(export.parquet(samples))).to_dicts() == export.rows(samples)
