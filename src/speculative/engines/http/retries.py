"""Retries calls to model servers after failures that can pass."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TypeVar

import stamina

from speculative.engines.http.replicas import Replicas
from speculative.errors import EngineBusyError, EngineError, EngineTimeoutError, EngineUnreachableError

ATTEMPTS = 4
RETRY_FOR_S = 30.0
"""Seconds in which a call that no server answered may be retried."""

R = TypeVar("R")

logging.getLogger("stamina").addHandler(logging.NullHandler())
"""It tells of each retry; a program that sets up no logging should not find that on its terminal."""


async def send_with_retries(send: Callable[[], Awaitable[R]], replicas: Replicas, first_token: float) -> R:
    """Runs attempts of one call until one succeeds, or its failure cannot pass.

    Args:
        send: makes one attempt, on the server that the replicas pick.
        replicas: the servers that can take the call.
        first_token: deadline of an attempt in seconds.

    Raises:
        EngineError: The last failure.
    """

    def delay(error: Exception) -> bool | float:
        return retry_delay(error, replicas)

    try:
        return await send()
    except EngineError as error:
        if delay(error) is False:
            raise
        failed = error
    timeout = RETRY_FOR_S + first_token  # a server that is stuck takes that long to be left for another one
    async for attempt in stamina.retry_context(delay, attempts=ATTEMPTS, timeout=timeout, wait_jitter=0.5, wait_max=4.0):
        with attempt:
            if attempt.num == 1:  # it was made above: stamina's own cost is not paid by a call that goes well
                raise failed
            return await send()
    raise AssertionError("a retry loop ends by returning or raising")


def retry_delay(error: Exception, replicas: Replicas) -> bool | float:
    """Returns the seconds before another attempt.

    True stands for a growing pause with jitter, False for no further attempt.
    """
    if isinstance(error, EngineUnreachableError):
        return 0.0 if replicas.has_another else True
    if isinstance(error, EngineTimeoutError):
        return 0.0 if replicas.has_another else False
    if isinstance(error, EngineBusyError) and "passing" in error.__notes__:
        if error.retry_after is None:
            return True
        return error.retry_after if error.retry_after <= RETRY_FOR_S else False
    return False
