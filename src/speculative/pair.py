"""The pair: the engines that fill the roles, opened and closed together."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from msgspec import Struct, structs

from speculative.engines.base import Engine
from speculative.errors import UnsupportedMethodError, UsageError
from speculative.hiding import hidden
from speculative.methods.base import Method, name_of, needs_of
from speculative.secret import secret

if TYPE_CHECKING:
    from speculative.engines.vllm.launch import Launch

OF_THE_PAIR = ("big", "small")
BUNDLED = {"big": "bundled:big", "small": "bundled:small"}


class EngineOptions(Struct, frozen=True):
    """What an engine may need besides its spec.

    `model`: which one, where a server has several. `key`: the server's secret (else `SPECULATIVE_BIG_KEY` and its like for the other
    roles, or `SPECULATIVE_KEY`, of the environment or `.env`). `tokenizer`: a folder, a tokenizer.json or a hub name, where the server
    does not say a usable one. `dialect`: where it cannot be told from the vocabulary. `context`: positions of the model, where the
    server does not say them.

    For a model that a server is started for: `gpus` (numbers, joined by commas), `port` (0: a free one), `args` (passed on),
    `vllm` (the Python that has vLLM), `keep` (leave the server running; the next command uses it).
    """

    model: str | None = None
    key: str | None = None
    tokenizer: str | None = None
    dialect: str | None = None
    context: int | None = None
    gpus: str | None = None
    port: int = 0
    args: str = ""
    vllm: str | None = None
    keep: bool = False


Spec = str | Sequence[str]
"""`bundled:big`, `bundled:small`, the address of a server, the addresses of several that run the same model, a model's hub
name or folder, for which vLLM is started, or a GGUF file, for which llama.cpp's server is started."""

TELLING = ("model", "tokenizer", "dialect", "context", "args")
"""The options that decide what an engine writes; the others say where it runs."""

HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
ADDRESS = re.compile(r"\s*https?://", re.IGNORECASE)


class Pair(Mapping[str, Engine]):
    """Engines by role: `big`, `small`, and optionally `judge`. An asynchronous context manager that closes them."""

    def __init__(self, big: Engine, small: Engine, judge: Engine | None = None) -> None:
        self._engines = {"big": big, "small": small} | ({"judge": judge} if judge else {})

    @classmethod
    def open(
        cls,
        big: Spec = BUNDLED["big"],
        small: Spec = BUNDLED["small"],
        judge: Spec | None = None,
        *,
        options: Mapping[str, EngineOptions] | None = None,
        tell: Callable[[str], None] | None = None,
    ) -> Pair:
        """Opens the engines that the specs name; `options` are by role. `tell` is called while servers load, or say nothing, with a line
        for the user; what it raises ends the opening.

        Raises `UsageError` for a spec that is none, and the engines' own errors. It waits for servers: call it in a thread from a
        program that has an event loop.
        """
        specs = {"big": big, "small": small} | ({"judge": judge} if judge else {})
        chosen = {role: keyed(role, (options or {}).get(role, EngineOptions())) for role in specs}
        served = {role: spec for role, spec in specs.items() if isinstance(spec, str) and starts(spec)}
        engines: dict[str, Engine] = {role: engine(spec, chosen[role], tell) for role, spec in specs.items() if role not in served}
        if served:
            from speculative.engines.vllm.engine import VllmEngine

            launches = [(launch_of(spec, chosen[role]), _own(chosen[role])) for role, spec in served.items()]
            engines |= zip(served, VllmEngine.serve_all(launches, tell), strict=True)
        return cls(**engines)

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
        """Closes every engine once, side by side, also when another one fails to close."""
        engines = {id(engine): engine for engine in self._engines.values()}.values()
        for failed in await asyncio.gather(*(engine.aclose() for engine in engines), return_exceptions=True):
            if failed is not None:
                raise failed

    def check(self, method: Method) -> None:
        """Raises `UnsupportedMethodError` if an engine lacks what the method needs of its role."""
        for role, needs in needs_of(method).items():
            if role not in self._engines:
                raise UnsupportedMethodError(f"{name_of(method)} needs an engine for the role {role}; give one with --{role}")
            missing = needs - self._engines[role].abilities
            if missing:
                raise UnsupportedMethodError(
                    f"{name_of(method)} needs {', '.join(sorted(missing))} of the {role} model, which {self._engines[role].name} "
                    f"does not have; it can serve {', '.join(self._served()) or 'no method'}"
                )

    def check_survivor(self, method: Method, survivor: str) -> None:
        """Raises `UnsupportedMethodError` if the survivor (`Problem.degrade`) could not do what the method needs of the other role."""
        for role, needs in needs_of(method).items():
            if survivor in self._engines and role in OF_THE_PAIR and (missing := needs - self._engines[survivor].abilities):
                raise UnsupportedMethodError(
                    f"degrade: {survivor} could not go on without {role}: {name_of(method)} needs {', '.join(sorted(missing))} of it, "
                    f"which {self._engines[survivor].name} does not have; leave degrade out, or choose another method"
                )

    def _served(self) -> list[str]:
        """The methods whose needs are met."""
        from speculative.methods.registry import names, registered

        return [name for name in names() if self._meets(registered()[name].needs)]

    def _meets(self, needs: Mapping[str, set[str]]) -> bool:
        return all(role in self._engines and asked <= self._engines[role].abilities for role, asked in needs.items())


