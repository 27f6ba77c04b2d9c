"""Samples as a flat table: a row each, the tokens of each role in columns of their own."""

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
    "correct",
    "why",
    "finish_reason",
    "seconds",
    "at_once",
    "degraded",
)
NESTED = ("params", "settings")
"""These are objects; in a cell they are JSON."""
_NUMBER = re.compile(r"[+-]?[\d.,]+")


def rows(samples: Sequence[Sample]) -> list[dict[str, Any]]:
    """One row a sample, all with the same columns: `big_kept_tokens` and the like are 0 for a role that did nothing."""
    roles = sorted({role for sample in samples for role in sample.usage})
    return [_row(sample, roles) for sample in samples]


def csv(samples: Sequence[Sample]) -> bytes:
    """Comma-separated values in UTF-8, with a header."""
    found = rows(samples)
    text = io.StringIO(newline="")
    writer = DictWriter(text, list(found[0]))
    writer.writeheader()
    writer.writerows({name: _safe(value) for name, value in row.items()} for row in found)
    return text.getvalue().encode()


def parquet(samples: Sequence[Sample]) -> bytes:
    """The same rows as a Parquet file."""
    data = io.BytesIO()
    _polars().DataFrame(rows(samples), infer_schema_length=None).write_parquet(data)
    return data.getvalue()


def check() -> None:
    """Finds out whether Parquet can be written. Raises `UsageError`."""
    _polars()


def _row(sample: Sample, roles: Sequence[str]) -> dict[str, Any]:
    row = {name: getattr(sample, name) for name in PLAIN}
    row |= {name: msgspec.json.encode(getattr(sample, name)).decode() for name in NESTED}
    costs = {role: sample.usage.get(role, Usage()) for role in roles}
    return row | {f"{role}_{name}": getattr(cost, name) for role, cost in costs.items() for name in Usage.__struct_fields__}


def _safe(value: Any) -> Any:
    """A model's text must not become a formula of the spreadsheet that opens the table."""
    formula = isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) and not _NUMBER.fullmatch(value)
    return f"'{value}" if formula else value


def _polars() -> Any:
    try:
        return import_module("polars")
    except ImportError:
        raise MissingExtraError("Parquet", "polars", "tables") from None
