"""Flags of several commands: engines, servers, limits, prices, controls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from cyclopts import Group, Parameter, Token

from speculative.cli._progress import LoadingLine
from speculative.cli._signals import raise_on_signal
from speculative.engines.options import BUNDLED, ROLES, SHARED, EngineOptions, Spec, describe_engines, is_model_name
from speculative.errors import UsageError
from speculative.pair import Pair
from speculative.problem import Degrade, Problem, Sampling
from speculative.stats.cost import View
from speculative.stats.prices import Prices


def parse_int(_: Any, tokens: Sequence[Token]) -> int:
    """Reads a whole number, and refuses one that would have to be rounded."""
    try:
        return int(tokens[0].value)
    except ValueError:
        raise ValueError(f"{tokens[0].value!r} must be a whole number") from None


SERVERS = Group("Servers", sort_key=6)

T = TypeVar("T")


def _add_role_flags(flags: type[T]) -> type[T]:
    """Adds a field for each role and engine option: `big_model`, …

    The help does not show those of the judge.
    """
    for role in ROLES:
        for option, field in ((name, field) for name, field in EngineOptions.model_fields.items() if name not in SHARED):
            text = (field.description or "").replace("{ROLE}", role.upper())
            told = Parameter(help=text, group=SERVERS, show=role != "judge", allow_leading_hyphen=option == "args", show_default=False)
            flags.__annotations__[f"{role}_{option}"] = Annotated[field.annotation | None, told]  # pyright: ignore[reportOptionalOperand]
            setattr(flags, f"{role}_{option}", None)
    return flags


@dataclass(frozen=True)
@_add_role_flags
class ServerFlags:
    """Holds the options of engines behind servers.

    The fields of each role come from `EngineOptions`.
    """

    terminate_on_exit: Annotated[
        bool,
        Parameter(
            help="end the servers that were started here with the command; if not, the next one uses them and `speculative down` ends them",
            group=SERVERS,
        ),
    ] = True
    vllm: Annotated[str | None, Parameter(help="the Python that has vLLM, to start servers with", group=SERVERS)] = None

    def options(self) -> dict[str, EngineOptions]:
        """Returns the engine options of each role."""
        return {role: EngineOptions.of(role, vars(self)) for role in ROLES}


SPEC = (
    "bundled:big, the address of a server (repeat the flag for replicas), a model's hub name or folder (starts vLLM), "
    "or a GGUF file, here or on the hub (starts llama.cpp)"
)

ENGINES = Group("Engines", sort_key=4)
MANY: dict[str, Any] = {"group": ENGINES, "negative": (), "show_default": False}
LIMITS = Group("Sampling and limits", sort_key=3)


@Parameter(name="*")
@dataclass(frozen=True)
class EngineFlags(ServerFlags):
    """Holds the engines that fill the roles."""

    big: Annotated[tuple[str, ...], Parameter(help=f"the big model: {SPEC} [default: {BUNDLED['big']}]", **MANY)] = (BUNDLED["big"],)
    small: Annotated[tuple[str, ...], Parameter(help=f"the small model [default: {BUNDLED['small']}]", **MANY)] = (BUNDLED["small"],)
    judge: Annotated[tuple[str, ...], Parameter(help="a judge, for methods that ask for one", **MANY)] = ()

    @property
    def bundled(self) -> bool:
        """Is true if one of the models ships with the library."""
        return any(spec.startswith("bundled:") for spec in (*self.big, *self.small))

    @property
    def specs(self) -> dict[str, str]:
        """The engine of each role and its options, as they are kept with samples."""
        return describe_engines({"big": self.big, "small": self.small, "judge": self.judge}, self.options())

    def open(self) -> Pair:
        """Opens the pair. While servers load, a line shows how far they are."""
        with raise_on_signal() if any(map(is_model_name, (*self.big, *self.small, *self.judge))) else nullcontext(), LoadingLine() as tell:
            return self._open(tell)

    def _open(self, tell: Callable[[str], None] | None) -> Pair:
        return Pair.open(join_specs(self.big), join_specs(self.small), join_specs(self.judge) or None, options=self.options(), tell=tell)


def join_specs(specs: tuple[str, ...]) -> Spec:
    """Returns one spec as it is, and several as replicas."""
    return specs[0] if len(specs) == 1 else specs


@Parameter(name="*")
@dataclass(frozen=True)
class ProblemFlags:
    """How the models sample, and what a chain may cost."""

    temperature: Annotated[float, Parameter(help="0 is greedy", group=LIMITS)] = Sampling().temperature
    top_p: Annotated[float, Parameter(help="sample from the likeliest tokens that hold this share", group=LIMITS)] = Sampling().top_p
    top_k: Annotated[int, Parameter(converter=parse_int, help="sample from so many of the likeliest tokens; 0 is all", group=LIMITS)] = (
        Sampling().top_k
    )
    seed: Annotated[int, Parameter(converter=parse_int, help="the same seed gives the same chain", group=LIMITS)] = 0
    max_tokens: Annotated[int, Parameter(converter=parse_int, help="tokens of the chain and its answer at most", group=LIMITS)] = 8192
    max_produced: Annotated[
        int | None, Parameter(converter=parse_int, help="tokens produced at most, discarded ones included", group=LIMITS)
    ] = None
    max_seconds: Annotated[float | None, Parameter(help="seconds at most", group=LIMITS)] = None
    answer_instruction: Annotated[
        str | None, Parameter(help="what is added to the problem to say how to answer [default: the model family's own]", group=LIMITS)
    ] = None

    degrade: Annotated[Degrade, Parameter(help="who goes on alone when the other one's server dies", group=LIMITS)] = "fail"
    warm_every: Annotated[
        int,
        Parameter(converter=parse_int, help="tokens after which the idle model is given what it has not seen; 0 is never", group=LIMITS),
    ] = 0

    def problem(self, text: str) -> Problem:
        """Makes the problem of a text. Raises `UsageError`."""
        return Problem.of(
            text,
            sampling=Sampling(self.temperature, self.top_p, self.top_k),
            seed=self.seed,
            max_tokens=self.max_tokens,
            max_produced=self.max_produced,
            max_seconds=self.max_seconds,
            answer_instruction=self.answer_instruction,
            degrade=self.degrade,
            warm_every=self.warm_every,
        )


DEFAULT_ENGINES = EngineFlags()
DEFAULT_PROBLEM = ProblemFlags()


COSTS = Group("Costs and controls", sort_key=2)
CONTROLS = (
    "beside each method that is no baseline, on the same problems: random_switch with the same kept share of the big model (its share "
    "is sought: 1 to 6 chains for each chain of the method, mostly 2), and small_only's vote at equal cost (as many chains of small as "
    "cost what the method does, 64 at most; and 5 of small, for all methods together, to learn what they cost)"
)


@Parameter(name="*")
@dataclass(frozen=True)
class PriceFlags:
    """Holds the prices from which costs are computed."""

    prices: Annotated[
        Path | None,
        Parameter(
            help="a TOML file: prices of tokens and of devices, and the models' parameters (docs/statistics.md) "
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
        lacking = found.lacking({role: " ".join(specs) for role, specs in roles.items() if specs})
        if lacking:
            raise UsageError(f"prices {self.prices}: {lacking[0]} is missing; give it, or leave that view out of the file")
        return found


@Parameter(name="*")
@dataclass(frozen=True)
class ControlFlags:
    """Holds which controls run beside the methods."""

    controls: Annotated[bool, Parameter(help=CONTROLS, group=COSTS)] = True
    equal_cost: Annotated[View, Parameter(help="the view in which small's vote costs what the method does", group=COSTS)] = "flops"


DEFAULT_PRICES = PriceFlags()
DEFAULT_CONTROLS = ControlFlags()
