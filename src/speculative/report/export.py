"""Exports samples as a flat table with one row each.

All figures of the other tables follow from it.

The tokens of each role have their own columns, such as `big_kept_tokens`. `big_shared_cache_tokens` are cached prompt tokens that
another chain computed; costs count them as computed. `vote` is the spelling by which a majority counts the answer.
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
from speculative.trace.usage import Usage, all_roles

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
    "length",
    "folder",
)
NESTED = ("params", "settings", "idle_roles")
"""The columns that hold JSON."""
_NUMBER = re.compile(r"[+-]?[\d.,]+")


def rows(samples: Sequence[Sample], folders: Folders | None = None) -> list[dict[str, Any]]:
    """Makes one row for each sample, all with the same columns.

    Those of a role without calls are empty.

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
    row["length"] = all_roles(sample.usage, "kept_tokens")
    row["folder"] = folders.get((sample.task, sample.label), "")
    row |= {name: msgspec.json.encode(getattr(sample, name)).decode() for name in NESTED}
    for role in roles:
        cost = sample.usage.get(role)
        row |= {f"{role}_{name}": getattr(cost, name) if cost else None for name in Usage.__struct_fields__}
        row[f"{role}_shared_cache_tokens"] = sample.shared_cache_tokens.get(role, 0) if cost else None
    return row


def _safe(value: Any) -> Any:
    """Returns the value, with a quote if a spreadsheet would read a formula."""
    formula = isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) and not _NUMBER.fullmatch(value)
    return f"'{value}" if formula else value


def _polars() -> Any:
    try:
        return import_module("polars")
    except ImportError:
        raise MissingExtraError("Parquet", "polars", "tables") from None
