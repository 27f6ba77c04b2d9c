"""Samples as a flat table."""

import csv
import io
import json

import msgspec
import pytest
from made import sample

from speculative import Pair, Problem
from speculative.evaluate.problems import problems, spread
from speculative.evaluate.runner import ControlSchedule, EvalCell, EvalRunner, MemoryStore
from speculative.evaluate.tasks import TASKS
from speculative.methods.spec import parse_methods
from speculative.report import export
from speculative.runs.sample import Sample
from speculative.stats.summary import summarize
from speculative.trace.usage import Usage


def read(samples):
    return list(csv.DictReader(io.StringIO(export.csv(samples).decode())))


def test_a_row_a_sample_with_the_tokens_of_every_role():
    samples = [sample(), sample("small_only", usage={"small": Usage(kept_tokens=4)}, correct=False)]
    one, other = read(samples)
    assert (one["label"], one["correct"], one["big_kept_tokens"], one["small_kept_tokens"]) == ("big_only", "True", "9", "")
    assert (other["correct"], other["big_kept_tokens"], other["small_kept_tokens"]) == ("False", "", "4")
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


def sample_of(row):
    """The sample of a row of the table, by its text alone: empty is nothing."""
    plain = {name: text for name, text in row.items() if name in Sample.__struct_fields__ and text != ""}
    roles = {name.removesuffix("_requests") for name in row if name.endswith("_requests") and row[name] != ""}
    found = {
        "level": "",
        "answer": "",
        "why": "",
        "found": None,
        "vote": None,
        **plain,
        **{name: json.loads(row[name]) for name in ("params", "settings", "idle_roles")},
        "correct": row["correct"] == "True",
        "usage": {role: {name: row[f"{role}_{name}"] for name in Usage.__struct_fields__} for role in roles},
        "lent": {role: row[f"{role}_shared_cache_tokens"] for role in roles},
    }
    return msgspec.convert(found, Sample, strict=False)


@pytest.mark.slow
async def test_every_figure_can_be_computed_from_the_table_alone():
    settings = {"big": "bundled:big", "small": "bundled:small"}
    methods = parse_methods("big_only,random_switch(unit=step,big_share=0.3),vote(ballots=2)*small_only")
    stated = spread(problems(), 2)
    cells = [EvalCell(TASKS["stories"], one, stated, Problem.of("x"), epochs=2, engines=settings) for one in methods]
    store = MemoryStore()
    schedule = ControlSchedule(cells, store.samples, None, "flops")
    async with Pair.open() as pair:
        runner = EvalRunner.on(pair, store, chains=1)
        while round_of := schedule.next():
            await runner.run_cells(round_of)
    folders = {(one.task, one.label): "run" for one in store.samples}
    again = [sample_of(row) for row in csv.DictReader(io.StringIO(export.csv(store.samples, folders).decode()))]
    rows = {(row["task"], row["label"]): row["folder"] for row in export.rows(store.samples, folders)}
    printed = summarize(store.samples, folders=folders)
    assert summarize(again, folders=rows) == printed
    assert all(row.costs.keys() == {"api", "gpu", "flops"} for row in printed)
    assert any(row.contrasts for row in printed)
    assert any(sum(one.shared_cache_tokens.values()) for one in again)


def test_a_table_without_the_shared_cache_would_give_other_costs():
    usage = {"big": Usage(requests=1, prompt_tokens=100, cached_tokens=90, produced_tokens=9, kept_tokens=9)}
    shared = sample(usage=usage, shared_cache_tokens={"big": 60}, settings={"big": "bundled:big"})
    (row,) = read([shared])
    assert row["big_shared_cache_tokens"] == "60"
    assert summarize([sample_of(row)]) == summarize([shared])
    assert summarize([msgspec.structs.replace(sample_of(row), shared_cache_tokens={})]) != summarize([shared])
