"""Finds roles that a method is meant to use and that did nothing in a chain."""

from __future__ import annotations

from speculative.methods.base import Method
from speculative.trace.events import Asked, Drafted, Rewarded, Scored, Wrote
from speculative.trace.trace import Trace

WORK = (Wrote, Drafted, Scored, Rewarded, Asked)
"""Events in which a model writes, drafts or judges. An answer does not count: any role can write it."""


def idle_roles(method: Method, trace: Trace) -> tuple[str, ...]:
    """Returns the roles that the method uses and that did no more than answer."""
    active = {event.call.role for event in trace.walk() if isinstance(event, WORK) and event.call.requests}
    return tuple(sorted(method.uses() - active))
