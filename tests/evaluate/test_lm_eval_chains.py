"""Chains of lm-eval's requests on scripted engines: kept, not run again, in order."""

import asyncio
import json
from pathlib import Path

import pytest
from instances import Instance, ours

from speculative import EngineError, Pair, UsageError
from speculative.errors import EngineServerError
from speculative.evaluate.grading import sandbox
from speculative.evaluate.lm_eval.arguments import read
from speculative.evaluate.lm_eval.requests import UNGRADED, RequestRunner, plan_requests, tasks_of
from speculative.evaluate.lm_eval.tasks import process_results, rows
from speculative.evaluate.problems import problems
from speculative.runs.folder import Run
from speculative.testing import ScriptedEngine

RIGHT = "Let us see.\n\nSo it is.</think>\n\nThe answer is \\boxed{33}."
HOSTILE = [
    "",
    "no end of thinking",
    "</think>",
    "So.</think>\n\n\\boxed{" + "(" * 3000,
    "So.</think>\n\n\\boxed{10^{10^{10}}}",
    "So.</think>\n\n\\boxed{__import__('os').abort()}",
    "So.</think>\n\n" + "\\boxed{" * 2000,
    "So.</think>\n\n\\boxed{" + "9" * 20000 + "}",
    "So.</think>\n\n\x00\u202e\\boxed{\U0001f600}",
]


def reciting(text_of):
    """A script that has a text in mind for each problem `n of NUMBER`: first its thinking, then what follows."""

    def script(seen, seed):
        text = text_of(int(seen.partition("n of ")[2].partition(".")[0]))
        closed = "</think>" in seen.rpartition("<think>\n")[2]
        return text.partition("</think>")[2].lstrip() if closed else text

    return script


class Bench:
    """One process of lm-eval, as far as chains go."""

    def __init__(self, script=RIGHT, out=None, delay=0.0, **told):
        self.engines = [ScriptedEngine(script, width=2, delay=delay) for _ in range(2)]
        self.asked = read(told)
        self.runner = RequestRunner(self.asked, out)
        self.told = 0

    def tell(self):
        self.told += 1

    async def write(self, *requests):
        work, _ = plan_requests(requests, self.asked)
        async with Pair(*self.engines) as pair:
            try:
                return await self.runner.write(work, pair, self.tell, {"tasks": tasks_of(work)})
            finally:
                self.runner.close()

    @property
    def calls(self):
        return sum(len(engine.calls) for engine in self.engines)


def several(count, repeats=1):
    return [request for number in range(count) for request in [ours(f"Find n of {number}.", doc_id=number)] * repeats]


def numbered(count, repeats=1):
    """As `several`, each with its own id."""
    made = several(count, repeats)
    for request in made:
        request.doc["id"] = f"aime24-{request.doc['doc_id']}"
        request.doc["problem"] = request.prompt
    return made


async def test_answers_come_in_the_order_of_the_requests(tmp_path):
    script = reciting("So.</think>\n\nIt is of {}.".format)
    bench = Bench(script, tmp_path / "run", chains=5, method="big_only")
    found = await bench.write(*numbered(12, 2))
    assert [sample.answer for sample in found] == [f"It is of {number}." for number in range(12) for _ in range(2)]
    assert [(sample.doc_id, sample.epoch) for sample in found] == [(number, epoch) for number in range(12) for epoch in range(2)]
    assert bench.told == 24
    kept = Run(tmp_path / "run")
    assert {sample.key for sample in kept.samples} == {sample.key for sample in found}
    assert all(
        {role: cost for role, cost in kept.trace(sample).usage().items() if cost.requests} == sample.usage for sample in kept.samples
    )
    assert all(1 <= sample.mean_concurrency <= 5 for sample in kept.samples)


async def test_the_same_work_is_not_written_again(tmp_path):
    first = await Bench(out=tmp_path / "run", seed=3).write(*numbered(4, 2))
    again = Bench(out=tmp_path / "run", seed=3)
    assert await again.write(*numbered(4, 2)) == first
    (told,) = Run(tmp_path / "run").provenance
    assert told["tasks"]["aime24_nofigures_agg64"].items() >= {"problems": 4, "epochs": 2}.items()
    assert (again.calls, again.told) == (0, 8)
    assert again.runner.totals()["chains"] == 8
    more = Bench(out=tmp_path / "run", seed=3)
    assert (await more.write(*numbered(5, 3)))[:2] == first[:2]
    assert len(Run(tmp_path / "run").samples) == 15


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 4},
        {"switch_chunk": 8},
        {"temperature": 0.1},
        {"max_tokens": 4000},
        {"big": "http://elsewhere/v1"},
        {"big_dialect": "qwen3"},
    ],
)
async def test_another_work_is_written(tmp_path, other):
    await Bench(out=tmp_path / "run", seed=3).write(*numbered(2))
    bench = Bench(out=tmp_path / "run", **{"seed": 3, **other})
    await bench.write(*numbered(2))
    assert bench.calls
    assert len(Run(tmp_path / "run").samples) == 4


async def test_a_changed_gold_answer_is_graded_anew(tmp_path):
    await Bench(out=tmp_path / "run").write(*numbered(1))
    changed = numbered(1)
    changed[0].doc["answer"] = "34"
    (sample,) = await Bench(out=tmp_path / "run").write(*changed)
    assert not sample.correct


