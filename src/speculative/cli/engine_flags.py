"""The flags that say which engines fill the roles, how they sample, and what a chain may cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Annotated, Any

from cyclopts import Group, Parameter, Token

from speculative.cli.interrupt import raising
from speculative.cli.loading import Loading
from speculative.cli.server_flags import ServerFlags
from speculative.pair import BUNDLED, Pair, Spec, kept, starts
from speculative.problem import Degrade, Problem, Sampling


def whole(_: Any, tokens: Sequence[Token]) -> int:
    """Reads a whole number, and nothing that would have to be rounded to one."""
    try:
        return int(tokens[0].value)
    except ValueError:
        raise ValueError(f"{tokens[0].value!r} is no whole number") from None


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
    """Which engines fill the roles."""

    big: Annotated[tuple[str, ...], Parameter(help=f"the big model: {SPEC} [default: {BUNDLED['big']}]", **MANY)] = (BUNDLED["big"],)
    small: Annotated[tuple[str, ...], Parameter(help=f"the small model [default: {BUNDLED['small']}]", **MANY)] = (BUNDLED["small"],)
    judge: Annotated[tuple[str, ...], Parameter(help="a judge, for methods that ask for one", **MANY)] = ()

    @property
    def bundled(self) -> bool:
        """Whether one of the models is of the pair that ships."""
        return any(spec.startswith("bundled:") for spec in (*self.big, *self.small))

    @property
    def specs(self) -> dict[str, str]:
        """What fills each role and how, as it is kept with samples."""
        return kept({"big": self.big, "small": self.small, "judge": self.judge}, self.options())

    def open(self) -> Pair:
        """The pair; while servers load, the user is told how far they are."""
        with raising() if any(map(starts, (*self.big, *self.small, *self.judge))) else nullcontext(), Loading() as tell:
            return self._open(tell)

    def _open(self, tell: Callable[[str], None] | None) -> Pair:
        return Pair.open(spec_of(self.big), spec_of(self.small), spec_of(self.judge) or None, options=self.options(), tell=tell)


def spec_of(specs: tuple[str, ...]) -> Spec:
    """One spec stands for itself; several are replicas."""
    return specs[0] if len(specs) == 1 else specs


@Parameter(name="*")
@dataclass(frozen=True)
class ProblemFlags:
    """How the models sample, and what a chain may cost."""

    temperature: Annotated[float, Parameter(help="0 is greedy", group=LIMITS)] = Sampling().temperature
    top_p: Annotated[float, Parameter(help="sample from the likeliest tokens that hold this share", group=LIMITS)] = Sampling().top_p
    top_k: Annotated[int, Parameter(converter=whole, help="sample from so many of the likeliest tokens; 0 is all", group=LIMITS)] = (
        Sampling().top_k
    )
    seed: Annotated[int, Parameter(converter=whole, help="the same seed gives the same chain", group=LIMITS)] = 0
    max_tokens: Annotated[int, Parameter(converter=whole, help="tokens of the chain and its answer at most", group=LIMITS)] = 8192
    max_produced: Annotated[
        int | None, Parameter(converter=whole, help="tokens produced at most, discarded ones included", group=LIMITS)
    ] = None
    max_seconds: Annotated[float | None, Parameter(help="seconds at most", group=LIMITS)] = None
    answer_instruction: Annotated[
        str | None, Parameter(help="what is added to the problem to say how to answer [default: the model family's own]", group=LIMITS)
    ] = None

    degrade: Annotated[Degrade, Parameter(help="who goes on alone when the other one's server dies", group=LIMITS)] = "fail"
    warm_every: Annotated[
        int, Parameter(converter=whole, help="tokens after which the idle model is given what it has not seen; 0 is never", group=LIMITS)
    ] = 0

    def problem(self, text: str) -> Problem:
        """The problem of that text. Raises `UsageError`."""
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
