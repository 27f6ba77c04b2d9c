"""The state that all requests share: settings, pair, queue and metrics."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

from speculative import __version__
from speculative.errors import SpeculativeError
from speculative.pair import Pair
from speculative.redaction import Redactor, without_address
from speculative.serve.body import BodyDeadlines
from speculative.serve.completion_writer import encode
from speculative.serve.errors import ApiError
from speculative.serve.health import EngineProbe
from speculative.serve.logs import log
from speculative.serve.method_list import method_list
from speculative.serve.metrics import Metrics
from speculative.serve.models import ModelCatalog
from speculative.serve.queue import ChainQueue
from speculative.serve.request import RequestReader
from speculative.serve.security import check_bind
from speculative.settings import Settings

PairOpener = Callable[[], Awaitable[Pair]]


class ServiceState:
    """The state of one service. `failure`: the error that kept the pair from opening."""

    def __init__(self, settings: Settings, open_pair: PairOpener, on_failure: Callable[[], None] | None = None) -> None:
        """Raises `UsageError` for settings that contradict each other."""
        self.settings = settings
        self.keys = check_bind(settings)
        self.reader = RequestReader(settings)
        self.queue = ChainQueue(settings.max_chains, settings.max_waiting, settings.queue_seconds)
        self.metrics = Metrics(self.queue)
        self.redact = Redactor(self.keys)
        self.created = int(time.time())
        self.models = ModelCatalog(self.reader.presets, settings.method, self.created, None)
        self.methods = encode(method_list(settings, None, __version__))
        self.bodies = BodyDeadlines()
        self.failure: Exception | None = None
        self._open_pair, self._on_failure = open_pair, on_failure
        self._pair: Pair | None = None
        self._probes: dict[int, EngineProbe] = {}

    @property
    def loaded(self) -> bool:
        """True once the models are loaded."""
        return self._pair is not None

    @property
    def pair(self) -> Pair:
        """The engines. Raises `ApiError` (503) while the models are loading."""
        if self._pair is None:
            raise ApiError(
                503,
                "the models are still loading; GET /ready says when they are loaded",
                code="loading",
                retry_after=2,
            )
        return self._pair

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Opens the pair in the background, and closes it at the end."""
        loading = asyncio.create_task(self._load())
        try:
            yield
        finally:
            self.close()
            loading.cancel()
            await asyncio.gather(loading, return_exceptions=True)
            for probe in self._probes.values():
                await probe.aclose()
            if self._pair is not None:
                await self._pair.aclose()

    def close(self) -> None:
        """Turns away waiting requests, and stops waiting for bodies on their way."""
        self.queue.close()
        self.bodies.close()

    async def readiness(self) -> tuple[str, str]:
        """Returns the reason why the service is not ready, and the missing model.

        Both are empty when both engines answer. Neither holds an address, since any client may ask; the log has it.
        """
        if self.queue.closed:
            return "the service is shutting down", ""
        if self._pair is None:
            return "the models cannot be opened; the log says why" if self.failure else "the models are loading", ""
        answers = await asyncio.gather(*(self._probes[id(engine)].answers() for engine in self._pair.values()))
        silent = {role: f"the {role} model does not answer" for role, answered in zip(self._pair, answers, strict=True) if not answered}
        missed = silent.pop({"big": "small", "small": "big"}.get(self.settings.degrade, ""), "")
        return next(iter(silent.values()), ""), missed

    async def _load(self) -> None:
        began = time.perf_counter()
        try:
            pair = await self._open_pair()
        except Exception as error:  # noqa: BLE001  else the service would load for ever
            expected = isinstance(error, SpeculativeError | OSError)
            self.failure = error
            log("the models cannot be opened", 40, reason=self.redact(str(error)), error=None if expected else error)
            if self._on_failure:
                self._on_failure()
            return
        self.models, self._pair = ModelCatalog(self.reader.presets, self.settings.method, self.created, pair), pair
        self.methods = encode(method_list(self.settings, pair, __version__))
        self.reader.big_names = tuple(dict.fromkeys((without_address(pair["big"].name), "big")))
        self._probes = {id(engine): EngineProbe(engine, self.redact) for engine in pair.values()}
        names = {role: engine.name for role, engine in pair.items()}
        log("ready", engines=names, seconds=round(time.perf_counter() - began, 3))
