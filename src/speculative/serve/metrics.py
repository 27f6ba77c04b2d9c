"""What Prometheus is told. One registry for each service: two in a process do not mix."""

from __future__ import annotations

from functools import cache

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from speculative.serve.outcome import Outcome
from speculative.serve.queue import Admission

CONTENT_TYPE = CONTENT_TYPE_LATEST
SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800)
SMALL = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1)
FATES = {
    "kept": "kept_tokens",
    "discarded": "discarded_tokens",
    "prompt": "prompt_tokens",
    "cached": "cached_tokens",
    "scored": "scored_tokens",
}


class Metrics:
    """Counted once for a request or a chain, never for a token. What has labels is called with them; each is looked up once."""

    def __init__(self, admission: Admission) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = cache(
            Counter("speculative_requests", "Requests by route and status.", ["route", "status"], registry=registry).labels
        )
        self.chains = cache(
            Counter(
                "speculative_chains", "Chains that came to an end, by method and finish reason.", ["method", "finish"], registry=registry
            ).labels
        )
        self.tokens = cache(Counter("speculative_tokens", "Tokens by role and fate.", ["role", "fate"], registry=registry).labels)
        self.degraded = cache(
            Counter(
                "speculative_degraded_chains",
                "Chains that one model went on with alone, by the role whose server was lost.",
                ["role"],
                registry=registry,
            ).labels
        )
        self.errors = cache(Counter("speculative_engine_errors", "Errors of engines, by kind.", ["kind"], registry=registry).labels)
        self.cancelled = Counter("speculative_cancelled_requests", "Requests whose client went away.", registry=registry)
        self.seconds = cache(
            Histogram(
                "speculative_phase_seconds",
                "Seconds by phase: queue, first_text, engines, total.",
                ["phase"],
                buckets=SECONDS,
                registry=registry,
            ).labels
        )
        self.overhead = Histogram(
            "speculative_overhead_seconds",
            "Seconds of a request in which it neither waited nor an engine worked for it.",
            buckets=SMALL,
            registry=registry,
        )
        self._gauge("speculative_chains_in_flight", "Chains that are being written.", lambda: admission.running)
        self._gauge("speculative_requests_waiting", "Requests that wait for a place.", lambda: admission.waiting)

    def chain(self, method: str, outcome: Outcome) -> None:
        """Counts a chain that came to its end."""
        self.chains(method, outcome.finish).inc()
        self.seconds("engines").observe(outcome.busy)
        self.spent(outcome)

    def spent(self, outcome: Outcome) -> None:
        """Counts what a chain has cost, and whose loss it survived, be it finished or not."""
        if role := outcome.degraded:
            self.degraded(role).inc()
        for role, usage in outcome.usage.items():
            for fate, field in FATES.items():
                self.tokens(role, fate).inc(getattr(usage, field))

    def page(self) -> bytes:
        return generate_latest(self.registry)

    def _gauge(self, name: str, about: str, value: object) -> None:
        Gauge(name, about, registry=self.registry).set_function(value)  # pyright: ignore[reportArgumentType]
