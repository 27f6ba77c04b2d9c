"""How our task files are scored: our grader over all repeats of a problem, then right answers, coverage and majorities."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from speculative.evaluate.grading.grade import grade, vote_key
from speculative.stats.pass_at_k import available_ks, majority, pass_at

log = logging.getLogger(__name__)


def process_results(doc: Mapping[str, Any], results: Sequence[Sequence[str] | str]) -> dict[str, float]:
    """lm-eval's `process_results`: `exact_match`, the part of the repeats that is right, and `cov@k` and `maj@k` for k = 2, 4, 8 …

    Coverage is pass@k, over all choices of k repeats, as in `speculative.stats.pass_at_k`. `results` holds the repeats of the one request
    (`take_first_k`). The gold answer was looked at when the problems were loaded; no text of a model raises.
    """
    answers = [results[0]] if isinstance(results[0], str) else list(results[0])
    kind = doc["kind"]
    verdicts = [grade(answer, doc["answer"], kind, question=doc["problem"]) for answer in answers]
    if any(verdict.undecided for verdict in verdicts):
        log.warning("an answer to %r is undecided and counts as not right: comparing it took too much time or memory", doc["problem"][:80])
    right = [verdict.correct for verdict in verdicts]
    votes = [vote_key(verdict.answer, kind, doc["problem"]) for verdict in verdicts]
    ks = available_ks([len(right)])
    covered, elected = pass_at([right]), majority(list(zip(votes, right, strict=True)), ks)
    return {
        "exact_match": sum(right) / len(right),
        **{f"cov@{k}": covered[k].value for k in ks},
        **{f"maj@{k}": chance for k, chance in zip(ks, elected, strict=True)},
    }
