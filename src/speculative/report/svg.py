"""Draws a chain as an SVG picture without external files."""

from __future__ import annotations

import io
import re
from html import escape, unescape

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.cells import cell_len
from rich.console import Console
from rich.terminal_theme import TerminalTheme

from speculative.report.terminal import draw
from speculative.trace.trace import Trace

WIDTH = 96
"""Columns of the picture."""

THEME = TerminalTheme(
    (22, 24, 33),
    (220, 223, 230),
    [
        (22, 24, 33),
        (240, 113, 120),
        (140, 210, 120),
        (255, 200, 87),
        (110, 160, 250),
        (226, 140, 255),
        (92, 205, 235),
        (220, 223, 230),
    ],
)
FONT = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"
FORMAT = re.sub(r"@font-face \{\{.*?\}\}\n", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL).replace("Fira Code, monospace", FONT)

COLUMN = 12.2
"""Width of a column, as rich draws it."""
TEXT = re.compile(
    r'<text(?P<before> class="speculative-r\d+") x="(?P<x>[\d.]+)"(?P<y> y="[\d.]+") textLength="[\d.]+"'
    r"(?P<after>[^>]*)>(?P<text>[^<]*)</text>"
)
WORD = re.compile("─{1,8}|[╭╮╰╯│]|[^\\s╭╮╰╯│─]+(?:\xa0[^\\s╭╮╰╯│─]+)*")
"""Matches text without two spaces in a row. Box lines are short, so that they meet the corners in a narrower font."""


def picture(trace: Trace, expected: str | None = None, width: int = WIDTH) -> str:
    """Returns the SVG of the drawing of `terminal.draw`."""
    console = Console(record=True, file=io.StringIO(), width=width, force_terminal=True, color_system="truecolor", highlight=False)
    console.no_color = False  # independent of the environment
    draw(console, trace, expected)
    method = trace.started.method
    drawn = console.export_svg(title=f"speculative ask --method {method}", theme=THEME, code_format=FORMAT, unique_id="speculative")
    return TEXT.sub(_placed, drawn)


def _placed(found: re.Match[str]) -> str:
    """Splits a text into words at their own columns, for other fonts."""
    start, text = float(found["x"]), unescape(found["text"])
    words: list[str] = []
    for word in WORD.finditer(text):
        x, length = start + COLUMN * cell_len(text[: word.start()]), COLUMN * cell_len(word[0])
        escaped = escape(word[0]).replace("\xa0", "&#160;")
        words.append(f'<text{found["before"]} x="{x:.6g}"{found["y"]} textLength="{length:.6g}"{found["after"]}>{escaped}</text>')
    return "".join(words)
