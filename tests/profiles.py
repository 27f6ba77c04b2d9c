"""Hypothesis's profiles: the quick tests try an eighth of the examples, the slower suite tries all of them."""

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
