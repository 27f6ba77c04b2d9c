"""Strokes as lines of styled text: authors by colour, or by labels where there is no colour."""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import groupby

from rich.style import Style
from rich.text import Text

from speculative.report.timeline import Stroke
from speculative.trace.events import Phase

STYLES = {
    "big": Style(color="magenta", bold=True),
    "small": Style(color="cyan"),
    "method": Style(color="yellow", italic=True),
    "judge": Style(color="green"),
}
DISCARDED = Style(dim=True, strike=True, bold=False)
NOTE = Style(dim=True, italic=True)

EXCERPT = 160
"""Characters that are drawn of a discarded draft."""

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")

_BREAKS = re.compile(r"\n+")


def clean(text: str) -> str:
    """Text without the characters that steer a terminal: what a model writes must not move the cursor."""
    return _CONTROL.sub("\ufffd", text.replace("\r\n", "\n"))


def style_of(author: str) -> Style:
    """How an author's text looks."""
    return STYLES.get(author, STYLES["judge"])


class Lines:
    """Lays strokes out. `done` are lines that no later stroke changes, `open` is the one that grows."""

    def __init__(self, labels: bool = False) -> None:
        self.done: list[Text] = []
        self.open = Text()
        self._labels = labels
        self._author: str | None = None
        self._phase: Phase = "thinking"

    def add(self, stroke: Stroke, times: int = 1) -> None:
        """`times`: how often the same text was discarded at this place."""
        text = clean(stroke.text)
        if stroke.fate == "kept":
            self._flow(stroke.author, text, stroke.phase)
        elif stroke.fate == "note":
            self._block(Text(f"· {text}", NOTE))
        elif text.strip():
            self._discarded(stroke, text.strip(), times)

    def _flow(self, author: str, text: str, phase: Phase) -> None:
        if phase != self._phase:
            self._turn_to(phase)
            text = text.lstrip("\n")
        for place, line in enumerate(text.split("\n")):
            if place:
                self.done.append(self.open)
                self.open = Text()
            if line:
                self._write(author, line)

    def _write(self, author: str, line: str) -> None:
        if self._labels and author != self._author:
            self.open.append(f"[{author}]")  # no blank: without its labels a line is the chain's very text
        self._author = author
        self.open.append(line, style_of(author))

    def _turn_to(self, phase: Phase) -> None:
        self._phase = phase
        self._end_line()
        while self.done and not self.done[-1].plain:
            self.done.pop()
        self.done.append(Text(f"── {phase} ──", NOTE))

    def _discarded(self, stroke: Stroke, text: str, times: int) -> None:
        """On one line, its own lines parted by a mark, and only so much of it that one sees what it was."""
        shown, cut = " ".join(_BREAKS.sub(" ↵ ", text[:EXCERPT]).split()), len(text) - EXCERPT
        line = Text(f"{'  ' * stroke.depth}✗ ", Style(dim=True))
        if self._labels:
            line.append(f"[{stroke.author}] ")
        line.append(shown, style_of(stroke.author) + DISCARDED)
        if cut > 0:
            line.append(f" … {cut} characters more", NOTE)
        if times > 1:
            line.append(f"  x {times}", NOTE)
        self._block(line)

    def _block(self, line: Text) -> None:
        """A line of its own; the chain's text goes on below it."""
        self._end_line()
        self.done.append(line)

    def _end_line(self) -> None:
        if self.open.plain:
            self.done.append(self.open)
        self._author = None
        self.open = Text()


def lay_out(strokes: Iterable[Stroke], labels: bool = False) -> list[Text]:
    """All lines of the strokes so far; equal discarded ones that follow each other are one line."""
    lines = Lines(labels)
    for _, same in groupby(strokes, key=lambda stroke: (stroke.fate, stroke.author, stroke.text, stroke.phase, stroke.depth)):
        alike = list(same)
        for stroke in alike if alike[0].fate == "kept" else alike[:1]:
            lines.add(stroke, len(alike))
    drawn = [*lines.done, lines.open]
    while drawn and not drawn[-1].plain:
        drawn.pop()
    return drawn
