"""`speculative export-inspect`: exports a run folder as log files of inspect-ai."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from speculative.errors import MissingExtraError, SpeculativeError
from speculative.runs.folder import Run


def export_inspect(
    folder: Annotated[Path, Parameter(help="a run folder of `compare`, `eval` or `lm-eval`")],
    /,
    *,
    out: Annotated[Path | None, Parameter(help="the folder for the logs [default: FOLDER/inspect]")] = None,
) -> int:
    """Write a run folder as inspect-ai log files, one for each task and method.

    `inspect view --log-dir FOLDER/inspect` shows them. A later export replaces them.
    """
    if find_spec("inspect_ai") is None:
        raise MissingExtraError("export-inspect", "inspect-ai", "inspect")
    run = Run(folder)
    from speculative.evaluate.inspect_export import export

    logs = out or folder / "inspect"
    try:
        paths = export(run, logs)
    except OSError as error:
        raise SpeculativeError(f"{logs} cannot be written: {error.strerror}; name another folder with --out") from None
    for path in paths:
        sys.stdout.write(f"{path}\n")
    sys.stderr.write(f"{len(paths)} logs; show them with: inspect view --log-dir {logs}\n")
    return 0
