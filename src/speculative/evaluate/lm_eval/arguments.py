"""Parses `--model_args`.

lm-eval splits at commas, so `|` stands for the comma inside a value: `big_gpus=0|1`, `with=early_exit|vote(ballots=3)`,
`big=http://one/v1|http://another/v1`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from speculative._plugins import split_spec
from speculative.engines.options import BUNDLED, ROLES, EngineOptions, Spec, describe_engines, flat_fields
from speculative.errors import UnknownNameError, UsageError
from speculative.evaluate.runner import sample_settings
from speculative.methods.base import Method
from speculative.methods.registry import DEFAULT_METHOD, build, find
from speculative.methods.spec import MethodSpec, label_of
from speculative.problem import Problem, Sampling

SAMPLING = Sampling.__struct_fields__
LIMITS = ("seed", "max_tokens", "max_produced", "max_seconds", "answer_instruction", "degrade", "prefill_every")
ENGINES = (*ROLES, *flat_fields(without=("key", "keep")), "terminate_on_exit")
NAMES = ("method", "with", *ENGINES, *SAMPLING, *LIMITS, "chains", "out", "data")
"""The arguments of every method; the parameters of the method come on top."""

UNUSED = ("pretrained", "trust_remote_code")
"""Arguments that lm-eval adds itself; `pretrained` names the folder of its results."""

SERVICE = (
    "service= is not taken; a running `speculative serve` is used through lm-eval's own model: "
    "--model local-chat-completions --model_args base_url=http://HOST:8080/v1/chat/completions,model=speculative"
)
CHAINS = 16


class Arguments(Struct, frozen=True):
    """The arguments of a run; `given` are the names that the user gave."""

    spec: MethodSpec
    problem: Problem
    specs: dict[str, Spec]
    options: dict[str, EngineOptions]
    chains: int
    given: frozenset[str]
    out: Path | None = None

    def settings(self, problem: Problem) -> dict[str, Any]:
        """Returns the settings on which a sample depends."""
        return sample_settings(problem, describe_engines(self.specs, self.options))


def read(values: Mapping[str, Any], batch_size: int | str | None = None) -> Arguments:
    """Reads the arguments.

    A `batch_size` of lm-eval above 1 is the number of concurrent chains.

    Raises:
        UsageError: A value is wrong, or a name is unknown; the error names it.
    """
    given = {name: _with_commas(value) for name, value in values.items() if name not in UNUSED and value is not None}
    params = {name: value for name, value in given.items() if name not in NAMES}
    wrappers = tuple(split_spec(str(given.get("with", "")), ","))
    name = str(given.get("method", DEFAULT_METHOD))
    return Arguments(
        spec=MethodSpec(label_of(name, params, wrappers), _build(name, params, wrappers)),
        problem=_problem(given),
        specs={role: _spec(given.get(role, BUNDLED.get(role))) for role in ROLES if role in BUNDLED or role in given},
        options={role: EngineOptions.of(role, given) for role in ROLES},
        chains=_chains(given, batch_size),
        given=frozenset(given),
        out=Path(str(given["out"])).expanduser() if "out" in given else None,
    )


def _with_commas(value: Any) -> Any:
    """Returns the value with commas for `|`; a JSON list is joined by commas."""
    if isinstance(value, list):
        return ",".join(map(str, value))  # pyright: ignore[reportUnknownArgumentType]
    return value.replace("|", ",") if isinstance(value, str) else value


def _build(name: str, params: Mapping[str, Any], wrappers: tuple[str, ...]) -> Method:
    fields = [field for field in find(name).model_fields if field != "inner"]
    for unknown in params:
        role = unknown.removesuffix("_key")
        if unknown != role in ROLES:
            variable = f"SPECULATIVE_{role.upper()}_KEY"
            raise UsageError(f"{unknown} cannot be taken, lm-eval writes model_args into its results; set {variable} in the environment")
        if unknown == "service":
            raise UsageError(SERVICE)
        if unknown not in fields:
            raise UnknownNameError("model argument", unknown, [*fields, *NAMES])
    return build(name, params, wrappers)


def _problem(given: Mapping[str, Any]) -> Problem:
    limits = {name: given[name] for name in LIMITS if name in given}
    if "answer_instruction" in limits:
        limits["answer_instruction"] = str(limits["answer_instruction"])
    return Problem.of("every problem of the task", sampling=Sampling(**{name: given[name] for name in SAMPLING if name in given}), **limits)


def _spec(value: Any) -> Spec:
    specs = split_spec(str(value), ",")
    return specs[0] if len(specs) == 1 else tuple(specs)


def _chains(given: Mapping[str, Any], batch_size: int | str | None) -> int:
    batch = str(batch_size or "")
    chains = given.get("chains", int(batch) if batch.isdecimal() and int(batch) > 1 else CHAINS)
    if isinstance(chains, bool) or not isinstance(chains, int) or chains < 1:
        raise UsageError(f"chains must be an integer of at least 1, got {chains!r}")
    return chains
