"""Candidates of a parameter.

They are values between recorded scores, percentiles of the scores, or values by hand.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from math import floor, log10
from typing import Any

import msgspec
from msgspec import Struct

from speculative.errors import UsageError
from speculative.methods.registry import build
from speculative.methods.spec import MethodSpec, format_method
from speculative.methods.tunable import Tunable

LONGEST = 60
"""Characters of a value in a label; a longer one is shown by its hash."""


class Candidate(Struct, frozen=True):
    """A method with values of its parameters.

    `chosen` are the parameters that were tried, and `params` all that differ from the defaults. `percentiles` are those of the chosen
    values among the recorded scores.
    """

    spec: MethodSpec
    params: dict[str, Any]
    chosen: dict[str, Any]
    percentiles: dict[str, float]

    @property
    def label(self) -> str:
        """The method as it is shown."""
        return self.spec.label


def make_spec(name: str, params: Mapping[str, Any]) -> MethodSpec:
    """Builds a method with a label that shows the given parameters.

    Raises `UsageError`.
    """
    shown = {field: _short(value) for field, value in params.items()}
    method = build(name, params)
    return MethodSpec(format_method(type(method).name() if name.startswith("@") else name, shown), method)


def parse_sweeps(sweeps: Sequence[str]) -> dict[str, list[str]]:
    """Reads `FIELD=VALUE,VALUE,…` into the values of each field. Raises `UsageError`."""
    found: dict[str, list[str]] = {}
    for sweep in sweeps:
        field, equals, values = sweep.partition("=")
        field, parts = field.strip().replace("-", "_"), [value.strip() for value in values.split(",") if value.strip()]
        if not equals or not field or not parts:
            raise UsageError(f"a sweep must be FIELD=VALUE,VALUE,…, got {sweep!r}; a value pN is the N-th percentile of the scores")
        if field in found:
            raise UsageError(f"a field must be swept once, got {field} twice; put all its values into one --sweep")
        if twice := [value for value in parts if parts.count(value) > 1]:
            raise UsageError(f"values of a sweep must differ, got {field}={twice[0]} twice")
        found[field] = parts
    return found


def percentile_of(value: str) -> float | None:
    """Returns the number of a percentile, written `p5`.

    Returns None for a plain value. Raises `UsageError`.
    """
    if value[:1] != "p" or not value[1:].replace(".", "", 1).isdigit():
        return None
    if (number := float(value[1:])) > 100:
        raise UsageError(f"a percentile must be from p0 to p100, got {value}")
    return number


def threshold_at(tunable: Tunable, scores: Sequence[float], share: float) -> float | None:
    """Returns a value at which big gets a turn at about this share of scores.

    None if all scores are equal.
    """
    ordered = sorted(scores, reverse=tunable.big_if in ("above", "at_least"))
    distinct = sorted(set(ordered))
    if len(distinct) < 2:
        return None
    last = ordered[max(0, min(len(ordered) - 1, round(share * len(ordered)) - 1))]  # the last score with a turn of big
    place = distinct.index(last)
    low = place - 1 if tunable.big_if in ("above", "at_least") else place
    low = max(0, min(len(distinct) - 2, low))
    return between(distinct[low], distinct[low + 1])


def between(low: float, high: float) -> float:
    """Returns the number with the fewest digits that is above `low` and below `high`."""
    digits = -floor(log10(high - low))
    for more in range(digits - 2, digits + 4):
        value = round((low + high) / 2, more)
        if low < value < high:
            return float(value)
    return (low + high) / 2


def percentile(scores: Sequence[float], value: float) -> float:
    """Returns the percentage of the scores that are below a value."""
    return 100 * sum(score < value for score in scores) / len(scores)


def value_at(scores: Sequence[float], number: float) -> float:
    """Returns a value with this percentage of the scores below it."""
    found = threshold_at(Tunable("", "below"), scores, number / 100)
    if found is None:
        raise UsageError(f"a percentile needs scores that differ, got {len(scores)} equal ones; give a value")
    return found


def _short(value: Any) -> Any:
    if isinstance(value, str) and len(value) > LONGEST:
        return f"#{blake2b(msgspec.json.encode(value), digest_size=4).hexdigest()}"
    return value
