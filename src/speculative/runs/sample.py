"""A sample: one chain of one method on one problem, and whether its answer is right."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from speculative.trace.usage import Usage

Key = tuple[str, str, str, int]


class Sample(Struct, frozen=True):
    """What tables, intervals and reports are computed from.

    `label` is the method as the user spelled it. `settings` are those that the chain depends on, beside method and problem: of the problem
    (`max_tokens`, `sampling`, …), and the engines (`big`, `small`). `problem` is an id that stays; `level` the task's own grouping.
    `answer` is the text after the thinking, `found` what the grader took for the answer in it, `vote` what a majority counts it
    by, `why` the grader's reason. `seconds` is wall time, in which `at_once` chains shared the engines, in the mean. `trace` is the trace's
    file within the run folder. `control_of`: the label of the method that this chain is a control of. `lent`: by role, the cached tokens
    that other chains had computed.
    `doc_id` is the number by which a harness knows the problem. `degraded`: the role whose server was lost on the way (`Problem.degrade`).
    `undecided`: the answer could not be compared within the grader's limits; `correct` is then false.
    """

    task: str
    label: str
    method: str
    params: dict[str, Any]
    settings: dict[str, Any]
    problem: str
    level: str
    epoch: int
    seed: int
    gold: str
    answer: str
    found: str | None
    vote: str | None
    correct: bool
    why: str
    finish_reason: str
    seconds: float
    usage: dict[str, Usage]
    trace: str | None = None
    at_once: float = 1
    lent: dict[str, int] = {}
    control_of: str | None = None
    doc_id: int | None = None
    degraded: str | None = None
    undecided: bool = False

    @property
    def key(self) -> Key:
        """A run folder may hold one sample of a key for each setting and seed."""
        return (self.task, self.label, self.problem, self.epoch)
