"""Who works where a method names a role: its own engine, or the survivor's once its server is gone."""

from __future__ import annotations

from collections.abc import Mapping

from speculative.engines.base import Engine
from speculative.errors import EngineError
from speculative.problem import Degrade

BOTH = ("big", "small")


class Roles:
    """The roles of one chain. `lost` is the one whose server is gone.

    A child begins with what its parent knows, and then finds out for itself: so what it does hangs on its own calls alone.
    """

    def __init__(self, engines: Mapping[str, Engine], degrade: Degrade, lost: str | None = None) -> None:
        self._engines = engines
        self.survivor = degrade if degrade in engines else None
        self.lost = lost

    def acting(self, role: str) -> str:
        """The role whose engine does what is asked of this one."""
        return self.survivor if self.survivor and role == self.lost else role

    def survives(self, role: str, error: EngineError) -> bool:
        """Whether the chain can go on although a call of that role failed so."""
        return error.lost and self.spares(role)

    def spares(self, role: str) -> bool:
        """Whether another engine would go on without that role's."""
        return self.survivor is not None and role in BOTH and role != self.survivor

    def idle(self, writer: str) -> str | None:
        """The model that could be warmed while the other one writes: never one behind the writer's own engine."""
        if writer not in BOTH or self.lost:
            return None
        (other,) = (role for role in BOTH if role != writer)
        mine, theirs = self._engines.get(writer), self._engines.get(other)
        return other if mine and theirs and mine is not theirs and mine.name != theirs.name else None
