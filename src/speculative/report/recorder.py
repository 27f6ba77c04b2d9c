"""A listener that keeps what has happened so far: what there is to show when a chain is interrupted."""

from __future__ import annotations

from speculative.report.timeline import Sketch
from speculative.trace.events import AnyEvent, TextDelta
from speculative.trace.trace import Trace


class Recorder:
    """Keeps the events of one chain as a trace, and as a sketch in which a call that was cut off left its text."""

    def __init__(self) -> None:
        self.trace = Trace([])
        self.sketch = Sketch()

    def __call__(self, happened: AnyEvent | TextDelta) -> None:
        if isinstance(happened, TextDelta):
            self.sketch.hear(happened)
        else:
            self.trace.events.append(happened)
            self.sketch.apply(happened)
