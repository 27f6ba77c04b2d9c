"""A chain drawn while it is written. When it is over the screen shows what `draw` shows of its trace."""

from __future__ import annotations

import time

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from speculative.report.lines import NOTE, clean, lay_out, style_of
from speculative.report.recorder import Recorder
from speculative.report.terminal import labels, print_footer, print_header, print_line
from speculative.trace.events import AnyEvent, Started, TextDelta

FRAME = 1 / 15
"""Seconds between two frames."""


class LivePainter(Recorder):
    """A listener that draws. Lines that are final scroll by; what may still change is repainted below them.

    `append_only`: whether the method takes nothing back. If it may, only the end of the chain is shown until it is over.
    """

    def __init__(self, console: Console, append_only: bool) -> None:
        super().__init__()
        self._console, self._append_only = console, append_only
        self._printed = 0
        self._painted = 0.0
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> LivePainter:
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def __call__(self, happened: AnyEvent | TextDelta) -> None:
        super().__call__(happened)
        if isinstance(happened, Started):
            print_header(self._console, happened)
            self._live.start()
        self._paint()

    def finish(self, expected: str | None = None) -> None:
        """Prints what is not printed yet, and the table."""
        self.sketch.close()
        self._live.stop()
        for line in lay_out(self.sketch.strokes, labels(self._console))[self._printed :]:
            print_line(self._console, line)
        print_footer(self._console, self.trace, expected)

    def _paint(self) -> None:
        """Repaints, but not more often than the eye can follow."""
        now = time.perf_counter()
        if not self._live.is_started or now - self._painted < FRAME:
            return
        self._painted = now
        lines = lay_out([*self.sketch.strokes, *self.sketch.committed()], labels(self._console))
        final = len(lines) - 1 if self._append_only else 0
        for line in lines[self._printed : final]:
            print_line(self._console, line)
        self._printed = max(self._printed, final)
        self._live.update(self._below(lines[self._printed :]), refresh=True)

    def _below(self, lines: list[Text]) -> RenderableType:
        """The part that may still change, cut to the screen: the end of the chain, and open drafts."""
        height = max(4, self._console.height - 3)
        open_drafts = [delta for place, delta in self.sketch.writing.items() if place[0] or not delta.committed]
        drafts = [self._proposed(delta) for delta in open_drafts[-height // 2 :]]
        wrapped = [part for line in lines[-height:] for part in line.wrap(self._console, self._console.width)]
        return Group(*wrapped[-(height - len(drafts)) :], *drafts)

    def _proposed(self, delta: TextDelta) -> Text:
        """One line that shows the end of a draft."""
        words = " ".join(clean(delta.text).split())
        width = self._console.width - 6
        return Text("… ", NOTE).append(words[-width:], style_of(delta.role))
