"""The functions that our task files name: their problems, and their scores."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from msgspec import to_builtins

from speculative.errors import SpeculativeError, UsageError
from speculative.evaluate.grading.grade import grade, vote_key
from speculative.evaluate.tasks import Task, load, task
from speculative.stats.pass_at_k import available_ks, majority, pass_at

log = logging.getLogger(__name__)

ENVIRONMENT = "SPECULATIVE_DATA"


def dataset(problems: str, data: Any = None, **_: Any) -> dict[str, Any]:
    """lm-eval's `custom_dataset`: the problems of a task as its split `test`. `data` is of `--model_args` or `--metadata`."""
    return {"test": import_module("datasets").Dataset.from_list(rows(problems, data))}


def rows(problems: str, data: Any = None) -> list[dict[str, Any]]:
    """The problems of a task, with its name (`origin`) and their places in it.

    `data`, else `SPECULATIVE_DATA` of the environment, is a JSON-lines file, or a folder with one for each task,
    `aime24_nofigures.jsonl`. Raises `UsageError` that names file and row, and `SpeculativeError` for data that cannot be had.
    """
    found, path = task(problems), str(data or os.environ.get(ENVIRONMENT, "")).replace("|", ",")
    try:
        stated = load(found, _file(found, Path(path).expanduser()) if path else None)
    except SpeculativeError as error:
        error.args = (str(error).replace("--data FILE", "data=FILE").replace("--data", "data=FILE"),)
        raise
    return [{**to_builtins(one), "level": str(one.level), "origin": problems, "doc_id": place} for place, one in enumerate(stated)]


def _file(found: Task, path: Path) -> Path | None:
    """The task's file in a folder, or the file itself. The problems that ship need none."""
    if not path.is_dir():
        return path
    file = path / f"{found.name}.jsonl"
    if file.is_file():
        return file
    if found.dataset is None:
        return None
    raise UsageError(f"data {path}: the folder has no {file.name}; put the problems of {found.name} there, or name a file")


def process_results(doc: Mapping[str, Any], results: Sequence[Sequence[str] | str]) -> dict[str, float]:
    """lm-eval's `process_results`: `exact_match`, the part of the repeats that is right, and `cov@k` and `maj@k` for k = 2, 4, 8 …

    Coverage is pass@k, over all choices of k repeats, as in `speculative.stats.pass_at_k`. `results` holds the repeats of the one request
    (`take_first_k`). The gold answer was looked at when the problems were loaded; no text of a model raises.
    """
    answers = [results[0]] if isinstance(results[0], str) else list(results[0])
    kind = doc["kind"]
    verdicts = [grade(answer, doc["answer"], kind, question=doc["problem"]) for answer in answers]
    if any(verdict.undecided for verdict in verdicts):
        log.warning("an answer to %r is undecided and counts as not right: comparing it took too much time or memory", doc["problem"][:80])
    right = [verdict.correct for verdict in verdicts]
    votes = [vote_key(verdict.answer, kind, doc["problem"]) for verdict in verdicts]
    ks = available_ks([len(right)])
    covered, elected = pass_at([right]), majority(list(zip(votes, right, strict=True)), ks)
    return {
        "exact_match": sum(right) / len(right),
        **{f"cov@{k}": covered[k].value for k in ks},
        **{f"maj@{k}": chance for k, chance in zip(ks, elected, strict=True)},
    }
