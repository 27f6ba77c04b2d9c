"""Draws the families of methods as an SVG picture."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from html import escape

from speculative.methods.families import ABOUT, FAMILIES, Family

COLUMNS, WIDTH, GAP, PAD, LINE = 2, 440, 16, 14, 18
"""The number of boxes in a row, and pixels: of a box, between boxes, inside of a box, and of a line of text."""
CHARACTERS = 58
"""Characters in a line of names."""
COLOURS = ("#8957e5", "#1f6feb", "#1a7f37", "#9a6700", "#bf3989", "#0a7ea4", "#57606a", "#cf222e", "#6639ba", "#953800")


def families_picture(methods: Mapping[Family, Sequence[str]]) -> str:
    """Returns the picture: a box for each family with its methods."""
    shown: list[Family] = [family for family in FAMILIES if methods.get(family)]
    lines: dict[Family, list[str]] = {family: textwrap.wrap(" · ".join(methods[family]), CHARACTERS) for family in shown}
    rows = [shown[place : place + COLUMNS] for place in range(0, len(shown), COLUMNS)]
    parts: list[str] = []
    top = GAP
    for number, row in enumerate(rows):
        height = 2 * PAD + LINE * (2 + max(len(lines[family]) for family in row))
        for column, family in enumerate(row):
            colour = COLOURS[(number * COLUMNS + column) % len(COLOURS)]
            parts.append(_box(family, lines[family], GAP + column * (WIDTH + GAP), top, height, colour))
        top += height + GAP
    width = GAP + COLUMNS * (WIDTH + GAP)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{top}" viewBox="0 0 {width} {top}" role="img"'
    style = "text{font:13px system-ui,sans-serif;fill:#24292f}.t{font-weight:600;font-size:15px}.m{font:12px ui-monospace,monospace}"
    return f'{head} aria-label="The families of methods"><style>{style}</style><rect width="100%" height="100%" fill="#ffffff"/>\n' + (
        "\n".join(parts) + "\n</svg>\n"
    )


def _box(family: Family, lines: Sequence[str], left: int, top: int, height: int, colour: str) -> str:
    texts = [("t", family), ("", ABOUT[family]), *(("m", line) for line in lines)]
    rows = [
        f'<text class="{kind}" x="{left + PAD}" y="{top + PAD + LINE * place + 12}">{escape(text)}</text>'
        for place, (kind, text) in enumerate(texts)
    ]
    frame = f'<rect x="{left}" y="{top}" width="{WIDTH}" height="{height}" rx="6" fill="#f6f8fa" stroke="#d0d7de"/>'
    return "\n".join([frame, f'<rect x="{left}" y="{top}" width="5" height="{height}" rx="2" fill="{colour}"/>', *rows])
