"""Requests of lm-eval, with the attributes that are read here."""

from dataclasses import dataclass, field
from typing import Any

OURS = {"id": "aime24-1", "problem": "Find n.", "answer": "33", "level": "", "task": "aime24", "kind": "integer"}


@dataclass
class Instance:
    """A prompt, what the task says of its generation, and the document that it was made of."""

    prompt: Any
    kwargs: dict = field(default_factory=lambda: {"until": []})
    doc: Any = None
    doc_id: int = 0
    task_name: str = "theirs"

    @property
    def args(self):
        return (self.prompt, self.kwargs)


def ours(prompt="Find n.", origin="aime24", doc_id=4, **kwargs):
    """A request of one of our own tasks."""
    return Instance(prompt, {"until": [], **kwargs}, {**OURS, "origin": origin, "doc_id": doc_id}, 0, "aime24_nofigures_agg64")
