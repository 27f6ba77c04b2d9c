"""Flags of several commands: engines, servers, limits, prices, controls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

from cyclopts import Group, Parameter, Token

from speculative.cli._progress import LoadingLine
from speculative.cli._signals import raise_on_signal
from speculative.engines.options import (
    ASKING,
    BUNDLED,
    REWARD,
    ROLES,
    EngineOptions,
    Spec,
    describe_engines,
    flat_fields,
    is_model_name,
    is_tower,
    single_models,
)
from speculative.errors import UsageError
from speculative.methods.base import Method
from speculative.pair import Pair
from speculative.problem import Degrade, Problem, Sampling
from speculative.stats.cost import View
from speculative.stats.prices import Prices


def parse_int(_: Any, tokens: Sequence[Token]) -> int:
    """Reads an integer. A number with a fraction is an error."""
    try:
        return int(tokens[0].value)
    except ValueError:
        raise ValueError(f"must be an integer, got {tokens[0].value!r}") from None


def parse_count(kind: Any, tokens: Sequence[Token]) -> int:
    """Reads an integer of at least 1."""
    count = parse_int(kind, tokens)
    if count < 1:
        raise ValueError(f"must be at least 1, got {count}")
    return count


SERVERS = Group("Servers", sort_key=6)

T = TypeVar("T")


def _add_engine_options(flags: type[T]) -> type[T]:
    """Adds a field for each engine option (`big_model`, …, `vllm`).

    The help hides those of the judge.
    """
    for name, (kind, field) in flat_fields(without=("keep",)).items():
        hyphen = name.endswith("_args")
        flag = Parameter(
            help=field.description, group=SERVERS, show=not name.startswith("judge_"), allow_leading_hyphen=hyphen, show_default=False
        )
        flags.__annotations__[name] = Annotated[kind | None, flag]
        setattr(flags, name, None)
    return flags


@dataclass(frozen=True)
@_add_engine_options
class ServerFlags:
    """Holds the options of engines behind servers.

    Most fields come from `EngineOptions`.
    """

    terminate_on_exit: Annotated[
        bool,
        Parameter(
            help="end the servers that this command started when it ends; otherwise the next command uses them, and "
            "`speculative down` ends them",
            group=SERVERS,
        ),
    ] = True

    def options(self) -> dict[str, EngineOptions]:
        """Returns the engine options by role."""
        return {role: EngineOptions.of(role, vars(self)) for role in ROLES}


SPEC = (
    "bundled:big, the address of a server (repeat the flag for replicas), "
    "a model's hub name or folder (starts vLLM), a GGUF file, local or on the hub (starts llama.cpp), "
    "or METHOD(SMALL,BIG,field=value,…), a pair as one model"
)

DEFAULT_SMALL = (BUNDLED["small"],)
SMALL = f"the small model [default: {BUNDLED['small']}, or {ASKING} beside bundled:big where a method needs a small model that asks]"
JUDGE = f"a judge, for methods that need one [default: {REWARD} where a method needs a reward model beside the bundled pair]"

ENGINES = Group("Engines", sort_key=4)
MANY: dict[str, Any] = {"group": ENGINES, "negative": (), "show_default": False}
LIMITS = Group("Sampling and limits", sort_key=3)


@Parameter(name="*")
@dataclass(frozen=True)
class EngineFlags(ServerFlags):
    """Holds the engines that fill the roles."""

    big: Annotated[tuple[str, ...], Parameter(help=f"the big model: {SPEC} [default: {BUNDLED['big']}]", **MANY)] = (BUNDLED["big"],)
    small: Annotated[tuple[str, ...], Parameter(help=SMALL, **MANY)] = DEFAULT_SMALL
    judge: Annotated[tuple[str, ...], Parameter(help=JUDGE, **MANY)] = ()

    @property
    def bundled(self) -> bool:
        """True if one of the models ships with the library."""
        return any("bundled:" in spec for spec in (*self.big, *self.small))

    def for_methods(self, methods: Sequence[Method]) -> EngineFlags:
        """Returns the flags with the bundled models that the methods need.

        By default the small model is the one that was trained to ask where a method needs that, and the judge is the reward model
        likewise. Models that the user named stay, and nothing is added beside models of other kinds. Raises `UsageError` for a method
        with a reward of another kind, unless a judge is given.
        """
        if not all(spec.startswith("bundled:") for spec in (*self.big, *self.small)):
            return self
        asks = self.small is DEFAULT_SMALL and any(method.needs_training for method in methods)  # an equal tuple is the user's
        return replace(self, small=(ASKING,) if asks else self.small, judge=self.judge or _reward_model(methods))

    @property
    def specs(self) -> dict[str, str]:
        """The engine of each role and its options, as samples keep them."""
        return describe_engines({"big": self.big, "small": self.small, "judge": self.judge}, self.options())

    def open(self) -> Pair:
        """Opens the pair. A line shows the progress of loading servers."""
        starts = any(is_model_name(spec) or is_tower(spec) for spec in (*self.big, *self.small, *self.judge))
        with raise_on_signal() if starts else nullcontext(), LoadingLine() as tell:
            return self._open(tell)

    def _open(self, tell: Callable[[str], None] | None) -> Pair:
        return Pair.open(join_specs(self.big), join_specs(self.small), join_specs(self.judge) or None, options=self.options(), tell=tell)


def _reward_model(methods: Sequence[Method]) -> tuple[str, ...]:
    """Returns the bundled reward model where methods need one.

    Raises `UsageError` for a method whose judge is another kind of model.
    """
    judged = [method for method in methods if method.required_abilities().get("judge") == {"reward"}]
    if other := next((method.full_name for method in judged if not method.takes_reward_model), None):
        raise UsageError(f"{other} must have a judge that foresees big's advantage, got none; give one with --judge, or choose mode=oracle")
    return (REWARD,) if judged else ()


def join_specs(specs: tuple[str, ...]) -> Spec:
    """Returns one spec as it is, and several as replicas."""
    return specs[0] if len(specs) == 1 else specs


@Parameter(name="*")
@dataclass(frozen=True)
class ProblemFlags:
    """Holds the sampling and the limits of a chain."""

    temperature: Annotated[float, Parameter(help="sampling temperature; 0 is greedy", group=LIMITS)] = Sampling().temperature
    top_p: Annotated[float, Parameter(help="sample from the likeliest tokens with this total probability", group=LIMITS)] = Sampling().top_p
    top_k: Annotated[int, Parameter(converter=parse_int, help="sample from the N likeliest tokens; 0 is all", group=LIMITS)] = (
        Sampling().top_k
    )
    seed: Annotated[int, Parameter(converter=parse_int, help="seed; the same seed gives the same chain", group=LIMITS)] = 0
    max_tokens: Annotated[int, Parameter(converter=parse_int, help="limit of tokens in the chain and its answer", group=LIMITS)] = 8192
    max_produced: Annotated[
        int | None,
        Parameter(
            converter=parse_int,
            help="limit of generated tokens, discarded ones included; a method that works ahead may then write other text at other speeds",
            group=LIMITS,
        ),
    ] = None
    max_seconds: Annotated[float | None, Parameter(help="limit of wall time in seconds", group=LIMITS)] = None
    answer_instruction: Annotated[
        str | None, Parameter(help="text that tells the models how to answer [default: the model family's own]", group=LIMITS)
    ] = None
    degrade: Annotated[Degrade, Parameter(help="the role that continues alone if the other one's server is lost", group=LIMITS)] = "fail"
    prefill_every: Annotated[
        int,
        Parameter(
            name=("--prefill-every", "--warm-every"),
            converter=parse_int,
            help="the idle model reads the new text after every N tokens; 0 disables",
            group=LIMITS,
        ),
    ] = 0

    def problem(self, text: str) -> Problem:
        """Makes the problem of a text. Raises `UsageError`."""
        sampling = {name: getattr(self, name) for name in Sampling.__struct_fields__}
        limits = {name: value for name, value in vars(self).items() if name not in sampling}
        return Problem.of(text, sampling=Sampling(**sampling), **limits)


DEFAULT_ENGINES = EngineFlags()
DEFAULT_PROBLEM = ProblemFlags()


COSTS = Group("Costs and controls", sort_key=2)
CONTROLS = (
    "run controls beside each method, except baselines: random_switch with the same kept share of the big model (the search takes 1 to 6 "
    "chains for each chain of the method, mostly 2), and small_only's vote at the same cost (at most 64 ballots; 5 more chains of the "
    "small model measure their cost)"
)


@Parameter(name="*")
@dataclass(frozen=True)
class PriceFlags:
    """Holds the prices from which costs are computed."""

    prices: Annotated[
        Path | None,
        Parameter(
            help="a TOML file with prices of tokens and devices, and the models' parameters (docs/statistics.md) "
            "[default: an example for the bundled pair]",
            group=COSTS,
            show_default=False,
        ),
    ] = None

    def load(self, engines: EngineFlags | None = None) -> Prices | None:
        """Loads the prices of the file, or returns None without one.

        Raises `UsageError`, also if the file lacks one of the engines.
        """
        if self.prices is None:
            return None
        found = Prices.load(self.prices)
        roles = {"big": engines.big, "small": engines.small, "judge": engines.judge} if engines else {}
        lacking = found.lacking(single_models(roles))
        if lacking:
            raise UsageError(f"prices {self.prices}: {lacking[0]} is missing; add it, or remove that view from the file")
        return found


@Parameter(name="*")
@dataclass(frozen=True)
class ControlFlags:
    """Holds the choice of controls."""

    controls: Annotated[bool, Parameter(help=CONTROLS, group=COSTS)] = True
    equal_cost: Annotated[View, Parameter(help="price view in which the small model's vote costs the same", group=COSTS)] = "flops"


DEFAULT_PRICES = PriceFlags()
DEFAULT_CONTROLS = ControlFlags()
