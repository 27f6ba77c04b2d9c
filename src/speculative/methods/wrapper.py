"""Defines `Wrapper`, a method around another."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Literal, Self

from pydantic import Field, SerializeAsAny, model_validator

from speculative.chain.chain import Chain
from speculative.methods.ballots import MOST_CHAINS
from speculative.methods.base import Method
from speculative.problem import Problem


class Wrapper(Method):
    """Runs another method, `inner`; may watch, stop or repeat it (`--with`)."""

    inner: SerializeAsAny[Method] = Field(description="the method that it is put around")

    @model_validator(mode="after")
    def _check_chains(self) -> Self:
        if self.chains_at_once > MOST_CHAINS:
            factors = [(f"{layer.name()}.{layer.chains_field}", count) for layer, count in _chain_factors(self)]
            names, counts = [name for name, _ in factors], " x ".join(str(count) for _, count in factors)
            raise ValueError(f"{_listed(names)} must be at most {MOST_CHAINS} chains together, got {counts}; lower one of them")
        return self

    @property
    def full_name(self) -> str:
        return f"{self.name()}*{self.inner.full_name}"

    @property
    def params(self) -> dict[str, Any]:
        return {**self.inner.params, self.name(): self.model_dump(mode="json", exclude={"inner"})}

    @property
    def most_drafts(self) -> tuple[str, int]:
        return max(self.inner.most_drafts, super().most_drafts, key=lambda found: found[1])

    @property
    def only_asked(self) -> frozenset[str]:
        return self.asks_only & self.inner.only_asked

    @property
    def text_is_final(self) -> bool:
        return super().text_is_final and self.inner.text_is_final

    @property
    def needs_training(self) -> bool:
        return self.training or self.inner.needs_training

    @property
    def takes_reward_model(self) -> bool:
        return self.inner.takes_reward_model

    @property
    def instructs(self) -> bool:
        return self.inner.instructs

    def required_abilities(self) -> dict[str, set[str]]:
        return merged(type(self).needs, self.inner.required_abilities())

    def uses(self) -> frozenset[str]:
        return self.inner.uses().union(type(self).needs)

    @property
    def switch_unit(self) -> int | Literal["step"]:
        return self.inner.switch_unit

    @property
    def chains_at_once(self) -> int:
        return super().chains_at_once * self.inner.chains_at_once

    def prepare(self, problem: Problem) -> Problem:
        return self.inner.prepare(problem)

    async def run(self, chain: Chain) -> None:
        await self.inner.run(chain)


def _chain_factors(method: Method) -> Iterator[tuple[Method, int]]:
    """Yields the layers that make several chains of one, with their number.

    The outermost comes first.
    """
    inner = method.inner if isinstance(method, Wrapper) else None
    own = method.chains_at_once // (inner.chains_at_once if inner else 1)
    if own > 1:
        yield method, own
    if inner:
        yield from _chain_factors(inner)


def _listed(names: Sequence[str]) -> str:
    """Returns names as a list in words."""
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def merged(*needs: dict[str, set[str]]) -> dict[str, set[str]]:
    """Returns all needs together, by role."""
    return {role: set[str]().union(*(need.get(role, set()) for need in needs)) for need in needs for role in need}
