"""The engine on a vLLM that was started for it."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from speculative.engines.base import CallStats, Completion, Decoding, Delta, Ids, Scores
from speculative.engines.http.engine import OpenAIEngine
from speculative.engines.vllm.launch import LaunchConfig, Tell, wait_ready
from speculative.engines.vllm.mps import ServerGroup
from speculative.engines.vllm.process import ServerProcess, end_all
from speculative.errors import EngineError

LOG = logging.getLogger("speculative.engines")


class VllmEngine(OpenAIEngine):
    """`Engine` over a server that was started for it. `aclose` ends the server too."""

    running: ServerProcess
    on_end: Callable[[], None]
    """Is called when its server has ended."""

    @classmethod
    def serve(cls, launch: LaunchConfig, tell: Tell | None = None, **options: Any) -> VllmEngine:
        """Starts a server and opens the engine on it. A failure ends the server."""
        return cls.serve_all({"model": (launch, options)}, tell)["model"]

    @classmethod
    def serve_all(cls, launches: Mapping[str, tuple[LaunchConfig, dict[str, Any]]], tell: Tell | None = None) -> dict[str, VllmEngine]:
        """Starts several servers at once, by role, which load side by side.

        Those that share a GPU do so under MPS where the driver has it.
        """
        begun: dict[str, ServerProcess] = {}
        engines: dict[str, VllmEngine] = {}
        group = ServerGroup({role: launch for role, (launch, _) in launches.items()})
        if group.sharing:
            LOG.warning("%s", group.sharing)
        try:
            for role in launches:
                begun[role] = group.start(role)  # one by one: if the second fails, the first one is known
            for role, (launch, options) in launches.items():
                running = begun[role]
                engine = cls.open(wait_ready(running, launch, tell).url, tell=tell, **{"tokenizer": _tokenizer(launch), **options})
                assert isinstance(engine, cls), "connect makes one of this class"
                engine.running, engine.on_end = running, partial(group.leave, role)
                engine.warn_wrong_model(launch)
                engines[role] = engine
        except BaseException:
            end_all([*begun.values()])
            group.stop()
            raise
        return engines

    def warn_wrong_model(self, launch: LaunchConfig) -> None:
        """Warns if the server that answered on the port runs another model."""
        if self.running.process is None and not {self.server.model, self.server.source} & {launch.model, launch.name}:
            served, meant = self.server.model, launch.model
            told = "%s runs %s, not %s: %s is used as it is; for %s end that server, or choose another port (--big-port, --small-port)"
            LOG.warning(told, self.running.url, served, meant, served, meant)

    async def complete(self, prefixes: Sequence[Ids], decoding: Decoding, *, key: str, stats: CallStats) -> list[list[Completion]]:
        with self._naming_the_log():
            return await super().complete(prefixes, decoding, key=key, stats=stats)

    async def stream(self, prefix: Ids, decoding: Decoding, *, key: str, stats: CallStats) -> AsyncIterator[Delta]:
        with self._naming_the_log():
            stream = super().stream(prefix, decoding, key=key, stats=stats)
            try:
                async for delta in stream:
                    yield delta
            finally:
                if isinstance(stream, AsyncGenerator):  # who stops listening ends the call, and at once
                    await stream.aclose()

    async def score(
        self, prefixes: Sequence[Ids], continuations: Sequence[Ids], *, key: str, stats: CallStats, top: int = 0
    ) -> list[Scores]:
        with self._naming_the_log():
            return await super().score(prefixes, continuations, key=key, stats=stats, top=top)

    @contextmanager
    def _naming_the_log(self) -> Generator[None]:
        """Adds the log of a server of ours that died to the error."""
        try:
            yield
        except EngineError as error:
            if error.lost and self.running.log:
                self.running.blamed = True
                error.args = (f"{error}; its log: {self.running.log}",)
            raise

    async def aclose(self) -> None:
        """Closes the connections and ends the server."""
        import asyncio

        try:
            await super().aclose()
        finally:
            await asyncio.to_thread(self._end)

    def _end(self) -> None:
        self.running.stop()
        if not self.running.stays:
            self.on_end()


def _tokenizer(launch: LaunchConfig) -> str | None:
    """Returns the folder itself if the model is one."""
    return launch.model if Path(launch.model).expanduser().is_dir() else None
