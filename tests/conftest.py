"""Settings of all tests."""

import asyncio
import gc
import os
import signal
import warnings
from functools import cache

import profiles
import pytest

RUN = asyncio.run
profiles.register()
gc.disable()  # until all tests are collected: a tenth of the time goes into looking through objects that stay
os.fsync = lambda _: None  # no test survives a power cut, and a disk takes ten milliseconds each time
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # hundreds of interpreters are started, and each would compile everything again
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a background job of a shell: every command that a test starts would ignore it
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_configure(config):
    """Each process runs neighbours, so that one of them starts a module's server; at the end it takes tests from the others."""
    if config.getoption("dist", "no") == "load":
        config.option.dist = "worksteal"


def pytest_collection_finish():
    gc.freeze()
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def shipped_weights():
    """The shipped weights are read once: that takes longer than most chains. Other folders change between two engines."""
    from speculative.engines.local import model
    from speculative.engines.local.engine import SHIPPED

    read = model.initializers
    once = cache(read)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(model, "initializers", lambda folder, shape: (once if folder.is_relative_to(SHIPPED) else read)(folder, shape))
        yield


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
