"""One of several drafts, chosen by the big model."""

from __future__ import annotations

import re
from statistics import fmean
from typing import Literal

from speculative.chain.chain import Chain
from speculative.chain.drafts import Draft
from speculative.methods.threshold import reaches
from speculative.trace.events import Scored
from speculative.trace.trace import Trace

ChooseBy = Literal["likelihood", "question"]
"""The drafts' mean log-probability, or the reply to a question that shows them."""

NEEDS: dict[ChooseBy, dict[str, set[str]]] = {"likelihood": {"big": {"score"}}, "question": {}}
"""The abilities that each way takes."""

REPLY_TOKENS = 16
"""Tokens of a reply that has to be read."""

MOST = 9
"""The most drafts that a question can number with one digit."""


async def choose(chain: Chain, by: ChooseBy, drafts: list[Draft], threshold: float, what: str) -> Draft | None:
    """Returns the draft that big chooses; None if it finds none of them good.

    Args:
        chain: The chain that the drafts follow.
        by: How big is asked.
        drafts: Drafts with text.
        threshold: The log-probability for each token that the best draft needs.
        what: The word for a draft in the question.
    """
    if not drafts:
        return None
    if by == "likelihood":
        scores = await chain.score("big", drafts)
        values = [fmean(one) if one else float("-inf") for one in scores]
        best = max(range(len(drafts)), key=lambda place: values[place])
        return drafts[best] if reaches(values[best], threshold) else None
    number = await ask_number(chain, "big", [draft.text for draft in drafts], what, allow_none=True)
    return drafts[number - 1] if number else None


def best_scores(trace: Trace) -> list[float]:
    """Returns the mean log-probability of the likeliest draft of each choice."""
    return [max(map(fmean, event.logprobs)) for event in trace.walk() if isinstance(event, Scored) and all(event.logprobs)]


async def ask_number(chain: Chain, role: Literal["big", "small"], versions: list[str], what: str, *, allow_none: bool) -> int:
    """Asks a model for the number of the best version, counted from 1.

    Returns 0 if the model chooses none or does not reply. The reply is read where the engine cannot weigh choices.
    """
    listed = "\n\n".join(f"[{number}]\n{version.strip()}" for number, version in enumerate(versions, 1))
    none = ", or with 0 if all of them are wrong" if allow_none else ""
    question = f"{len(versions)} versions of {what} follow.\n\n{listed}\n\nWhich of them is right? Reply with its number alone{none}."
    choices = [str(number) for number in range(0 if allow_none else 1, len(versions) + 1)]
    if "choices" not in chain.abilities(role):
        read = re.search(r"\d+", (await chain.ask(role, question, temperature=0, max_tokens=REPLY_TOKENS)).text)
        return int(read[0]) if read and read[0] in choices else 0
    reply = await chain.ask(role, question, temperature=0, choices=choices)
    probabilities = reply.probabilities
    return int(max(probabilities, key=lambda choice: probabilities[choice])) if probabilities else 0
