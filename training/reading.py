"""Reading: the answer and the steps of what a model wrote."""

from __future__ import annotations

import re

BOXED = re.compile(r"\\boxed\{(\d+)\}")


def boxed(text: str) -> int | None:
    """The answer given, if any."""
    found = BOXED.findall(text)
    return int(found[-1]) if found else None


def steps_of(text: str) -> list[str]:
    """The steps of a chain, each with its blank line."""
    return [f"{step}\n\n" for step in text.split("</think>")[0].split("\n\n") if step.strip()]
