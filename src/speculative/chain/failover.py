"""Hands the calls of a role whose server is gone to the survivor.

`Problem.degrade` names the survivor.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from speculative.engines.base import Engine
from speculative.errors import EngineError
from speculative.problem import WRITERS, Degrade
from speculative.trace.events import AnyEvent, Degraded

T = TypeVar("T")


class Failover:
    """Knows which role serves which calls. `lost` is the role whose server is gone.

    A child chain starts with its parent's state and then tracks failures on its own, which keeps it reproducible.
    """

    def __init__(
        self, engines: Mapping[str, Engine], degrade: Degrade, record: Callable[[AnyEvent], None], lost: str | None = None
    ) -> None:
        self._engines, self._record = engines, record
        self.survivor = degrade if degrade in engines else None
        self.lost = lost

    async def run(self, role: str, attempt: Callable[[str], Awaitable[T]]) -> T:
        """Runs an attempt with the role that serves `role`.

        If that role's server is lost during it, the survivor runs the attempt.
        """
        while True:
            acting = self.role_for(role)
            try:
                return await attempt(acting)
            except EngineError as error:
                if not self.take_over(acting, error):
                    raise

    def role_for(self, role: str) -> str:
        """Returns the role that serves the calls of `role`.

        It is the role itself, or the survivor after a failover.
        """
        return self.survivor if self.survivor and role == self.lost else role

    def take_over(self, role: str, error: EngineError) -> bool:
        """Returns whether the chain can go on after an error of a role's engine.

        From then on the survivor serves the role. Calls that were under way find out one by one.
        """
        if not self.can_continue(role, error):
            return False
        if self.lost is None and self.survivor:
            self.lost = role
            self._record(Degraded(role=role, survivor=self.survivor, error=str(error)))
        return True

    def can_continue(self, role: str, error: EngineError) -> bool:
        """Returns whether the chain can go on after this error of a call of the role."""
        return error.lost and self.has_fallback(role)

    def has_fallback(self, role: str) -> bool:
        """Returns whether the survivor could serve that role."""
        return self.survivor is not None and role in WRITERS and role != self.survivor

    def idle_role(self, writer: str) -> str | None:
        """Returns the role that can be prefilled while `writer` writes.

        A role on the writer's own engine cannot.
        """
        if writer not in WRITERS or self.lost:
            return None
        (other,) = (role for role in WRITERS if role != writer)
        mine, theirs = self._engines.get(writer), self._engines.get(other)
        return other if mine and theirs and mine is not theirs and mine.name != theirs.name else None
