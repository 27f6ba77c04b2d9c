"""Logs of a training: a line of JSON a step that is told of."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from speculative.files import write_file


def tell(log: Path, step: int, **figures: float) -> None:
    """Add a line, on the screen too. What was told of this step or of later ones is taken back: the training goes on from before it."""
    line = json.dumps({"step": step, **figures})
    before = log.read_text().splitlines() if log.exists() else []
    kept = [old for old in before if json.loads(old)["step"] < step]
    write_file(log, "".join(f"{each}\n" for each in (*kept, line)).encode())
    print(f"{log.stem} {line}", file=sys.stderr, flush=True)
