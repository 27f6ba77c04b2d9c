"""Measures how sure the models were of a chain."""

from __future__ import annotations

from math import exp, fsum

from speculative.trace.events import Accepted, Proposal, Wrote
from speculative.trace.trace import Trace


def mean_probability(trace: Trace) -> float:
    """Returns the geometric mean of the probabilities of a thinking's tokens.

    Each token counts with the probability that its own writer gave it. The chain was written with log-probabilities
    (`Chain.child`); without any the mean is 0.
    """
    found = [value for proposal, size in _written(trace) for value in (proposal.completion.logprobs or ())[:size]]
    return exp(min(0.0, fsum(found) / len(found))) if found else 0.0


def _written(trace: Trace) -> list[tuple[Proposal, int]]:
    """Returns what was written of the thinking, each with its number of tokens."""
    known, found = trace.ledger.proposals, list[tuple[Proposal, int]]()
    for event in trace.events:
        if isinstance(event, Wrote):
            found.append((event.proposal, _size(event.proposal)))
        elif isinstance(event, Accepted):
            accepted = [known[draft][1] for draft in event.drafts]
            found += [(proposal, _size(proposal)) for proposal in accepted]
            if event.cut:
                found[-1] = (accepted[-1], event.cut[0])
    return [(proposal, size) for proposal, size in found if proposal.phase == "thinking"]


def _size(proposal: Proposal) -> int:
    return len(proposal.completion.ids) - proposal.dropped
