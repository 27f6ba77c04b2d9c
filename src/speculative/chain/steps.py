"""Steps: chain text up to and including a blank line. And how a chain that goes round in circles is noticed."""

from __future__ import annotations

STEP = "\n\n"

LOOP_PERIOD = 8
"""The longest block of steps whose repetition is looked for."""

LOOP_REPEATS = 3
"""So often in a row is a loop. Twice is what honest checking looks like."""


class Steps:
    """The completed steps of a chain, and the text of the one that is being written."""

    def __init__(self, text: str = "") -> None:
        self.done: list[str] = []
        self.partial = ""
        self.add(text)

    def add(self, text: str) -> int:
        """Takes in new text; says how many steps it completed."""
        if STEP not in (text if not self.partial else self.partial[-1] + text):
            self.partial += text
            return 0
        *done, self.partial = (self.partial + text).split(STEP)
        completed = [step + STEP for step in done if step.strip()]
        self.done += completed
        return len(completed)

    @property
    def mark(self) -> tuple[int, str]:
        """What `rewind` goes back to."""
        return len(self.done), self.partial

    def rewind(self, mark: tuple[int, str]) -> None:
        """Takes back what was added since the mark."""
        size, self.partial = mark
        del self.done[size:]

    @property
    def looping(self) -> bool:
        """Whether the last steps are the same block, `LOOP_REPEATS` times over."""
        for period in range(1, min(LOOP_PERIOD, len(self.done) // LOOP_REPEATS) + 1):
            block = self.done[-period:]
            if all(self.done[-period * (i + 1) : -period * i or None] == block for i in range(1, LOOP_REPEATS)):
                return True
        return False
