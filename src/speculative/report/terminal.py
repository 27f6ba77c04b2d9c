"""Draws a chain on the terminal, at its end or live."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from itertools import groupby
from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.style import Style
from rich.text import Text

from speculative.answers import extract_boxed, is_correct
from speculative.report.tables import NOTE, shares, style_of, usage_table
from speculative.report.timeline import Span, Timeline, TraceRecorder
from speculative.trace.events import AnyEvent, Phase, Started, TextDelta
from speculative.trace.trace import Trace

INTERRUPTED = "not finished: this is the part so far"
FINISHES = {
    "stop": "the pair finished",
    "length": "the token budget is used up",
    "loop": "the same steps repeat",
    "context": "the model's context is full",
    "time": "the time limit is reached",
}
DISCARDED = Style(dim=True, strike=True, bold=False)

EXCERPT = 160
"""Characters of a discarded draft that are drawn."""

FRAME_S = 1 / 15
"""Seconds between two frames of a chain that is being written."""

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
_BREAKS = re.compile(r"\n+")


def draw(console: Console, trace: Trace, expected: str | None = None, timeline: Timeline | None = None) -> None:
    """Draws a whole trace.

    Args:
        console: where it is drawn.
        trace: the chain.
        expected: the right answer, where it is known.
        timeline: a listener's own, which also holds the text of calls that were cut off.
    """
    print_header(console, trace.started)
    timeline = timeline or Timeline(trace)
    timeline.close()
    for line in lay_out(timeline.spans, labels(console)):
        print_line(console, line)
    print_footer(console, trace, expected)


WAITING = Text("… waiting for the first text", NOTE)


class LivePainter(TraceRecorder):
    """A listener that draws a chain while it is written.

    Final lines scroll by, and the lines that may still change are repainted below them. `append_only`: True if the method takes
    nothing back. Otherwise only the end of the chain is shown until the chain is over.
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
            self._live.update(WAITING, refresh=True)
        self._paint()

    def finish(self, expected: str | None = None) -> None:
        """Prints the remaining lines and the table."""
        self.timeline.close()
        self._live.stop()
        for line in lay_out(self.timeline.spans, labels(self._console))[self._printed :]:
            print_line(self._console, line)
        print_footer(self._console, self.trace, expected)

    def _paint(self) -> None:
        """Repaints at most once a frame."""
        now = time.perf_counter()
        if not self._live.is_started or now - self._painted < FRAME_S:
            return
        self._painted = now
        lines = lay_out([*self.timeline.spans, *self.timeline.unfinished()], labels(self._console))
        final = len(lines) - 1 if self._append_only else 0
        for line in lines[self._printed : final]:
            print_line(self._console, line)
        self._printed = max(self._printed, final)
        self._live.update(self._below(lines[self._printed :]), refresh=True)

    def _below(self, lines: list[Text]) -> RenderableType:
        """Returns the lines that may still change, cut to the screen."""
        height = max(4, self._console.height - 3)
        open_drafts = [delta for place, delta in self.timeline.writing.items() if place[0] or not delta.committed]
        drafts = [self._draft_line(delta) for delta in open_drafts[-height // 2 :]]
        wrapped = [part for line in lines[-height:] for part in line.wrap(self._console, self._console.width)]
        if not wrapped and not drafts:
            return WAITING
        return Group(*wrapped[-(height - len(drafts)) :], *drafts)

    def _draft_line(self, delta: TextDelta) -> Text:
        """Returns one line with the end of a draft."""
        words = " ".join(clean(delta.text).split())
        width = self._console.width - 6
        return Text("… ", NOTE).append(words[-width:], style_of(delta.role))


class Lines:
    """Lays out spans as lines. `done` holds final lines, `open` the growing one."""

    def __init__(self, labels: bool = False) -> None:
        self.done: list[Text] = []
        self.open = Text()
        self._labels = labels
        self._author: str | None = None
        self._phase: Phase = "thinking"

    def add(self, span: Span, times: int = 1) -> None:
        """Adds a span; `times` counts equal drafts that were discarded at this place."""
        text = clean(span.text)
        if span.status == "kept":
            self._flow(span.author, text, span.phase)
        elif span.status == "note":
            self._block(Text(f"· {text}", NOTE))
        elif text.strip():
            self._discarded(span, text.strip(), times)

    def _flow(self, author: str, text: str, phase: Phase) -> None:
        if phase != self._phase:
            self._begin_phase(phase)
            text = text.lstrip("\n")
        for place, line in enumerate(text.split("\n")):
            if place:
                self.done.append(self.open)
                self.open = Text()
            if line:
                self._write(author, line)

    def _write(self, author: str, line: str) -> None:
        if self._labels and author != self._author:
            self.open.append(f"[{author}]")  # no blank: without labels a line is the chain's text
        self._author = author
        self.open.append(line, style_of(author))

    def _begin_phase(self, phase: Phase) -> None:
        self._phase = phase
        self._end_line()
        while self.done and not self.done[-1].plain:
            self.done.pop()
        self.done.append(Text(f"── {phase} ──", NOTE))

    def _discarded(self, span: Span, text: str, times: int) -> None:
        """Adds a discarded draft as one line: an excerpt, with a mark for each line end."""
        shown, cut = " ".join(_BREAKS.sub(" ↵ ", text[:EXCERPT]).split()), len(text) - EXCERPT
        line = Text(f"{'  ' * span.depth}✗ ", Style(dim=True))
        if self._labels:
            line.append(f"[{span.author}] ")
        line.append(shown, style_of(span.author) + DISCARDED)
        if cut > 0:
            line.append(f" … {cut} characters more", NOTE)
        if times > 1:
            line.append(f"  x {times}", NOTE)
        self._block(line)

    def _block(self, line: Text) -> None:
        """Adds a separate line; the chain's text continues below it."""
        self._end_line()
        self.done.append(line)

    def _end_line(self) -> None:
        if self.open.plain:
            self.done.append(self.open)
        self._author = None
        self.open = Text()


def lay_out(spans: Iterable[Span], labels: bool = False) -> list[Text]:
    """Returns the lines of the spans; equal discarded drafts share one."""
    lines = Lines(labels)
    for _, same in groupby(spans, key=lambda span: (span.status, span.author, span.text, span.phase, span.depth)):
        alike = list(same)
        for span in alike if alike[0].status == "kept" else alike[:1]:
            lines.add(span, len(alike))
    drawn = [*lines.done, lines.open]
    while drawn and not drawn[-1].plain:
        drawn.pop()
    return drawn


def clean(text: str) -> str:
    """Replaces control characters, so that a model's text cannot move the cursor."""
    return _CONTROL.sub("\ufffd", text.replace("\r\n", "\n"))


def print_header(console: Console, started: Started) -> None:
    """Prints the problem, the method with its parameters, and the legend."""
    console.print(_header(started, labels(console)), soft_wrap=not console.is_terminal)


def print_footer(console: Console, trace: Trace, expected: str | None = None) -> None:
    """Prints the answer, the usage and the finish reason."""
    console.print(_footer(trace, expected), soft_wrap=not console.is_terminal)


def labels(console: Console) -> bool:
    """Returns True where authors need labels because there are no colours."""
    return console.color_system is None or console.no_color


def print_line(console: Console, line: Text) -> None:
    """Prints one line of a chain; it is wrapped on a terminal only."""
    console.print(line, soft_wrap=not console.is_terminal)


def _header(started: Started, labelled: bool) -> RenderableType:
    problem = started.problem
    question = Text(clean(problem.messages[-1].content))
    described = Text.assemble(
        (clean(started.method), "bold"),
        (f"  {_params(started.params)}  seed {problem.seed}", NOTE),
    )
    if labelled:
        return Group(question, Text(""), described, Text(""))
    panel = Panel(question, title="problem", title_align="left", box=box.ROUNDED, border_style="dim", padding=(0, 1))
    return Group(panel, described, _legend(started), Text(""))


def _footer(trace: Trace, expected: str | None) -> RenderableType:
    ended = trace.ended
    usage = trace.usage()
    finish = f"finish reason {ended.finish_reason}: {FINISHES[ended.finish_reason]}" if ended else INTERRUPTED
    lost = f" · {trace.degraded} was lost on the way" if trace.degraded else ""
    closing = Text(f"{shares(usage)} · {trace.seconds:.2f} s · {finish}{lost}")
    return Group(Text(""), *_verdict(trace, expected), usage_table(usage), closing)


def _verdict(trace: Trace, expected: str | None) -> list[Text]:
    """Returns the answer in the box, and the verdict where the right answer is known."""
    found = extract_boxed(trace.ledger.text("answer"))
    if found is None and (expected is None or trace.ended is None):
        return []
    verdict = Text.assemble("answer ", (clean(found) if found is not None else "not found", "bold"))
    if expected is not None:
        holds = is_correct(found, expected)
        verdict.append("  ✓ right" if holds else f"  ✗ the right answer is {expected}", "green" if holds else "red")
    return [verdict]


def _legend(started: Started) -> Text:
    legend = Text()
    for author in (*started.engines, "method"):
        legend.append("■ ", style_of(author)).append(author, style_of(author)).append("  ")
    return legend.append("✗ ", "dim").append("discarded", DISCARDED)


def _params(params: dict[str, Any]) -> str:
    return " ".join(_param(name, value) for name, value in params.items() if value is not None)


def _param(name: str, value: Any) -> str:
    """Returns `field=value`, or `wrapper(field=value …)`."""
    return f"{name}({_params(value)})" if isinstance(value, dict) else f"{name}={clean(str(value))}"  # pyright: ignore[reportUnknownArgumentType]
