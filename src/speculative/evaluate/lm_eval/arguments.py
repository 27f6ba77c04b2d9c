"""What `--model_args` says: the method with its parameters, the engines, limits, and where the run is kept.

lm-eval splits at commas, so `|` stands for the comma inside a value: `big_gpus=0|1`, `with=early_exit|vote(ballots=3)`,
`big=http://one/v1|http://another/v1`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from speculative.engines.options import BUNDLED, EngineOptions, Spec, describe_engines
from speculative.errors import UnknownNameError, UsageError
from speculative.evaluate.runner import sample_settings
from speculative.methods.base import Method
from speculative.methods.registry import build, find, split
from speculative.methods.spec import Contender, spell
from speculative.problem import Problem, Sampling

ROLES = ("big", "small", "judge")
OPTIONS = ("model", "tokenizer", "dialect", "context", "gpus", "port", "args")
SAMPLING = ("temperature", "top_p", "top_k")
LIMITS = ("seed", "max_tokens", "max_produced", "max_seconds", "answer_instruction", "degrade", "prefill_every")
DOOR = ("method", "with", *ROLES, "vllm", "terminate_on_exit", *SAMPLING, *LIMITS, "chains", "out", "data")
"""What this door takes, beside the engines' options (`big_gpus`) and the method's own parameters."""

UNUSED = ("pretrained", "trust_remote_code")
"""What lm-eval itself puts there: `pretrained` names the folder of its results."""

SERVICE = (
    "service= is not taken; a running `speculative serve` is used through lm-eval's own model: "
    "--model local-chat-completions --model_args base_url=http://HOST:8080/v1/chat/completions,model=speculative"
)

SECRETS = {f"{role}_key": f"SPECULATIVE_{role.upper()}_KEY" for role in ROLES}

METHOD = "random_switch"
CHAINS = 16


class Arguments(Struct, frozen=True):
    """One run. `problem` carries sampling, budget and seed; `given` are the names that the user told; `method`, `wrappers` and
    `params` what the contender was built from."""

    contender: Contender
    problem: Problem
    specs: dict[str, Spec]
    options: dict[str, EngineOptions]
    chains: int
    given: frozenset[str]
    method: str
    wrappers: tuple[str, ...] = ()
    params: dict[str, Any] = {}
    out: Path | None = None

    def settings(self, problem: Problem) -> dict[str, Any]:
        """Returns the settings on which a sample depends, beside its method, problem and seed, as they read back from a file."""
        return sample_settings(problem, describe_engines(self.specs, self.options))


def read(values: Mapping[str, Any], batch_size: int | str | None = None) -> Arguments:
    """Raises `UsageError` that names the argument and its value, and `UnknownNameError`.

    `batch_size`: lm-eval's own; a number above 1 (which it says where nobody said anything) is the chains at once.
    """
    told = {name: _commas(value) for name, value in values.items() if name not in UNUSED and value is not None}
    params = {name: value for name, value in told.items() if name not in (*DOOR, *_OPTIONS)}
    door = {name: value for name, value in told.items() if name not in params}
    wrappers = tuple(split(str(door.get("with", "")), ","))
    name = str(door.get("method", METHOD))
    return Arguments(
        contender=Contender(spell(find(name).name(), params, wrappers), _built(name, params, wrappers)),
        problem=_problem(door),
        specs={role: _spec(door.get(role, BUNDLED.get(role))) for role in ROLES if role in BUNDLED or role in door},
        options={role: _options(role, door) for role in ROLES},
        chains=_chains(door, batch_size),
        given=frozenset(door),
        method=name,
        wrappers=wrappers,
        params=params,
        out=Path(str(door["out"])).expanduser() if "out" in door else None,
    )


_OPTIONS = tuple(f"{role}_{option}" for role in ROLES for option in OPTIONS)


def _commas(value: Any) -> Any:
    """`|` is a comma; lists (in JSON) are joined by one."""
    if isinstance(value, list):
        return ",".join(map(str, value))  # pyright: ignore[reportUnknownArgumentType]
    return value.replace("|", ",") if isinstance(value, str) else value


def _built(name: str, params: Mapping[str, Any], wrappers: tuple[str, ...]) -> Method:
    fields = [field for field in find(name).model_fields if field != "inner"]
    for unknown in params:
        if unknown in SECRETS:
            raise UsageError(
                f"{unknown}: lm-eval writes model_args into its results; put the key into the environment ({SECRETS[unknown]})"
            )
        if unknown == "service":
            raise UsageError(SERVICE)
        if unknown not in fields:
            raise UnknownNameError("model argument", unknown, [*fields, *DOOR, *_OPTIONS])
    return build(name, params, wrappers)


def _problem(door: Mapping[str, Any]) -> Problem:
    sampling = Sampling(**{name: door[name] for name in SAMPLING if name in door})
    limits = {name: door[name] for name in LIMITS if name in door}
    if "answer_instruction" in limits:
        limits["answer_instruction"] = str(limits["answer_instruction"])
    return Problem.of("every problem of the task in turn", sampling=sampling, **limits)


def _spec(told: Any) -> Spec:
    specs = split(str(told), ",")
    return specs[0] if len(specs) == 1 else tuple(specs)


def _options(role: str, door: Mapping[str, Any]) -> EngineOptions:
    given = {option: door[f"{role}_{option}"] for option in OPTIONS if f"{role}_{option}" in door}
    port = given.pop("port", 0)
    if isinstance(port, bool) or not isinstance(port, int) or not 0 <= port <= 65535:
        raise UsageError(f"{role}_port: {port!r} is no port, it must be from 0 to 65535")
    context = given.pop("context", None)
    if context is not None and (isinstance(context, bool) or not isinstance(context, int) or context < 1):
        raise UsageError(f"{role}_context must be a number of tokens of at least 1, got {context!r}")
    vllm = str(door["vllm"]) if "vllm" in door else None
    texts: dict[str, Any] = {option: str(value) for option, value in given.items()}
    return EngineOptions(**texts, context=context, port=port, vllm=vllm, keep=not door.get("terminate_on_exit", True))


def _chains(door: Mapping[str, Any], batch_size: int | str | None) -> int:
    told = str(batch_size or "")
    chains = door.get("chains", int(told) if told.isdecimal() and int(told) > 1 else CHAINS)
    if isinstance(chains, bool) or not isinstance(chains, int) or chains < 1:
        raise UsageError(f"chains: {chains!r} is out of range, it must be a whole number of at least 1")
    return chains
