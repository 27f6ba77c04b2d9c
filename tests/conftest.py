"""Settings of all tests."""

import gc
import warnings

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("core", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("core")


@pytest.fixture
def tidied():
    """What a test leaves to the garbage collector is collected before another test could be blamed for it."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
