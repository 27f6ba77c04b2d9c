"""The fold over events: text, and who paid for what."""

from __future__ import annotations

from speculative import Usage
from speculative.engines.base import Completion
from speculative.trace.events import Accepted, Answered, AnyEvent, Asked, Became, Call, Child, Drafted, Inserted, Proposal, Rewound, Wrote
from speculative.trace.state import Ledger, Segment


def cost(role: str, produced: int, **more: float) -> Call:
    return Call(
        role,
        **{"requests": 1, "prompt_tokens": 5, "cached_tokens": 2, "produced_tokens": produced, "scored_tokens": 0, "seconds": 0.5} | more,
    )  # type: ignore[arg-type]


def made(number: int, text: str, *, dropped: int = 0, end: int | None = None, phase: str = "thinking") -> Proposal:
    ids = tuple(range(len(text) + dropped))
    return Proposal(number, None, text, Completion(ids, "end" if end else "length", end), dropped, phase)  # type: ignore[arg-type]


def wrote(role: str, text: str, **more: int) -> Wrote:
    proposal = made(0, text, **more)
    return Wrote(call=cost(role, proposal.completion.produced), seed=0, proposal=proposal)


def usage_of(*happened: AnyEvent) -> dict[str, tuple[int, int, int]]:
    usage = Ledger.of(happened).usage()
    return {role: (u.produced_tokens, u.kept_tokens, u.discarded_tokens) for role, u in usage.items()}


def test_written_text_is_kept_except_for_dropped_tokens() -> None:
    assert usage_of(wrote("big", "abc", dropped=2, end=9)) == {"big": (6, 4, 2)}


def test_rewound_reopened_and_unaccepted_text_is_discarded() -> None:
    drafted = Drafted(call=cost("small", 5), seed=0, proposals=(made(1, "de"), made(2, "fgh")))
    happened = [wrote("big", "abc", end=9), Inserted(text="Wait", phase="thinking"), drafted, Accepted(drafts=(2,))]
    assert usage_of(*happened) == {"big": (4, 3, 1), "small": (5, 3, 2)}
    assert usage_of(*happened, Rewound(pieces=1)) == {"big": (4, 3, 1), "small": (5, 0, 5)}


def test_a_side_question_is_discarded_and_a_cue_has_no_cost() -> None:
    asked = Asked(call=cost("small", 4), seed=0, question="free", after=None, replies=("x",), completions=())
    answered = Answered(call=cost("big", 2), seed=0, cue="So: ", proposal=made(1, "42", phase="answer"))
    ledger = Ledger.of([asked, wrote("big", "a"), answered])
    assert ledger.usage()["small"].discarded_tokens == 4
    assert (ledger.text("thinking"), ledger.text("answer"), ledger.kept) == ("a", "So: 42", 3)
    assert ledger.segments() == [
        Segment("big", "thinking", "a", 1),
        Segment("method", "answer", "So: ", 0),
        Segment("big", "answer", "42", 2),
    ]


def test_all_children_cost_and_one_gives_its_text() -> None:
    first, second = [wrote("big", "abc")], [wrote("small", "de"), wrote("small", "f")]
    happened = [wrote("big", "x"), Child(index=0, seed=1, events=first), Child(index=1, seed=2, events=second)]  # type: ignore[list-item]
    assert usage_of(*happened) == {"big": (4, 1, 3), "small": (3, 0, 3)}
    became = Ledger.of([*happened, Became(index=1)])
    assert (became.text("thinking"), became.kept) == ("def", 3)
    assert became.segments() == [Segment("small", "thinking", "def", 3)]
    assert usage_of(*happened, Became(index=1)) == {"big": (4, 0, 4), "small": (3, 3, 0)}


def test_usage_adds_up_every_column() -> None:
    ledger = Ledger.of([wrote("big", "ab"), wrote("big", "c")])
    assert ledger.usage() == {"big": Usage(2, 10, 4, 3, 3, 0, 0, 1.0)}
