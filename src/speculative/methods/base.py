"""Defines `Method`, a small typed object."""

from __future__ import annotations

import inspect
import re
from collections.abc import Sequence
from functools import cache
from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from speculative.chain.chain import Chain
from speculative.errors import ChainStateError
from speculative.methods.definition import check_definition, check_field_names, check_needs
from speculative.methods.families import Family
from speculative.methods.tunable import GradedTrace, Tunable
from speculative.problem import Problem


class Method(BaseModel):
    """A policy for one chain.

    Subclasses give typed fields and `think`. Fields become flags, schemas and documents with no further edit. The name of a method
    is its class name in snake case.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    family: ClassVar[Family] = "other"
    """The kind of method, for lists."""
    needs: ClassVar[dict[str, set[str]]] = {}
    """Abilities that the engines of the roles must have, checked before the first token."""
    asks_only: ClassVar[frozenset[str]] = frozenset()
    """Roles that only reply, begin the thinking or answer, and continue no text: a chat endpoint can fill them."""
    asks_with: ClassVar[dict[str, Any]] = {}
    """Parameters that this takes, where the defaults need more of a role."""
    append_only: ClassVar[bool] = True
    """True if committed text is final: a service may send it on at once."""
    parallel: ClassVar[bool] = False
    """True if it has several calls under way at once."""
    training: ClassVar[bool] = False
    """True if it needs models that were trained for it."""
    aliases: ClassVar[tuple[str, ...]] = ()
    from_files: ClassVar[frozenset[str]] = frozenset()
    """Fields whose value may be the content of a file, written `@FILE`."""
    probe: ClassVar[dict[str, Any]] = {}
    """Parameters with which `speculative tune` runs it first, to record the scores of its decisions."""
    chains_field: ClassVar[str | None] = None
    """The field that says how many chains one problem becomes, where that can be more than one."""
    listed: ClassVar[bool] = True
    """Whether a service lists it among its models."""
    drafts_field: ClassVar[str | None] = None
    """The field that says how many drafts one call may ask an engine for, where that can be more than one."""

    answer_by: Literal["big", "small"] = Field(default="big", description="who writes the answer")

    @property
    def switch_unit(self) -> int | Literal["step"]:
        """The tokens, or the step, of one turn; the control gives its turns by chance."""
        return "step"

    @property
    def chains_at_once(self) -> int:
        """The number of chains that one problem becomes."""
        return getattr(self, self.chains_field) if self.chains_field else 1

    @property
    def instructs(self) -> bool:
        """True if it gives one role an instruction of its own, which a tower cannot."""
        return False

    @property
    def takes_back(self) -> bool:
        """True if its options let it take back text, though its class is append-only."""
        return False

    @property
    def full_name(self) -> str:
        """The name as on the command line, such as `vote*random_switch`."""
        return self.name()

    @property
    def params(self) -> dict[str, Any]:
        """All parameters as plain values, those of a wrapper under its own name."""
        return self.model_dump(mode="json")

    @property
    def most_drafts(self) -> tuple[str, int]:
        """The field that asks an engine for the most drafts a call, and its value."""
        field = self.drafts_field
        return (field, getattr(self, field)) if field else ("", 1)

    @property
    def only_asked(self) -> frozenset[str]:
        """The roles that continue no text."""
        return self.asks_only

    @property
    def text_is_final(self) -> bool:
        """True if committed text stays."""
        return self.append_only and not self.takes_back

    @property
    def needs_training(self) -> bool:
        """True if it needs models that were trained for it."""
        return self.training

    @property
    def takes_reward_model(self) -> bool:
        """True if its judge can be a reward model, which rewards a good step."""
        return self.required_abilities().get("judge") == {"reward"}

    def required_abilities(self) -> dict[str, set[str]]:
        """Returns the abilities, by role, that the method needs with its options."""
        return type(self).needs

    def tunables(self) -> tuple[Tunable, ...]:
        """Returns the parameters that `speculative tune` chooses.

        Its other parameters stay as they are.
        """
        return ()

    def fitted(self, runs: Sequence[GradedTrace]) -> dict[str, Any]:
        """Computes parameters from graded chains.

        The chains are those of the method with the parameters of `probe`.
        """
        return {}

    def uses(self) -> frozenset[str]:
        """Returns the roles that write or judge, besides the answer, in a run of chains."""
        return frozenset({"big", "small"}.union(self.required_abilities()))

    def prepare(self, problem: Problem) -> Problem:
        """Returns the problem in the form that the models see."""
        return problem

    async def think(self, chain: Chain) -> None:
        """Writes the thinking until `chain.thinking` is false, or stops earlier."""
        raise NotImplementedError(f"{type(self).__name__} has neither `think` nor `run`")

    async def run(self, chain: Chain) -> None:
        """Writes the chain. A method of several chains (a vote, a cascade) overrides this."""
        thinking: Any = self.think(chain)
        if not inspect.isawaitable(thinking):
            raise ChainStateError(f"{type(self).__name__}.think must be `async def`, it gave {thinking!r}")
        await thinking
        chain.check_finished()
        if not chain.answered:
            await chain.answer(self.answer_by)

    @classmethod
    def name(cls) -> str:
        return _snake(cls.__name__)

    @classmethod
    def summary(cls) -> str:
        """Returns the first line of the class's docstring."""
        return (cls.__doc__ or "").strip().split("\n")[0]

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        check_field_names(cls.__name__, cls.model_fields)
        check_needs(cls.__name__, cls.needs)
        for name in ("think", "run"):
            found = cls.__dict__.get(name)
            if inspect.isfunction(found):
                check_definition(cls.__name__, found)


@cache
def _snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
