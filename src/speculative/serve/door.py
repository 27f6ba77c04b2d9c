"""What all requests of one service share: the pair, who may enter, the metrics."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

from starlette.types import Scope

from speculative.errors import SpeculativeError
from speculative.pair import Pair
from speculative.serve.errors import Refusal
from speculative.serve.health import Probe
from speculative.serve.hosts import Hosts
from speculative.serve.logs import Scrubber, log
from speculative.serve.metrics import Metrics
from speculative.serve.models import ModelCatalog
from speculative.serve.queue import Admission
from speculative.serve.request import Jobs
from speculative.serve.security import Keys, check_bind
from speculative.settings import Settings

Opener = Callable[[], Awaitable[Pair]]


class Door:
    """The state of one service. `failed`: the pair could not be opened, and why."""

    def __init__(self, settings: Settings, opener: Opener, on_failure: Callable[[], None] | None = None) -> None:
        """Raises `UsageError` for settings that contradict each other."""
        self.settings = settings
        self.keys: Keys = check_bind(settings)
        self.hosts = Hosts(settings)
        self.jobs = Jobs(settings)
        self.admission = Admission(settings.max_chains, settings.max_waiting, settings.queue_seconds)
        self.metrics = Metrics(self.admission)
        self.scrub = Scrubber(settings.keys())
        self.began = int(time.time())
        self.failed: Exception | None = None
        self._opener, self._on_failure = opener, on_failure
        self._pair: Pair | None = None
        self._probes: dict[int, Probe] = {}
        self.models = ModelCatalog(settings, self.began, None)
        self.long_prompts = asyncio.Semaphore(1)

    @property
    def pair(self) -> Pair:
        """Raises `Refusal` (503) while the models are loading."""
        if self._pair is None:
            raise Refusal(
                503,
                "the models are still loading; GET /ready tells when they are there",
                kind="service_unavailable",
                code="loading",
                retry_after=2,
            )
        return self._pair

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[None]:
        """Opens the pair in the background, so that `/health` answers at once; closes it at the end."""
        loading = asyncio.create_task(self._load())
        try:
            yield
        finally:
            self.admission.close()
            loading.cancel()
            await asyncio.gather(loading, return_exceptions=True)
            for probe in self._probes.values():
                await probe.aclose()
            if self._pair is not None:
                await self._pair.aclose()

    async def unready(self) -> tuple[str, str]:
        """Why the service is not ready, and who is missing although it is, since the other one goes on alone (`degrade`).

        Both are empty when both engines answer. Neither names an address: anybody may ask, and the log has it.
        """
        if self.admission.closed:
            return "the service is shutting down", ""
        if self._pair is None:
            return "the models cannot be opened; the log says why" if self.failed else "the models are loading", ""
        answers = await asyncio.gather(*(self._probes[id(engine)].answers() for engine in self._pair.values()))
        silent = {role: f"the {role} model does not answer" for role, answered in zip(self._pair, answers, strict=True) if not answered}
        spared = silent.pop({"big": "small", "small": "big"}.get(self.settings.degrade, ""), "")
        return next(iter(silent.values()), ""), spared

    @staticmethod
    def request_id(scope: Scope) -> str:
        return scope.get("state", {}).get("request_id", "")

    async def _load(self) -> None:
        began = time.perf_counter()
        try:
            pair = await self._opener()
        except Exception as error:  # noqa: BLE001  # whatever it is: a service that loads for ever tells nobody
            foreseen = isinstance(error, SpeculativeError | OSError)
            self.failed = error
            log("the models cannot be opened", 40, told=self.scrub(str(error)), error=None if foreseen else error)
            if self._on_failure:
                self._on_failure()
            return
        self.models, self._pair = ModelCatalog(self.settings, self.began, pair), pair
        self._probes = {id(engine): Probe(engine, self.scrub) for engine in pair.values()}
        names = {role: engine.name for role, engine in pair.items()}
        log("ready", engines=names, seconds=round(time.perf_counter() - began, 3))
