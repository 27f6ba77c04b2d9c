"""Writes the pages that are made from the code: `python -m speculative.cli.docs [FOLDER]`."""

from __future__ import annotations

import io
import os
import sys
from contextlib import redirect_stdout
from pathlib import Path
from unittest.mock import patch

import msgspec

from speculative.cli import run
from speculative.cli.commands import COMMANDS
from speculative.report import schema
from speculative.stats.summary import Standing

HEAD = """# The command line

This page is generated from `--help` by `python -m speculative.cli.docs`; a test holds them together.

A user's mistake is one line on standard error. Exit codes: 0 done, 1 something failed (an engine, a method, a disk, a damaged
file), 2 the command line was wrong, 130 Ctrl-C, 143 SIGTERM, 141 nobody read the output to its end. What was done before an
interruption or a failure is shown; a second Ctrl-C ends the command at once. Without a terminal no control codes are written, and
authors are told by labels instead of colours; `NO_COLOR` does that at a terminal too.

A problem that is not of the bundled problems' kind gets a warning on the bundled pair. Of their kind is a text that holds a
number, ends in a question `How many … ?`, and nine of ten of whose words occur in the bundled problems.
"""
COMPARISON = """
## Schema of `compare --json` and `eval --json`

A list with one object a method, in the order of `--methods` or of the grid, each followed by its controls; [statistics.md](statistics.md)
says what the numbers are. What `ask --json` prints is in [trace.md](trace.md).
"""
WIDTH = "100"

THEIRS = {"lm-eval": "All that follows is the lm-evaluation-harness's own: `speculative lm-eval run --help`. Ours is in docs/lm-eval.md."}
"""Commands whose help is not ours to print."""


def help_of(*command: str) -> str:
    """What `speculative COMMAND --help` prints, 100 columns wide and without colours."""
    output = io.StringIO()
    with patch.dict(os.environ, {"COLUMNS": WIDTH, "NO_COLOR": "1"}), redirect_stdout(output):
        run([*command, "--help"])
    return "\n".join(line.rstrip() for line in output.getvalue().rstrip().splitlines())


def command_page() -> str:
    """docs/cli.md."""
    parts = [("speculative", help_of())] + [(f"speculative {name}", THEIRS.get(name) or help_of(name)) for name in COMMANDS]
    samples = schema.pretty(msgspec.json.schema(list[Standing]))
    return HEAD + "".join(f"\n## `{title}`\n\n```text\n{text}\n```\n" for title, text in parts) + f"{COMPARISON}\n```json\n{samples}\n```\n"


PAGES = {"cli.md": command_page, "trace.md": schema.page}


def main(folder: str = "docs") -> None:
    """Writes all pages into the folder."""
    for name, page in PAGES.items():
        Path(folder, name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
