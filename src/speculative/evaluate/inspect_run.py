"""Cells run by inspect-ai. Our run folder is the truth; inspect's own log of the last run lies in it, for `inspect view`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from pathlib import Path

from inspect_ai import Task as InspectTask
from inspect_ai import eval_async  # pyright: ignore[reportUnknownVariableType]  of a package that is not there
from inspect_ai.log import read_eval_log
from inspect_ai.model import GenerateConfig, Model
from inspect_ai.util._display import init_display_type

from speculative.errors import SpeculativeError
from speculative.evaluate.cells import Cell, Desk
from speculative.evaluate.inspect_model import provider
from speculative.evaluate.inspect_tasks import inspected

LOGS = "inspect"
"""The folder of inspect-ai's logs within the run folder."""

# The extra `eval` names one version of inspect-ai: its display, and how it names what it registers, have no public door.

AT_ONCE = 2
"""Cells that are under way: while the last chains of one end, the next one begins."""


async def run(cells: Sequence[Cell], desk: Desk) -> None:
    """Runs what is left of the cells, one after the other, and rewrites inspect's logs. Raises the first error of a chain."""
    init_display_type("none")
    folder = desk.folder.path / LOGS
    before = _logs(folder)
    logs = await eval_async(
        [_task(cell, desk) for cell in cells],
        model=None,
        log_dir=str(folder),
        log_format="eval",
        log_realtime=False,
        log_level="error",
        max_tasks=AT_ONCE,
        max_samples=2 * desk.chains,
        max_connections=4 * desk.chains,
        ctl_server=False,
        acp_server=False,
        fail_on_error=True,
        score_display=False,
        log_header_only=True,
    )
    if desk.failed:
        raise desk.failed
    if any(log.status == "cancelled" for log in logs):
        raise asyncio.CancelledError  # which inspect-ai keeps to itself
    for log in logs:
        if log.status == "error" and log.error:
            raise SpeculativeError(f"inspect-ai could not run {log.eval.task}: {log.error.message}; its log is in {folder}")
    _superseded(before, {cell.name for cell in cells})


def _task(cell: Cell, desk: Desk) -> InspectTask:
    label = cell.contender.label
    model = Model(provider(label, cell=cell, desk=desk), GenerateConfig(), {})
    metadata = {"cell": cell.name, "settings": cell.settings}
    return inspected(
        cell.task,
        cell.stated,
        seed=cell.problem.seed,
        epochs=cell.epochs,
        model=model,
        name=f"speculative/{cell.task.name}",
        metadata=metadata,
    )


def _logs(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.eval")) if folder.is_dir() else []


def _superseded(logs: Sequence[Path], cells: set[str]) -> None:
    """Takes away the logs of cells that were run to their end since, and those that a kill cut off: the samples are elsewhere."""
    for path in logs:
        try:
            metadata = read_eval_log(str(path), header_only=True).eval.metadata or {}
        except Exception as error:  # noqa: BLE001  whatever a cut-off file makes its reader raise
            logging.getLogger(__name__).debug("%s: %s", path, error)
            metadata = {"cell": None}
        if metadata.get("cell") in {None, *cells}:
            path.unlink(missing_ok=True)