def engine(spec: Spec, options: EngineOptions | None = None, tell: Callable[[str], None] | None = None) -> Engine:
    """The engine that a spec names; `tell` as for `Pair.open`. Raises `UsageError`, and what the engine raises as it opens."""
    options = options or EngineOptions()
    specs = [spec] if isinstance(spec, str) else list(spec)
    kind = kind_of(specs)
    if kind == "bundled":
        from speculative.engines.local import BundledEngine

        return BundledEngine.open(specs[0].removeprefix("bundled:"))
    if kind == "server":
        from speculative.engines.http.engine import OpenAIEngine

        return OpenAIEngine.open(specs, tell=tell, model=options.model, **_own(options))
    from speculative.engines.vllm.engine import VllmEngine

    return VllmEngine.serve(launch_of(specs[0], options), tell, **_own(options))


def kind_of(specs: Sequence[str]) -> Literal["bundled", "server", "model"]:
    """What fills a role. Raises `UsageError` for what names no engine."""
    if len(specs) == 1 and specs[0] in BUNDLED.values():
        return "bundled"
    if specs and all(ADDRESS.match(one) for one in specs):
        return "server"
    if len(specs) == 1 and starts(specs[0]):
        return "model"
    known = "bundled:big, bundled:small, http://HOST:PORT/v1, a model's hub name or folder (with vLLM), and a GGUF file (with llama.cpp)"
    raise UsageError(f"engine {', '.join(specs)!r} is none that this version can open; it opens {known}")


def starts(spec: str) -> bool:
    """Whether a spec names a model that a server has to be started for."""
    from speculative.engines.llamacpp.models import names_gguf

    return names_gguf(spec) or bool(HUB_NAME.fullmatch(spec)) or ("/" in spec and "://" not in spec and _folder(spec).is_dir())


def launch_of(spec: str, options: EngineOptions) -> Launch:
    """How a server is started for a model: llama.cpp's for a GGUF file, which is fetched from the hub where it is named so, else vLLM."""
    from speculative.engines.llamacpp.models import find, names_gguf
    from speculative.engines.vllm.launch import Launch

    if names_gguf(spec):
        from speculative.engines.llamacpp.launch import LlamaLaunch

        return LlamaLaunch(str(find(spec)), None, options.gpus, options.port, options.args, options.model, keep=options.keep)
    folder = _folder(spec)
    model = str(folder.absolute()) if folder.is_dir() else spec  # in full: a command that looks for its server may stand elsewhere
    return Launch(model, options.vllm, options.gpus, options.port, options.args, options.model, keep=options.keep)


def _folder(spec: str) -> Path:
    return Path(os.path.expanduser(spec))  # noqa: PTH111 (pathlib's raises where there is no such user)


def _own(options: EngineOptions) -> dict[str, Any]:
    """How the engine on a server that was started is opened."""
    own = {"secret": options.key, "dialect": options.dialect, "context": options.context}
    return own | ({"tokenizer": options.tokenizer} if options.tokenizer else {})


def kept(specs: Mapping[str, Spec], options: Mapping[str, EngineOptions]) -> dict[str, str]:
    """The engines as they are kept with samples: what fills each role in one string, and, as `big_model` and the like, the options
    that decide what it writes. Without secrets."""
    told = {role: spec if isinstance(spec, str) else " ".join(spec) for role, spec in specs.items() if spec}
    more = {f"{role}_{name}": getattr(options[role], name) for role in told if role in options for name in TELLING}
    return {name: hidden(str(value)) for name, value in (told | more).items() if value}


def keyed(role: str, options: EngineOptions) -> EngineOptions:
    """The options with the role's secret out of the environment or `.env`, if none is given."""
    key = options.key or secret(f"SPECULATIVE_{role.upper()}_KEY") or secret("SPECULATIVE_KEY")
    return structs.replace(options, key=key)
