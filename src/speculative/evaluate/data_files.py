"""Reads the rows of a data file: JSON lines, a JSON list, CSV or Parquet."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from speculative.errors import UsageError
from speculative.files import STDIN, decode, read_bytes

Row = Mapping[str, Any]

KINDS = "JSON lines, a JSON list, CSV (its name ends in .csv or .tsv, or it is standard input) or Parquet"
HINT = f"name a file of {KINDS}"
NEEDED = "a row must be an object with `problem` and `answer`"
PARQUET = b"PAR1"
"""The first bytes of a Parquet file."""
DELIMITERS = {".csv": ",", ".tsv": "\t"}
LONGEST_FIELD = 1 << 24


def read_rows(path: Path) -> Iterator[tuple[str, Row]]:
    """Yields the rows, each with a description of its place.

    Raises `UsageError` that names the file and the row.
    """
    name = "data from standard input" if str(path) == "-" else f"data {path}"
    data = read_bytes(path, name, HINT)
    if data.startswith(PARQUET):
        yield from _numbered(_parquet(data, name), name)
        return
    text = decode(data, name)
    if delimiter := DELIMITERS.get(path.suffix.lower()) or (_delimiter(text) if str(path) == STDIN else None):
        yield from _numbered(_csv(text, delimiter, name), name)
    elif text.lstrip().startswith("["):
        yield from _numbered(_json_list(text, name), name)
    else:
        for number, line in enumerate(text.split("\n"), 1):  # a line may hold other line ends
            if line.strip():
                yield f"{name}, line {number}", _json_row(line, f"{name}, line {number}")


def _delimiter(text: str) -> str | None:
    """Returns the delimiter of a table, or None for JSON.

    JSON values begin with a bracket.
    """
    if not text.strip() or text.lstrip()[0] in "[{":
        return None
    header = text.lstrip().split("\n", 1)[0]
    return next((delimiter for delimiter in ("\t", ",") if delimiter in header), None)


def _numbered(rows: Sequence[Row], name: str) -> Iterator[tuple[str, Row]]:
    return ((f"{name}, row {number}", row) for number, row in enumerate(rows, 1))


def _json_list(text: str, name: str) -> list[Row]:
    try:
        rows: list[Any] = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{name} begins with [ and must be a JSON list: {error}; {HINT}") from None
    return [_object(row, f"{name}, row {number}") for number, row in enumerate(rows, 1)]


def _json_row(line: str, place: str) -> Row:
    try:
        return _object(json.loads(line), place, line)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{place} must be JSON: {_mistake(error)}; {NEEDED}, and a data file is {KINDS}") from None


def _mistake(error: Exception) -> str:
    """Describes a mistake in one line of JSON; the caller names the line."""
    return f"{error.msg} at column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)


def _object(row: Any, place: str, source: str = "") -> Row:
    if not isinstance(row, dict):
        raise UsageError(f"{place} must be an object, got {(source or json.dumps(row))[:60]!r}; {NEEDED}")
    return row  # pyright: ignore[reportUnknownVariableType]


def _csv(text: str, delimiter: str, name: str) -> list[Row]:
    """Reads CSV. An empty cell is null; a quoted cell may hold line ends."""
    before = csv.field_size_limit(LONGEST_FIELD)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: list[Row] = []
    try:
        columns = list(reader.fieldnames or [])
        if twice := next((column for column in columns if columns.count(column) > 1), None):
            raise UsageError(f"{name}: the column {twice!r} must be unique; rename one of the two")
        for row in reader:
            if None in row:
                raise UsageError(
                    f"{name}, line {reader.line_num}: a row must have at most {len(columns)} cells, as the header has; quote commas"
                )
            rows.append({column: cell or None for column, cell in row.items()})
    except csv.Error as error:
        raise UsageError(f"{name}, line {reader.line_num} must be CSV: {error}; a quote within a quoted cell is written twice") from None
    finally:
        csv.field_size_limit(before)
    return rows


def _parquet(data: bytes, name: str) -> list[Row]:
    try:
        polars: Any = import_module("polars")
    except ImportError:
        raise UsageError(
            f"{name} is Parquet, which needs polars; install it with: pip install 'speculative-reasoning[tables]', or give JSON lines"
        ) from None
    try:
        short = polars.selectors.by_dtype(polars.Float32).cast(polars.String).cast(polars.Float64)  # 24.1 and not 24.100000381
        return polars.read_parquet(io.BytesIO(data)).with_columns(short).to_dicts()
    except Exception as error:  # noqa: BLE001  the package has many kinds of errors
        raise UsageError(f"{name} is damaged Parquet: {str(error).splitlines()[0][:200]}; write it again") from None
