"""Candidates with the same recorded scores."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

from msgspec import Struct

from speculative.evaluate.tune.candidates import Candidate, make_spec, percentile, percentile_of, threshold_at, value_at
from speculative.methods.tunable import Tunable

DEARER = (0.6, 0.75, 0.9)
"""Shares of the scores at which big gets a turn, for candidates when no other one keeps a bound on accuracy."""

FINER = (0.25, 0.5, 0.75)
"""The places of finer candidates between two shares of scores."""


class CandidateGroup(Struct, frozen=True):
    """Candidates with the same recorded scores.

    `combination` are the parameters that shape the scores, and `swept` are values by hand.
    """

    method: str
    base: dict[str, Any]
    combination: dict[str, Any]
    tunables: list[Tunable]
    swept: dict[str, list[str]]
    scores: dict[str, list[float]]

    def candidates(self) -> list[Candidate]:
        """Returns every combination of the values of the chosen parameters."""
        choices = [[(tunable.field, value) for value in self._values(tunable)] for tunable in self.tunables]
        return [self._candidate(dict(values)) for values in product(*choices)] if all(choices) else []

    def dearer(self, best: Candidate) -> list[Candidate]:
        """Returns candidates that give big more turns than any so far.

        Other parameters are those of the best one.
        """
        if not self._has(best):
            return []
        choices = [
            [(one.field, value) for value in (self._thresholds(one, DEARER) if one.big_if else [best.params[one.field]])]
            for one in self.tunables
        ]
        return [self._candidate(dict(values)) for values in product(*choices)]

    def _has(self, candidate: Candidate) -> bool:
        """Returns whether a candidate has the fixed parameters of this group."""
        return all(candidate.params.get(field) == value for field, value in self.base.items())

    def finer(self, best: Candidate, others: Sequence[Candidate]) -> list[Candidate]:
        """Returns candidates between the best one and its neighbours.

        Each differs from the best one in one parameter with scores.
        """
        if not self._has(best):
            return []
        found: dict[str, Candidate] = {}
        for tunable in self.tunables:
            scored = tunable.big_if and tunable.field not in self.swept
            values = self._thresholds(tunable, (*tunable.shares, *DEARER)) if scored else []
            if best.params[tunable.field] not in values:
                continue
            place = values.index(best.params[tunable.field])
            for neighbour in values[max(0, place - 1) : place] + values[place + 1 : place + 2]:
                for part in FINER:
                    value = self._between(tunable, values[place], neighbour, part)
                    made = self._candidate({**{one.field: best.params[one.field] for one in self.tunables}, tunable.field: value})
                    found[made.label] = made
        known = {one.label for one in others}
        return [made for label, made in found.items() if label not in known]

    def _between(self, tunable: Tunable, one: float, other: float, part: float) -> float:
        """Returns a value between two others, by the rank of the scores."""
        scores = self.scores[tunable.field]
        shares = [sum(tunable.gives_big(score, value) for score in scores) / len(scores) for value in (one, other)]
        found = threshold_at(tunable, scores, shares[0] + part * (shares[1] - shares[0]))
        return one if found is None else found

    def _values(self, tunable: Tunable) -> list[Any]:
        scores = self.scores.get(tunable.field, [])
        if tunable.field in self.swept:
            numbers = [(value, percentile_of(value) if tunable.big_if else None) for value in self.swept[tunable.field]]
            return [value if number is None else value_at(scores, number) for value, number in numbers]
        if not tunable.big_if:
            return list(tunable.values)
        return self._thresholds(tunable, tunable.shares)

    def _thresholds(self, tunable: Tunable, shares: Sequence[float]) -> list[float]:
        """Returns a threshold for each share of the scores at which big gets a turn."""
        scores = self.scores.get(tunable.field, [])
        found = [threshold_at(tunable, scores, share) for share in shares] if scores else []
        return list(dict.fromkeys(value for value in found if value is not None))

    def _candidate(self, values: dict[str, Any]) -> Candidate:
        params = {**self.base, **values}
        made = make_spec(self.method, params)
        own = made.method.model_dump(mode="json")
        scored = [field for field in values if self.scores.get(field)]
        percentiles = {field: round(percentile(self.scores[field], float(own[field])), 1) for field in scored}
        return Candidate(made, params, {**self.combination, **values}, percentiles)
