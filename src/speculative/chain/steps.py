"""Splits chain text into steps, and detects loops.

A step is text up to and including a blank line. A loop is the same steps again and again.
"""

from __future__ import annotations

STEP = "\n\n"

LOOP_PERIOD = 8
"""The longest block of steps whose repetition is looked for."""

LOOP_REPEATS = 3
"""Repetitions in a row that are a loop. Twice is what honest checking looks like."""


class Steps:
    """The completed steps of a chain, and the text of the one that is being written."""

    def __init__(self, text: str = "") -> None:
        self.done: list[str] = []
        self.partial = ""
        self.add(text)

    def add(self, text: str) -> int:
        """Adds new text. Returns how many steps it completed."""
        if STEP not in (text if not self.partial else self.partial[-1] + text):
            self.partial += text
            return 0
        *done, self.partial = (self.partial + text).split(STEP)
        completed = [step + STEP for step in done if step.strip()]
        self.done += completed
        return len(completed)

    @property
    def checkpoint(self) -> tuple[int, str]:
        """The state that `rewind` goes back to."""
        return len(self.done), self.partial

    def rewind(self, checkpoint: tuple[int, str]) -> None:
        """Takes back the text that was added since the checkpoint."""
        size, self.partial = checkpoint
        del self.done[size:]

    @property
    def looping(self) -> bool:
        """True if the last steps are the same block, `LOOP_REPEATS` times over."""
        for period in range(1, min(LOOP_PERIOD, len(self.done) // LOOP_REPEATS) + 1):
            if self.done[-1 - period] != self.done[-1]:  # nearly always
                continue
            block = self.done[-period:]
            if all(self.done[-period * (i + 1) : -period * i] == block for i in range(1, LOOP_REPEATS)):
                return True
        return False
