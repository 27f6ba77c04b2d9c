"""The drawing of a chain as a picture: an SVG that needs nothing from anywhere else."""

from __future__ import annotations

import io
import re

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.terminal_theme import TerminalTheme

from speculative.report.terminal import draw
from speculative.trace import Trace

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


def picture(trace: Trace, expected: str | None = None, width: int = WIDTH) -> str:
    """The SVG of what `draw` draws."""
    console = Console(record=True, file=io.StringIO(), width=width, force_terminal=True, color_system="truecolor", highlight=False)
    console.no_color = False  # whatever the environment says of the terminal
    draw(console, trace, expected)
    method = trace.started.method
    return console.export_svg(title=f"speculative ask --method {method}", theme=THEME, code_format=FORMAT, unique_id="speculative")
