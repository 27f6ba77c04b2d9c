"""Selects what the quick tests try: an eighth of Hypothesis's examples and some cases of a test; the slower suite tries all of them."""

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

LEAST = 8
"""Examples that the quick tests try at least."""


def register() -> None:
    """Registers both profiles and loads the quick one; `--hypothesis-profile=full` comes after it."""
    shared = {"deadline": None, "derandomize": True, "suppress_health_check": [HealthCheck.too_slow]}
    settings.register_profile("full", max_examples=100, **shared)
    settings.register_profile("quick", max_examples=15, **shared)
    settings.load_profile("quick")


def examples(count: int) -> int:
    """Returns how many of a test's `count` examples this run tries."""
    return count if settings.get_current_profile_name() == "full" else min(count, max(LEAST, count // 8))


def quick_cases(values: Iterable[Any], count: int = 1) -> list[Any]:
    """Returns the cases of a parameter; all after the first `count` run in the slower suite.

    A tuple is one case of several names.
    """
    cases = [pytest.param(*value) if isinstance(value, tuple) else pytest.param(value) for value in values]
    return [*cases[:count], *(pytest.param(*case.values, marks=pytest.mark.slow) for case in cases[count:])]
