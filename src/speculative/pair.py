"""The pair: the engines that fill the roles, opened and closed together."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

from pydantic import ValidationError

from speculative._sync import run_in_background
from speculative.engines.base import Engine
from speculative.engines.options import (
    BUNDLED,
    ROLES,
    WRITING,
    EngineOptions,
    Spec,
    engine_kind,
    is_model_name,
    with_api_key,
)
from speculative.errors import EngineClosedError, SpeculativeError, UnsupportedMethodError, UsageError, quote, shown_value
from speculative.files import expand_home, is_folder
from speculative.methods.base import Method
from speculative.problem import WRITERS

if TYPE_CHECKING:
    from speculative.engines.vllm.launch import LaunchConfig

IGNORED = tuple(name for name in WRITING if name != "context")
"""Options that would change what a bundled model writes, and cannot. Options that say where a model runs change nothing."""
CHAT = "chat"
"""The dialect that makes a server a chat endpoint: it only replies to conversations."""


class Pair(Mapping[str, Engine]):
    """The engines of the roles `big`, `small` and, optionally, `judge`.

    Leaving the `async with` block closes them.
    """

    def __init__(self, big: Engine, small: Engine, judge: Engine | None = None) -> None:
        self._engines = {"big": big, "small": small} | ({} if judge is None else {"judge": judge})
        for role, engine in self._engines.items():
            _check_engine(role, engine)

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
        """Opens engines and waits until their servers are ready.

        Programs with an event loop use `connect`.

        Args:
            big: the spec of the big model's engine.
            small: the spec of the small model's engine.
            judge: the spec of a judge, for methods that need one.
            options: the options of the engines, by role.
            tell: a listener that gets a line for the user while servers load. An error that it raises stops the opening.

        Raises:
            UsageError: A spec names no engine.
            EngineError: An engine cannot be opened.
        """
        specs = {"big": big, "small": small} | ({} if judge is None else {"judge": judge})
        for role, spec in specs.items():
            check_spec(role, spec)
        _check_options(options, tell)
        chosen = {role: with_api_key(role, (options or {}).get(role, EngineOptions())) for role in specs}
        served = {role: spec for role, spec in specs.items() if isinstance(spec, str) and is_model_name(spec)}
        engines: dict[str, Engine] = {role: open_engine(spec, chosen[role], tell) for role, spec in specs.items() if role not in served}
        if served:
            from speculative.engines.vllm.engine import VllmEngine

            launches = {role: (launch_config(spec, chosen[role]), _client_options(chosen[role])) for role, spec in served.items()}
            engines |= VllmEngine.serve_all(launches, tell)
        return cls(**engines)

    @classmethod
    async def connect(
        cls,
        big: Spec = BUNDLED["big"],
        small: Spec = BUNDLED["small"],
        judge: Spec | None = None,
        *,
        options: Mapping[str, EngineOptions] | None = None,
        tell: Callable[[str], None] | None = None,
    ) -> Pair:
        """Opens engines as `open` does, for programs with an event loop.

        Cancelling it stops the opening.
        """
        cancelled = threading.Event()

        def report(line: str) -> None:
            if cancelled.is_set():
                raise EngineClosedError("the opening of the pair was cancelled")
            if tell:
                tell(line)

        opening = asyncio.ensure_future(asyncio.to_thread(cls.open, big, small, judge, options=options, tell=report))
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            cancelled.set()
            with suppress(SpeculativeError):  # engines that were opened meanwhile are closed
                await (await opening).aclose()
            raise

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
        """Closes all engines concurrently.

        One that fails to close does not keep the others open.
        """
        engines = {id(engine): engine for engine in self._engines.values()}.values()
        for failed in await asyncio.gather(*(engine.aclose() for engine in engines), return_exceptions=True):
            if failed is not None:
                raise failed

    def check(self, method: Method) -> None:
        """Raises `UnsupportedMethodError` if an engine lacks an ability."""
        for role in self._continuing(method):
            raise UnsupportedMethodError(
                f"{method.full_name} continues text with the {role} model, and {self._engines[role].name} cannot continue a text; "
                f"these engines can run {', '.join(self.served()) or 'no method'}"
            )
        for role, needs in method.required_abilities().items():
            if role not in self._engines:
                raise UnsupportedMethodError(f"{method.full_name} needs an engine for the role {role}; give one with --{role}")
            missing = needs - self._engines[role].abilities
            if missing:
                raise UnsupportedMethodError(
                    f"{method.full_name} needs {', '.join(sorted(missing))} of the {role} model, which {self._engines[role].name} "
                    f"lacks; these engines can run {', '.join(self.served()) or 'no method'}"
                )

    def check_survivor(self, method: Method, survivor: str) -> None:
        """Raises `UnsupportedMethodError` if the survivor lacks an ability."""
        if survivor in self._engines and "continue" not in self._engines[survivor].abilities:
            raise UnsupportedMethodError(
                f"degrade={survivor} cannot continue without {'small' if survivor == 'big' else 'big'}: {self._engines[survivor].name} "
                f"cannot continue a text; leave degrade out"
            )
        for role, needs in method.required_abilities().items():
            if survivor in self._engines and role in WRITERS and (missing := needs - self._engines[survivor].abilities):
                raise UnsupportedMethodError(
                    f"degrade={survivor} cannot continue without {role}: {method.full_name} needs {', '.join(sorted(missing))} of it, "
                    f"which {self._engines[survivor].name} lacks; leave degrade out, or choose another method"
                )

    def served(self) -> list[str]:
        """Returns the methods that these engines can run, as they are spelled."""
        from speculative.methods.registry import names, registered
        from speculative.methods.spec import format_method

        found: list[str] = []
        for name in names():
            kind = registered()[name]
            ways: list[dict[str, Any]] = [{}, kind.asks_with] if kind.asks_with else [{}]
            found += [format_method(name, params) for params in ways if self._can_run(kind, params)][:1]
        return found

    def _can_run(self, kind: type[Method], params: Mapping[str, Any]) -> bool:
        """Returns whether the engines can run a method with these parameters."""
        try:
            method = kind.model_validate(params)
        except ValidationError:  # a method of another package may need more of them
            return False
        return not self._continuing(method) and self._meets(method.required_abilities())

    def _continuing(self, method: Method) -> list[str]:
        """Returns the roles whose engine must continue text for a method, and cannot."""
        used = method.uses() - method.only_asked
        return [role for role in WRITERS if role in used and role in self._engines and "continue" not in self._engines[role].abilities]

    def _meets(self, needs: Mapping[str, set[str]]) -> bool:
        return all(role in self._engines and abilities <= self._engines[role].abilities for role, abilities in needs.items())


def _check_engine(role: str, engine: object) -> None:
    """Raises `UsageError` for an object that cannot be an engine."""
    abilities: object = getattr(engine, "abilities", None)
    if abilities is None:
        raise UsageError(f"{role} must be an Engine, got {quote(engine)}; Pair.open opens one by its spec")
    if not isinstance(abilities, Set):
        raise UsageError(f"the abilities of the engine {getattr(engine, 'name', role)} must be a set, got {shown_value(abilities)}")


def check_spec(name: str, spec: object) -> None:
    """Raises `UsageError` for what is neither a text nor a list of texts."""
    several = cast("Sequence[object]", spec if isinstance(spec, list | tuple) else [spec])
    wrong = [one for one in several if not isinstance(one, str)]
    if wrong or not several:
        raise UsageError(
            f"{name} must be the spec of an engine or a list of addresses, got {quote(wrong[0] if wrong else cast('object', spec))}"
        )


def _check_options(options: object, tell: object) -> None:
    """Raises `UsageError` for options of no role, and for a listener of another type."""
    if not isinstance(options, Mapping | None):
        raise UsageError(f"options must be a mapping of roles to EngineOptions, got {quote(options)}")
    for role, one in cast("Mapping[object, object]", options or {}).items():
        if role not in ROLES:
            raise UsageError(f"options must be of the roles {', '.join(ROLES)}, got {quote(role)}")
        if not isinstance(one, EngineOptions):
            raise UsageError(f"the options of {role} must be EngineOptions, got {type(one).__name__}; write EngineOptions(key=…)")
    if tell is not None and not callable(tell):
        raise UsageError(f"tell must be a function that takes a line, got {quote(tell)}")


def open_engine(spec: Spec, options: EngineOptions | None = None, tell: Callable[[str], None] | None = None) -> Engine:
    """Opens one engine; the arguments are those of `Pair.open`.

    Raises:
        UsageError: The spec names no engine.
        EngineError: The engine cannot be opened.
    """
    check_spec("the engine", spec)
    options = options or EngineOptions()
    specs = [spec] if isinstance(spec, str) else list(spec)
    kind = engine_kind(specs)
    if kind == "bundled":
        from speculative.engines.local import BundledEngine

        for name in IGNORED:
            if (value := getattr(options, name)) != getattr(EngineOptions(), name):
                raise UsageError(f"{name} must be left out for {specs[0]}, which runs in this process, got {quote(value)}")
        return BundledEngine.open(specs[0].removeprefix("bundled:"), context=options.context)
    if kind == "tower":
        return _open_tower(specs[0], options, tell)
    if kind == "server":
        from speculative.engines.http.engine import OpenAIEngine

        client = _client_options(options)
        if options.dialect == CHAT:
            from speculative.engines.http.chat import ChatEngine

            return ChatEngine.open(specs, tell=tell, model=options.model, **client)
        return OpenAIEngine.open(specs, tell=tell, model=options.model, **client)
    from speculative.engines.vllm.engine import VllmEngine

    return VllmEngine.serve(launch_config(specs[0], options), tell, **_client_options(options))


def _open_tower(spec: str, options: EngineOptions, tell: Callable[[str], None] | None) -> Engine:
    """Opens a tower with its pair. A pair that cannot be one engine is closed again."""
    from speculative.tower.engine import TowerEngine
    from speculative.tower.opening import tower_plan

    plan = tower_plan(spec, options)
    judge = plan.engines.get("judge")
    pair = Pair.open(plan.engines["big"], plan.engines["small"], judge, options=plan.options, tell=tell)
    try:
        pair.check(plan.method)
        pair.check_survivor(plan.method, plan.degrade)
        return TowerEngine(plan.method, pair, degrade=plan.degrade)
    except BaseException:
        run_in_background(pair.aclose())
        raise


def launch_config(spec: str, options: EngineOptions) -> LaunchConfig:
    """Returns the launch of a model's server: llama.cpp for GGUF, else vLLM."""
    from speculative.engines.llamacpp.models import find, names_gguf
    from speculative.engines.vllm.launch import LaunchConfig

    if names_gguf(spec):
        from speculative.engines.llamacpp.launch import LlamaLaunch

        return LlamaLaunch(str(find(spec)), None, options.gpus, options.port, options.args, options.model, keep=options.keep)
    model = str(expand_home(spec).absolute()) if is_folder(spec) else spec  # absolute, so that commands in other folders find the server
    return LaunchConfig(model, options.vllm, options.gpus, options.port, options.args, options.model, keep=options.keep)


def _client_options(options: EngineOptions) -> dict[str, Any]:
    """Returns the arguments with which the client of a server is opened."""
    own = {"secret": options.key, "dialect": options.dialect, "context": options.context}
    return own | ({"tokenizer": options.tokenizer} if options.tokenizer else {})
