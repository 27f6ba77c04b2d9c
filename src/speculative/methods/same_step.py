"""Two steps that may say the same."""

from __future__ import annotations

from typing import Literal

from speculative.chain.chain import Chain
from speculative.chain.drafts import Draft
from speculative.methods.step_loop import is_bare

SameBy = Literal["exact", "big", "judge"]
"""By their text, or asked of big or of the judge."""

QUESTION = (
    "Two versions of the next step follow.\n\n[1]\n{first}\n\n[2]\n{second}\n\nDo they say the same, with the same numbers and the same "
    "conclusion? Reply with 1 if they do, and with 0 if they do not or you cannot tell."
)


async def is_same(chain: Chain, by: SameBy, first: Draft, second: Draft) -> bool:
    """Returns True if two drafts from one place say the same.

    White space and case do not matter. Steps with different ends are different, and no model is asked about one without letters and digits.
    """
    if _bare(first) == _bare(second):
        return True
    if by == "exact" or first.ended != second.ended or is_bare(first.text) or is_bare(second.text):
        return False
    question = QUESTION.format(first=first.text.strip(), second=second.text.strip())
    reply = await chain.ask(by, question, temperature=0, choices=("0", "1"))
    return reply.has_text and reply.probabilities["1"] > reply.probabilities["0"]


def _bare(draft: Draft) -> tuple[str, bool]:
    return "".join(draft.text.split()).lower(), draft.ended
