"""A chain on the terminal: the problem, the text in the colours of its authors, and what it cost."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.text import Text

from speculative.answers import boxed, right
from speculative.report.lines import DISCARDED, NOTE, clean, lay_out, style_of
from speculative.report.tables import shares, usage_table
from speculative.report.timeline import Sketch
from speculative.trace.events import Started
from speculative.trace.trace import Trace

INTERRUPTED = "not finished: this is what was done so far"
FINISHES = {
    "stop": "the pair came to its end",
    "length": "the budget ran out",
    "loop": "the same steps came again and again",
    "context": "the model's context was full",
    "time": "the time was up",
}


def draw(console: Console, trace: Trace, expected: str | None = None, sketch: Sketch | None = None) -> None:
    """Draws a whole trace. `expected`: the right answer, where it is known. `sketch`: a listener's own, which may hold more
    than the trace does: the text of a call that was cut off."""
    print_header(console, trace.started)
    sketch = sketch or Sketch(trace)
    sketch.close()
    for line in lay_out(sketch.strokes, labels(console)):
        print_line(console, line)
    print_footer(console, trace, expected)


def print_header(console: Console, started: Started) -> None:
    """The problem, the method with its parameters, and who is who."""
    console.print(_header(started, labels(console)), soft_wrap=not console.is_terminal)


def print_footer(console: Console, trace: Trace, expected: str | None = None) -> None:
    """What the chain came to and what it cost."""
    console.print(_footer(trace, expected), soft_wrap=not console.is_terminal)


def labels(console: Console) -> bool:
    """Whether authors are told by labels: where there are no colours to tell them by."""
    return console.color_system is None or console.no_color


def print_line(console: Console, line: Text) -> None:
    """Prints one line of a chain; where nobody reads it on a screen it is not wrapped."""
    console.print(line, soft_wrap=not console.is_terminal)


def _header(started: Started, labelled: bool) -> RenderableType:
    problem = started.problem
    asked = Text(clean(problem.messages[-1].content))
    described = Text.assemble(
        (clean(started.method), "bold"),
        (f"  {_params(started.params)}  seed {problem.seed}", NOTE),
    )
    if labelled:
        return Group(asked, Text(""), described, Text(""))
    panel = Panel(asked, title="problem", title_align="left", box=box.ROUNDED, border_style="dim", padding=(0, 1))
    return Group(panel, described, _legend(started), Text(""))


def _footer(trace: Trace, expected: str | None) -> RenderableType:
    ended = trace.ended
    usage = trace.usage()
    finish = f"finish reason {ended.finish_reason}: {FINISHES[ended.finish_reason]}" if ended else INTERRUPTED
    lost = f" · {trace.degraded} was lost on the way" if trace.degraded else ""
    closing = Text(f"{shares(usage)} · {trace.seconds:.2f} s · {finish}{lost}")
    return Group(Text(""), *_verdict(trace, expected), usage_table(usage), closing)


def _verdict(trace: Trace, expected: str | None) -> list[Text]:
    """The answer in the box, and whether it is right, where that is known."""
    found = boxed(trace.ledger.text("answer"))
    if found is None and (expected is None or trace.ended is None):
        return []
    told = Text.assemble("answer ", (clean(found) if found is not None else "none in a box", "bold"))
    if expected is not None:
        holds = right(found, expected)
        told.append("  ✓ right" if holds else f"  ✗ the right answer is {expected}", "green" if holds else "red")
    return [told]


def _legend(started: Started) -> Text:
    legend = Text()
    for author in (*started.engines, "method"):
        legend.append("■ ", style_of(author)).append(author, style_of(author)).append("  ")
    return legend.append("✗ ", "dim").append("discarded", DISCARDED)


def _params(params: dict[str, Any]) -> str:
    return " ".join(_param(name, value) for name, value in params.items() if value is not None)


def _param(name: str, value: Any) -> str:
    """`field=value`, and `wrapper(field=value …)`."""
    return f"{name}({_params(value)})" if isinstance(value, dict) else f"{name}={clean(str(value))}"  # pyright: ignore[reportUnknownArgumentType]
