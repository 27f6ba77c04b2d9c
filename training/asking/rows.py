"""Rows: what a small model learns from, one chain a line. It reads a span of weight 0, writes one above, and unlearns one below."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from speculative.files import write_file


class Span(NamedTuple):
    """A piece of a chain, and how much the model learns to write it."""

    text: str
    weight: float = 0.0


class Row(NamedTuple):
    """A problem with its instruction, and a chain. `end`: how much the model learns to close the thinking; None if it stays open."""

    problem: str
    spans: tuple[Span, ...]
    end: float | None = None


def save(path: Path, rows: Iterable[Row]) -> None:
    """Write rows as JSON Lines."""
    write_file(path, "".join(json.dumps(row._asdict()) + "\n" for row in rows).encode())


def load(paths: Iterable[Path]) -> list[Row]:
    """Read rows. Raises `SystemExit` for a line that holds no row."""
    rows: list[Row] = []
    for path in paths:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            try:
                row = json.loads(line)
                rows.append(Row(row["problem"], tuple(Span(*span) for span in row["spans"]), row["end"]))
            except (ValueError, TypeError, KeyError) as error:
                raise SystemExit(
                    f"asking: {path} line {number} must be a row of `label` or `rollout`, got {line[:60]!r} ({error})"
                ) from None
    return rows
