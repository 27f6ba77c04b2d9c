"""A sample to test with."""

from typing import Any

from speculative.runs.sample import Sample
from speculative.trace.usage import Usage


def sample(problem: str = "p1", label: str = "big_only", **changes: Any) -> Sample:
    """Right, by the big model alone, unless told."""
    known: dict[str, Any] = {
        "task": "stories",
        "label": label,
        "method": label,
        "params": {},
        "settings": {"max_tokens": 10},
        "problem": problem,
        "level": "3",
        "epoch": 0,
        "seed": 7,
        "gold": "1",
        "answer": "\\boxed{1}",
        "found": "1",
        "vote": "1",
        "correct": True,
        "why": "equal to the gold answer",
        "finish_reason": "stop",
        "seconds": 0.5,
        "usage": {"big": Usage(requests=1, produced_tokens=3, kept_tokens=3)},
    }
    return Sample(**(known | changes))
