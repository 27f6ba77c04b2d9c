"""The flags that several commands share: engines, servers, sampling and limits, prices, controls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Group, Parameter, Token

from speculative.cli._progress import LoadingLine
from speculative.cli._signals import raise_on_signal
from speculative.errors import UsageError
from speculative.pair import BUNDLED, EngineOptions, Pair, Spec, kept, starts
from speculative.problem import Degrade, Problem, Sampling
from speculative.stats.cost import View
from speculative.stats.prices import Prices


def parse_int(_: Any, tokens: Sequence[Token]) -> int:
    """Reads a whole number, and nothing that would have to be rounded to one."""
    try:
        return int(tokens[0].value)
    except ValueError:
        raise ValueError(f"{tokens[0].value!r} is no whole number") from None


SERVERS = Group("Servers", sort_key=6)

MODEL = Parameter(help="which model, where a server has several", group=SERVERS)
BIG_KEY = Parameter(help="the server's key; better in the environment (SPECULATIVE_BIG_KEY)", group=SERVERS)
SMALL_KEY = Parameter(help="the server's key; better in the environment (SPECULATIVE_SMALL_KEY)", group=SERVERS)
TOKENIZER = Parameter(help="folder, tokenizer.json or hub name, where the server does not say a usable one", group=SERVERS)
DIALECT = Parameter(help="the model's family, where it cannot be told from its tokens", group=SERVERS)
GPUS = Parameter(help="numbers of the GPUs for the server that is started, as 0 or 0,1", group=SERVERS)
PORT = Parameter(help="its port; a server that answers there, or is being loaded, is used [default: a free one]", group=SERVERS)
ARGS = Parameter(help="more flags for vLLM, in one string", group=SERVERS, allow_leading_hyphen=True, show_default=False)

HIDDEN = Parameter(show=False)


@dataclass(frozen=True)
class ServerFlags:
    """What servers need to be told, role by role."""

    big_model: Annotated[str | None, MODEL] = None
    big_key: Annotated[str | None, BIG_KEY] = None
    big_tokenizer: Annotated[str | None, TOKENIZER] = None
    big_dialect: Annotated[str | None, DIALECT] = None
    big_gpus: Annotated[str | None, GPUS] = None
    big_port: Annotated[int | None, PORT] = None
    big_args: Annotated[str, ARGS] = ""
    small_model: Annotated[str | None, MODEL] = None
    small_key: Annotated[str | None, SMALL_KEY] = None
    small_tokenizer: Annotated[str | None, TOKENIZER] = None
    small_dialect: Annotated[str | None, DIALECT] = None
    small_gpus: Annotated[str | None, GPUS] = None
    small_port: Annotated[int | None, PORT] = None
    small_args: Annotated[str, ARGS] = ""
    judge_model: Annotated[str | None, HIDDEN] = None
    judge_key: Annotated[str | None, HIDDEN] = None
    judge_tokenizer: Annotated[str | None, HIDDEN] = None
    judge_dialect: Annotated[str | None, HIDDEN] = None
    judge_gpus: Annotated[str | None, HIDDEN] = None
    judge_port: Annotated[int | None, HIDDEN] = None
    judge_args: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)] = ""
    terminate_on_exit: Annotated[
        bool,
        Parameter(
            help="end the servers that were started here with the command; if not, the next one uses them and `speculative down` ends them",
            group=SERVERS,
        ),
    ] = True
    vllm: Annotated[str | None, Parameter(help="the Python that has vLLM, to start servers with", group=SERVERS)] = None

    def options(self) -> dict[str, EngineOptions]:
        """The same, by role."""
        return {role: self._of(role) for role in ("big", "small", "judge")}

    def _of(self, role: str) -> EngineOptions:
        names = ("model", "key", "tokenizer", "dialect", "gpus", "args")
        given = {name: getattr(self, f"{role}_{name}") for name in names}
        return EngineOptions(**given, port=getattr(self, f"{role}_port") or 0, vllm=self.vllm, keep=not self.terminate_on_exit)


SPEC = "bundled:big, the address of a server (repeat the flag for replicas), or a model's hub name or folder, for which vLLM is started"

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
        with raise_on_signal() if any(map(starts, (*self.big, *self.small, *self.judge))) else nullcontext(), LoadingLine() as tell:
            return self._open(tell)

    def _open(self, tell: Callable[[str], None] | None) -> Pair:
        return Pair.open(join_specs(self.big), join_specs(self.small), join_specs(self.judge) or None, options=self.options(), tell=tell)


def join_specs(specs: tuple[str, ...]) -> Spec:
    """One spec stands for itself; several are replicas."""
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


COSTS = Group("Costs and controls", sort_key=2)
CONTROLS = (
    "beside each method that is no baseline, on the same problems: random_switch with the same kept share of the big model (its share "
    "is sought: 1 to 6 chains for each chain of the method, mostly 2), and small_only's vote at equal cost (as many chains of small as "
    "cost what the method does, 64 at most; and 5 of small, for all methods together, to learn what they cost)"
)


@Parameter(name="*")
@dataclass(frozen=True)
class PriceFlags:
    """What chains cost."""

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
        """The prices of the file; none for the bundled pair's. Raises `UsageError`, also if the file lacks one of the engines."""
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
    """Which controls run beside the methods."""

    controls: Annotated[bool, Parameter(help=CONTROLS, group=COSTS)] = True
    equal_cost: Annotated[View, Parameter(help="the view in which small's vote costs what the method does", group=COSTS)] = "flops"


DEFAULT_PRICES = PriceFlags()
DEFAULT_CONTROLS = ControlFlags()
