"""The engine on a vLLM that was started for it."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from speculative.engines.base import CallStats, Completion, Decoding, Delta, Ids, Scores
from speculative.engines.http.engine import OpenAIEngine
from speculative.engines.vllm.launch import LaunchConfig, Tell, start, wait_ready
from speculative.engines.vllm.process import ServerProcess, end_all
from speculative.errors import EngineError

LOG = logging.getLogger("speculative.engines")


class VllmEngine(OpenAIEngine):
    """`Engine` over a server that was started for it. `aclose` ends the server too."""

    running: ServerProcess

    @classmethod
    def serve(cls, launch: LaunchConfig, tell: Tell | None = None, **options: Any) -> VllmEngine:
        """Starts a server and opens the engine on it. A failure ends the server."""
        return cls.serve_all([(launch, options)], tell)[0]

    @classmethod
    def serve_all(cls, launches: Sequence[tuple[LaunchConfig, dict[str, Any]]], tell: Tell | None = None) -> list[VllmEngine]:
        """Starts several servers at once, which load side by side."""
        begun: list[ServerProcess] = []
        engines: list[VllmEngine] = []
        try:
            for launch, _ in launches:
                begun.append(start(launch))  # one by one: if the second fails, the first one is known
            for running, (launch, options) in zip(begun, launches, strict=True):
                engine = cls.open(wait_ready(running, launch, tell).url, tell=tell, **{"tokenizer": _tokenizer(launch), **options})
                assert isinstance(engine, cls), "connect makes one of this class"
                engine.running = running
                engine.warn_wrong_model(launch)
                engines.append(engine)
        except BaseException:
            end_all(begun)
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
            await asyncio.to_thread(self.running.stop)


def _tokenizer(launch: LaunchConfig) -> str | None:
    """Returns the folder itself if the model is one."""
    return launch.model if Path(launch.model).expanduser().is_dir() else None
