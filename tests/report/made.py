"""Run folders for tests: chains of scripted models, and chains with a given text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from msgspec import structs

from speculative import Pair, Problem, solve
from speculative.engines.base import Completion
from speculative.runs.folder import RunFolder
from speculative.runs.sample import Sample
from speculative.testing import ScriptedEngine
from speculative.trace.events import Answered, AnyEvent, Call, Drafted, Ended, EngineCard, Proposal, Rejected, Started, Wrote
from speculative.trace.trace import Trace
from speculative.trace.usage import Usage

SCRIPT = "First this.\n\nThen that.\n\nAt last so.</think>\n\nThe answer is \\boxed{7}."
METHODS = ("big_only", "small_only", "random_switch(0.2)", "random_switch(0.7)", "spec_rewrite", "logprob_subselect")


def sample(label: str = "big_only", problem: str = "p1", epoch: int = 0, **more: Any) -> Sample:
    """A right one, unless told."""
    fields: dict[str, Any] = {
        "task": "stories",
        "label": label,
        "method": label.partition("(")[0],
        "params": {},
        "settings": {"max_tokens": 100},
        "problem": problem,
        "level": "1",
        "epoch": epoch,
        "seed": 7,
        "gold": "7",
        "answer": "The answer is \\boxed{7}.",
        "found": "7",
        "vote": "7",
        "correct": True,
        "why": "equal to the gold answer",
        "finish_reason": "stop",
        "seconds": 0.5,
        "usage": {"big": Usage(requests=1, produced_tokens=9, kept_tokens=9)},
    }
    return Sample(**fields | more)


def real_run(folder: Path, labels: Sequence[str] = METHODS, problems: int = 4, epochs: int = 1, task: str = "stories") -> Path:
    """A run folder with a trace for every sample; every third chain is wrong."""
    pair = Pair(ScriptedEngine(SCRIPT, name="big"), ScriptedEngine(SCRIPT, name="small"))
    with RunFolder(folder) as kept:
        kept.note({"command": ["speculative", "compare"], "versions": {"speculative": "0"}})
        for place, label in enumerate(labels):
            name, _, share = label.partition("(")
            params = {"big_share": float(share.rstrip(")")), "unit": "step"} if share else {}
            for number in range(problems * epochs):
                result = solve(Problem.of(f"How many beads has Mia, who has {number % problems}?", seed=number), name, pair=pair, **params)
                right = (place + number) % 3 != 0
                one = sample(label, f"p{number % problems}", number // problems, task=task, level=str(number % 2 + 1))
                one = structs.replace(
                    one,
                    params=result.params,
                    usage=result.usage,
                    correct=right,
                    found="7" if right else "8",
                    why="" if right else "not equal",
                )
                kept.append(one, result.trace)
    return folder


def saying(*texts: str, asked: str = "What?", rejected: Sequence[str] = (), answer: str = "\\boxed{7}") -> Trace:
    """A trace in which big and small say these texts in turn, between drafts that are rejected."""
    cards = {role: EngineCard(role, "plain", "0", 1000) for role in ("big", "small")}
    happened: list[AnyEvent] = [Started(problem=Problem.of(asked), method="random_switch", params={}, engines=cards, library="test")]
    number = 0
    for place, text in enumerate(texts):
        role = ("big", "small")[place % 2]
        happened.append(Wrote(call=_call(role), seed=0, proposal=_proposal(number := number + 1, text)))
        for draft in rejected:
            happened.append(Drafted(call=_call("small"), seed=0, proposals=(_proposal(number := number + 1, draft),)))
            happened.append(Rejected(drafts=(number,), reason=f"because {draft}"))
    happened.append(Answered(call=_call("big"), seed=0, cue="", proposal=_proposal(number + 1, answer, "answer")))
    return Trace([*happened, Ended(finish_reason="stop", seconds=1.0)])


def _call(role: str) -> Call:
    return Call(role, 1, 10, 0, 3, 0, 0.1)


def _proposal(number: int, text: str, phase: Any = "thinking") -> Proposal:
    return Proposal(number, None, text, Completion((1, 2, 3), "length"), 0, phase)
