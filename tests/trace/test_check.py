"""Damaged traces are refused with their line and the reason; `web/tests/check.test.ts` reads the same cases."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest

from speculative import Trace
from speculative.errors import TraceFormatError
from speculative.report.timeline import Timeline

DAMAGED: dict[str, Any] = json.loads(Path(__file__).with_name("damaged.json").read_text(encoding="utf-8"))
CASES: list[dict[str, Any]] = DAMAGED["cases"]


def saved(tmp_path: Path, events: list[Any]) -> Path:
    file = tmp_path / "chain.jsonl"
    file.write_text("\n".join(map(json.dumps, [{"speculative_trace": 3}, *events])), encoding="utf-8")
    return file


def damaged(case: dict[str, Any]) -> list[Any]:
    """The events with the change of one case."""
    events = copy.deepcopy(DAMAGED["events"])
    if "insert" in case:
        events.insert(case["insert"], case["event"])
        return events
    *way, last = case["change"]
    place: Any = events
    for step in way:
        place = place[step]
    place[last] = case["to"]
    return events


def test_the_whole_trace_is_read(tmp_path: Path) -> None:
    trace = Trace.load(saved(tmp_path, DAMAGED["events"]))
    assert trace.usage()["small"].kept_tokens == 0
    assert Timeline(trace).spans


@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_a_damaged_trace_is_refused_with_its_line_and_the_reason(case: dict[str, Any], tmp_path: Path) -> None:
    event, reason = case["says"].removeprefix("event ").split("|")
    with pytest.raises(TraceFormatError) as raised:
        Trace.load(saved(tmp_path, damaged(case)))
    assert str(raised.value) == f"{tmp_path / 'chain.jsonl'}, line {int(event) + 1} is damaged: {reason}; the file was changed or cut"


@pytest.mark.parametrize("case", DAMAGED["misshapen"], ids=[case["name"] for case in DAMAGED["misshapen"]])
def test_a_field_of_another_type_is_refused_by_name(case: dict[str, Any], tmp_path: Path) -> None:
    event, field = case["says"].removeprefix("event ").split("|")
    with pytest.raises(TraceFormatError) as raised:
        Trace.load(saved(tmp_path, damaged(case)), warn=lambda told: pytest.fail(told))
    place = re.sub(r"\.(\d+)", r"[\1]", f"$.{field}")
    assert str(raised.value).startswith(f"{tmp_path / 'chain.jsonl'}, line {int(event) + 1} is damaged: ")
    assert str(raised.value).endswith(f" - at `{place}`; the file was changed")


@pytest.mark.parametrize("blank", ["", "  ", "\r"])
def test_blank_lines_are_left_out_and_counted(tmp_path: Path, blank: str) -> None:
    file = saved(tmp_path, DAMAGED["events"])
    header, first, *rest = file.read_text(encoding="utf-8").split("\n")
    file.write_text("\n".join([header, blank, first, blank, *rest, blank, ""]), encoding="utf-8", newline="")
    told = list[str]()
    assert len(Trace.load(file, warn=told.append).events) == len(DAMAGED["events"])
    assert not told
    with file.open("a", encoding="utf-8") as more:
        more.write('{"event": "noted"')
    with pytest.raises(TraceFormatError, match=f"line {len(rest) + 6} is damaged: .* may be cut off"):
        Trace.load(file)
