"""Samples as a flat table with a row each: every figure of the other tables can be computed from it alone.

The tokens of each role stand in columns of their own, as `big_kept_tokens`. `big_shared_cache_tokens` are the tokens of its prompts that
were found in the cache and that another chain had computed: costs count them as computed. `vote` is what a majority counts the answer by.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from csv import DictWriter
from importlib import import_module
from typing import Any

import msgspec

from speculative.errors import MissingExtraError
from speculative.runs.sample import Sample
from speculative.stats.summary import Folders
from speculative.trace.usage import Usage

PLAIN = (
    "task",
    "label",
    "method",
    "control_of",
    "problem",
    "level",
    "epoch",
    "seed",
    "gold",
    "found",
    "vote",
    "correct",
    "why",
    "finish_reason",
    "seconds",
    "mean_concurrency",
    "degraded",
    "folder",
)
NESTED = ("params", "settings")
"""The columns that hold JSON objects."""
_NUMBER = re.compile(r"[+-]?[\d.,]+")


def rows(samples: Sequence[Sample], folders: Folders | None = None) -> list[dict[str, Any]]:
    """Makes one row a sample, all with the same columns; those of a role are empty where it did not work.

    `folders`: the name of the run folder of each task and label.
    """
    roles = sorted({role for sample in samples for role in sample.usage})
    return [_row(sample, roles, folders or {}) for sample in samples]


def csv(samples: Sequence[Sample], folders: Folders | None = None) -> bytes:
    """Makes comma-separated values in UTF-8, with a header."""
    found = rows(samples, folders)
    text = io.StringIO(newline="")
    writer = DictWriter(text, list(found[0]))
    writer.writeheader()
    writer.writerows({name: _safe(value) for name, value in row.items()} for row in found)
    return text.getvalue().encode()


def parquet(samples: Sequence[Sample], folders: Folders | None = None) -> bytes:
    """Makes a Parquet file of the same rows."""
    data = io.BytesIO()
    _polars().DataFrame(rows(samples, folders), infer_schema_length=None).write_parquet(data)
    return data.getvalue()


def check() -> None:
    """Checks that Parquet can be written. Raises `UsageError`."""
    _polars()


def _row(sample: Sample, roles: Sequence[str], folders: Folders) -> dict[str, Any]:
    row: dict[str, Any] = {name: getattr(sample, name, None) for name in PLAIN}
    row["folder"] = folders.get((sample.task, sample.label), "")
    row |= {name: msgspec.json.encode(getattr(sample, name)).decode() for name in NESTED}
    for role in roles:
        cost = sample.usage.get(role)
        row |= {f"{role}_{name}": getattr(cost, name) if cost else None for name in Usage.__struct_fields__}
        row[f"{role}_shared_cache_tokens"] = sample.shared_cache_tokens.get(role, 0) if cost else None
    return row


def _safe(value: Any) -> Any:
    """Returns the value with a quote before text that a spreadsheet would take for a formula."""
    formula = isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) and not _NUMBER.fullmatch(value)
    return f"'{value}" if formula else value


def _polars() -> Any:
    try:
        return import_module("polars")
    except ImportError:
        raise MissingExtraError("Parquet", "polars", "tables") from None
