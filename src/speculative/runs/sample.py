"""A sample: one graded chain of one method on one problem."""

from __future__ import annotations

from typing import Any

from msgspec import Struct, field

from speculative.trace.usage import Usage

Key = tuple[str, str, str, int]


class Sample(Struct, frozen=True):
    """One graded chain; tables, intervals and reports are computed from samples.

    Attributes:
        task: the task's name.
        label: the method as the user wrote it.
        method: the method's name.
        params: the method's parameters.
        settings: the other settings that the chain depends on: those of the problem (`max_tokens`, `sampling`, …) and the
            engines (`big`, `small`).
        problem: a permanent id of the problem.
        level: the task's own grouping.
        epoch: the number of the try.
        seed: the seed of the chain.
        gold: the reference answer.
        answer: the text after the thinking.
        found: the answer that the grader found in it; None if it found no answer.
        vote: the form of the answer by which a majority counts it.
        correct: True if the answer is right.
        why: the grader's reason.
        finish_reason: the reason why the chain ended.
        seconds: wall time.
        usage: tokens and calls by role.
        trace: the trace's file within the run folder.
        mean_concurrency: the mean number of chains that shared the engines (`at_once` in the file).
        shared_cache_tokens: cached prompt tokens that other chains had computed, by role (`lent` in the file).
        control_of: the label of the method that this chain is a control of.
        doc_id: the number of the problem in a harness.
        undecided: True if the answer could not be compared within the grader's limits; `correct` is then false.
        degraded: the role whose server was lost (`Problem.degrade`).
        idle_roles: roles that the method uses and that did nothing in this chain but answer.
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
    mean_concurrency: float = field(default=1.0, name="at_once")
    shared_cache_tokens: dict[str, int] = field(default_factory=dict[str, int], name="lent")
    control_of: str | None = None
    doc_id: int | None = None
    degraded: str | None = None
    undecided: bool = False
    idle_roles: tuple[str, ...] = ()

    @property
    def key(self) -> Key:
        """The identity of the try, apart from settings and seed."""
        return (self.task, self.label, self.problem, self.epoch)
