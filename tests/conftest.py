"""Settings of all tests."""

import asyncio
import gc
import warnings

import profiles
import pytest

RUN = asyncio.run
profiles.register()


@pytest.fixture
def tidied():
    """What a test leaves to the garbage collector is collected before another test could be blamed for it."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture(autouse=True)
def no_loop_left(request):
    """inspect-ai replaces `asyncio.run` by one that leaves its loop open: it has that to itself, and its loop is closed."""
    left = asyncio.run
    if "tidied" not in request.fixturenames:
        asyncio.run = RUN
    yield
    if "tidied" not in request.fixturenames:
        asyncio.run = left
    loop = getattr(getattr(asyncio.get_event_loop_policy(), "_local", None), "_loop", None)
    if loop and not loop.is_running():
        asyncio.set_event_loop(None)
        loop.close()
