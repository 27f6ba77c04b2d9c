"""The pair: the engines that fill the roles, opened and closed together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from speculative.engines.base import Engine
from speculative.errors import UnmetNeeds, UsageError
from speculative.methods.base import Method, name_of, needs_of

BUNDLED = {"big": "bundled:big", "small": "bundled:small"}


class Pair(Mapping[str, Engine]):
    """Engines by role: `big`, `small`, and optionally `judge`. An asynchronous context manager that closes them."""

    def __init__(self, big: Engine, small: Engine, judge: Engine | None = None) -> None:
        self._engines = {"big": big, "small": small} | ({"judge": judge} if judge else {})

    @classmethod
    def open(cls, big: str = BUNDLED["big"], small: str = BUNDLED["small"]) -> Pair:
        """Opens the engines that the specs name. Raises `UsageError` for a spec that is none, and the engines' own errors."""
        return cls(engine(big), engine(small))

    def __getitem__(self, role: str) -> Engine:
        return self._engines[role]

    def __iter__(self) -> Iterator[str]:
        return iter(self._engines)

    def __len__(self) -> int:
        return len(self._engines)

    async def __aenter__(self) -> Pair:
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        for engine in {id(engine): engine for engine in self._engines.values()}.values():
            await engine.aclose()

    def check(self, method: Method) -> None:
        """Raises `UnmetNeeds` if an engine lacks what the method needs of its role."""
        for role, needs in needs_of(method).items():
            if role not in self._engines:
                raise UnmetNeeds(f"{name_of(method)} needs an engine for the role {role}; give one with --{role}")
            missing = needs - self._engines[role].abilities
            if missing:
                raise UnmetNeeds(
                    f"{name_of(method)} needs {', '.join(sorted(missing))} of the {role} model, "
                    f"which {self._engines[role].name} does not have; `speculative methods` lists what each method needs"
                )


def engine(spec: str) -> Engine:
    """The engine that a spec names: `bundled:big` or `bundled:small`. Raises `UsageError`."""
    kind, _, rest = spec.partition(":")
    if kind == "bundled" and rest in ("big", "small"):
        from speculative.engines.bundled import BundledEngine

        return BundledEngine.open(rest)
    raise UsageError(f"engine {spec!r} is none that this version can open; it opens bundled:big and bundled:small")
