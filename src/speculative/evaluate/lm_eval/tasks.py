"""Loads and scores the problems of our task files."""

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
    """Returns the problems of a task for lm-eval's `custom_dataset`.

    `data` comes from `--model_args`.
    """
    return {"test": import_module("datasets").Dataset.from_list(rows(problems, data))}


def rows(problems: str, data: Any = None) -> list[dict[str, Any]]:
    """Returns the problems of a task, with its name (`origin`) and their places in it.

    Args:
        problems: the task's name.
        data: a file of problems, or a folder with one for each task (`aime24_nofigures.jsonl`); else `SPECULATIVE_DATA` of the
            environment.

    Raises:
        UsageError: A row is not a problem.
        SpeculativeError: The data cannot be loaded.
    """
    found, path = task(problems), str(data or os.environ.get(ENVIRONMENT, "")).replace("|", ",")
    try:
        loaded = load(found, _file(found, Path(path).expanduser()) if path else None)
    except SpeculativeError as error:
        error.args = (str(error).replace("--data FILE", "data=FILE").replace("--data", "data=FILE"),)
        raise
    return [{**to_builtins(one), "level": str(one.level), "origin": problems, "doc_id": place} for place, one in enumerate(loaded)]


def _file(found: Task, path: Path) -> Path | None:
    """Returns the task's data file; None for the bundled problems."""
    if not path.is_dir():
        return path
    file = path / f"{found.name}.jsonl"
    if file.is_file():
        return file
    if found.dataset is None:
        return None
    raise UsageError(f"data {path} must hold {file.name}; put the problems of {found.name} there, or name a file")


def process_results(doc: Mapping[str, Any], results: Sequence[Sequence[str] | str]) -> dict[str, float]:
    """Scores the repeats of one request for lm-eval's `process_results`.

    `exact_match` is the share of right answers. `cov@k` (pass@k) and `maj@k` are over all choices of k repeats, as in
    `speculative.stats.pass_at_k`.
    """
    answers = [results[0]] if isinstance(results[0], str) else list(results[0])
    kind = doc["kind"]
    verdicts = [grade(answer, doc["answer"], kind, question=doc["problem"]) for answer in answers]
    if any(verdict.undecided for verdict in verdicts):
        log.warning("an answer to %r is undecided and counts as not right; its comparison takes too long", doc["problem"][:80])
    right = [verdict.correct for verdict in verdicts]
    votes = [vote_key(verdict.answer, kind, doc["problem"]) for verdict in verdicts]
    ks = available_ks([len(right)])
    covered, elected = pass_at([right]), majority(list(zip(votes, right, strict=True)), ks)
    return {
        "exact_match": sum(right) / len(right),
        **{f"cov@{k}": covered[k].value for k in ks},
        **{f"maj@{k}": chance for k, chance in zip(ks, elected, strict=True)},
    }
