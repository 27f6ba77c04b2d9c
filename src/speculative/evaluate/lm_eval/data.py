"""Where the problems of our task files come from: the public data set, or a local file."""

from __future__ import annotations

import os
from importlib import import_module
from pathlib import Path
from typing import Any

from msgspec import to_builtins

from speculative.errors import SpeculativeError, UsageError
from speculative.evaluate.tasks import Task, load, task

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
