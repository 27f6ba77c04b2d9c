"""A model's judgement of a step, as probabilities of the scores 0 to 9."""

from __future__ import annotations

from math import exp
from typing import Literal

from speculative.chain.chain import Chain
from speculative.chain.drafts import Draft
from speculative.prompts import Question, parse_score

DIGITS = tuple("0123456789")

REPLY_TOKENS = 16
"""Tokens of a reply that has to be read: some models write more than a digit."""

REPLY, MEAN_REPLY = "reply from 0 to 9", "mean of the replies from 0 to 9"
"""The measures of a judgement by a reply."""

Scores = dict[int, float]
"""The probability of each score."""


async def judge_step(chain: Chain, role: Literal["big", "small"], step: Draft) -> Scores:
    """Asks a model how good a drafted step is. Empty if it gives no score.

    If a score is the first token of the model's reply, its probability comes from that token. Else the reply is read: the score gets its
    token's probability, and 9 minus the score the rest.
    """
    abilities = chain.abilities(role)
    if chain.dialect(role).judges_at_once and "choices" in abilities:
        reply = await chain.ask(role, Question("judge"), step, temperature=0, choices=DIGITS)
        return {int(digit): probability for digit, probability in reply.probabilities.items()}
    reply = await chain.ask(role, Question("judge"), step, temperature=0, max_tokens=REPLY_TOKENS, logprobs="logprobs" in abilities)
    score = parse_score(reply.text)
    if score is None:
        return {}
    sure = exp(reply.logprobs[-2]) if len(reply.logprobs) > 1 else 1.0  # the token before the one that ends the score
    return {9 - score: 1 - sure, score: sure}


def likeliest(scores: Scores) -> float:
    """Returns the score with the highest probability."""
    return float(max(scores, key=lambda score: scores[score]))


def expected(scores: Scores) -> float:
    """Returns the mean of the scores."""
    return sum(score * probability for score, probability in scores.items())
