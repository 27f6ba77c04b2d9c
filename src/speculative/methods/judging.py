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

LEAST = 1e-9
"""The probability of a score at least, so that the others have a share of it."""

REPLY, MEAN_REPLY = "reply from 0 to 9", "mean of the replies from 0 to 9"
"""The measures of a judgement by a reply."""

Scores = dict[int, float]
"""The probability of each score."""


async def judge_step(chain: Chain, role: Literal["big", "small"], step: Draft) -> Scores:
    """Asks a model how good a drafted step is. Empty if it gives no score.

    The reply is one token where the model's score is the first token of it, else it is read. Then the score that was read is the
    likeliest one, and the others share the rest of the probability. A judge that only replies with 0 or 9 has the rest at the other one.
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
    return {9 - score: 1 - sure, score: sure} if chain.dialect(role).judges_with_two_scores else _read(score, sure)


def _read(score: int, sure: float) -> Scores:
    """Returns the probabilities of all scores; the one that was read is likeliest."""
    sure = max(sure, LEAST)
    rest = min(sure, (1 - sure) / (len(DIGITS) - 1))
    weights = {score: sure, **{other: rest for other in range(len(DIGITS)) if other != score}}
    return {one: weight / sum(weights.values()) for one, weight in weights.items()}


def likeliest(scores: Scores) -> float:
    """Returns the score with the highest probability."""
    return float(max(scores, key=lambda score: scores[score]))


def expected(scores: Scores) -> float:
    """Returns the mean of the scores."""
    return sum(score * probability for score, probability in scores.items())