async def test_a_killed_run_goes_on(tmp_path):
    whole = await Bench(out=tmp_path / "whole").write(*numbered(10))
    killed, three = Bench(out=tmp_path / "run", delay=0.002, chains=2), asyncio.Event()
    killed.tell = lambda: three.set() if len(killed.runner._stores[True].samples) == 3 else None
    task = asyncio.create_task(killed.write(*numbered(10)))
    await three.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    done = len(Run(tmp_path / "run").samples)
    assert 3 <= done < 10
    found = await Bench(out=tmp_path / "run").write(*numbered(10))
    assert [sample.answer for sample in found] == [sample.answer for sample in whole]
    assert len(Run(tmp_path / "run").samples) == 10


async def test_an_engine_error_stops_the_run_and_keeps_finished_chains(tmp_path):
    def text_of(number):
        if number == 5:
            raise EngineServerError("the server broke")
        return RIGHT

    kept = r"the server broke; 5 of 8 chains are kept in .*run; the same command goes on"
    for out, said in ((tmp_path / "run", kept), (None, "5 of 8 chains are lost; keep them with --output_path")):
        with pytest.raises(EngineServerError, match=said) as raised:
            await Bench(reciting(text_of), out, chains=1).write(*numbered(8))
        assert isinstance(raised.value, EngineError)
        assert raised.value.trace
    assert len(Run(tmp_path / "run").samples) == 5
    assert len(await Bench(out=tmp_path / "run").write(*numbered(8))) == 8


async def test_tasks_that_lm_eval_grades_have_a_folder_of_their_own(tmp_path):
    found = await Bench(out=tmp_path / "run").write(*numbered(1), Instance("What is it?"))
    assert [sample.why for sample in found] == ["equal to the gold answer", "graded elsewhere"]
    assert [sample.task for sample in Run(tmp_path / "run").samples] == ["aime24_nofigures_agg64"]
    (theirs,) = Run(tmp_path / "run" / UNGRADED).samples
    assert (theirs.task, theirs.gold, theirs.found) == ("theirs", "", None)
    again = Bench(out=tmp_path / "run")
    assert await again.write(*numbered(1), Instance("What is it?")) == found
    assert not again.calls


async def test_stop_strings_end_the_answer_and_never_the_thinking():
    (sample,) = await Bench(method="big_only").write(Instance("x", {"until": ["is"]}))
    assert sample.answer == "The answer"


async def test_two_processes_do_not_write_to_one_folder(tmp_path):
    first = RequestRunner(read({}), tmp_path / "run")
    with pytest.raises(UsageError, match="being written by another process"):
        RequestRunner(read({}), tmp_path / "run")
    first.close()


async def test_hostile_answers_are_answers(tmp_path, monkeypatch):
    """Whatever a model writes is scored, and is wrong; only what follows the thinking comes back."""
    monkeypatch.setattr(sandbox, "SECONDS", 0.5)  # of processor time, for what would take all of it
    found = await Bench(reciting(HOSTILE.__getitem__), tmp_path / "run", method="big_only", max_tokens=30000).write(*numbered(len(HOSTILE)))
    answers = [sample.answer for sample in found]
    assert not any("thinking" in answer for answer in answers)
    assert not any(sample.correct for sample in found)
    doc = {"answer": "33", "kind": "math", "problem": "Find n."}
    assert process_results(doc, [answers[2:6]])["exact_match"] == 0
    assert process_results(doc, [["\\boxed{33}"]]) == {"exact_match": 1}


def test_coverage_and_majorities_over_repeats():
    doc = {"answer": "33", "kind": "integer", "problem": "Find n."}
    scores = process_results(
        doc, [["\\boxed{033}", "\\boxed{33}", "\\boxed{33.0}", "\\boxed{7}", "\\boxed{7}", "", "no box", "\\boxed{8}"]]
    )
    assert scores["exact_match"] == 3 / 8
    assert scores["cov@2"] == pytest.approx(1 - (5 * 4) / (8 * 7))
    assert scores["cov@8"] == 1
    assert scores["maj@8"] == 1
    assert set(scores) == {"exact_match", *(f"{kind}@{k}" for kind in ("cov", "maj") for k in (2, 4, 8))}
    assert process_results({**doc, "kind": "letter", "answer": "C"}, [["\\boxed{(c)}"]]) == {"exact_match": 1}


def written(folder: Path, name="aime24_nofigures", count=3):
    folder.mkdir(exist_ok=True)
    data = [{"problem": one.problem, "answer": one.answer} for one in problems()[:count]]
    (folder / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in data))
    return folder / f"{name}.jsonl"


def test_local_data(tmp_path, monkeypatch):
    file = written(tmp_path / "data")
    for data in (file, file.parent):
        found = rows("aime24_nofigures", str(data))
        assert [row["problem"] for row in found] == [one.problem for one in problems()[:3]]
        assert [(row["doc_id"], row["origin"]) for row in found] == [(number, "aime24_nofigures") for number in range(3)]
    monkeypatch.setenv("SPECULATIVE_DATA", str(file.parent))
    assert len(rows("aime24_nofigures")) == 3
    assert len(rows("stories")) == 500
    with pytest.raises(UsageError, match=r"must hold openai_math\.jsonl"):
        rows("openai_math")
    with pytest.raises(UsageError, match="No such file"):
        rows("openai_math", tmp_path / "none.jsonl")
