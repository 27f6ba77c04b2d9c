"""Metrics for Prometheus. Each service has a registry of its own."""

from __future__ import annotations

from functools import cache

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from speculative.serve.outcome import ChainOutcome
from speculative.serve.queue import ChainQueue

CONTENT_TYPE = CONTENT_TYPE_LATEST
SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800)
SMALL_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1)
TOKEN_KINDS = ("kept", "discarded", "prompt", "cached", "scored")


class Metrics:
    """Counts requests and chains. Metrics with labels are functions of their labels."""

    def __init__(self, queue: ChainQueue) -> None:
        self.registry = own = CollectorRegistry()

        def counter(name: str, about: str, *labels: str) -> Counter:
            return Counter(f"speculative_{name}", about, labels, registry=own)

        self.requests = cache(counter("requests", "Requests by route and status.", "route", "status").labels)
        self.chains = cache(counter("chains", "Finished chains by method and finish reason.", "method", "finish").labels)
        self.tokens = cache(counter("tokens", "Tokens by role and fate.", "role", "fate").labels)
        about = "Tokens inside of towers by role and fate: parts of the tokens of the tower's own role."
        self.tower_tokens = cache(counter("tower_tokens", about, "role", "fate").labels)
        self.degraded = cache(counter("degraded_chains", "Chains that one model finished alone, by the lost role.", "role").labels)
        self.errors = cache(counter("engine_errors", "Errors of engines, by kind.", "kind").labels)
        self.cancelled = counter("cancelled_requests", "Requests whose client went away.")
        phases = "Seconds by phase: queue, first_text, engines, total."
        self.seconds = cache(Histogram("speculative_phase_seconds", phases, ["phase"], buckets=SECONDS, registry=own).labels)
        about = "Seconds of a request in which it neither waited nor an engine worked for it."
        self.overhead = Histogram("speculative_overhead_seconds", about, buckets=SMALL_SECONDS, registry=own)
        Gauge("speculative_chains_in_flight", "Chains that are being written.", registry=own).set_function(lambda: queue.running)
        Gauge("speculative_requests_waiting", "Requests that wait for a place.", registry=own).set_function(lambda: queue.waiting)

    def count_chain(self, method: str, outcome: ChainOutcome) -> None:
        """Counts a finished chain."""
        self.chains(method, outcome.finish).inc()
        self.seconds("engines").observe(outcome.busy_s)
        self.count_cost(outcome)

    def count_cost(self, outcome: ChainOutcome) -> None:
        """Counts the tokens of a chain, finished or not, and the server that it lost."""
        if role := outcome.degraded:
            self.degraded(role).inc()
        for role, usage in outcome.usage.items():
            tokens = self.tower_tokens if "/" in role else self.tokens
            for kind in TOKEN_KINDS:
                tokens(role, kind).inc(getattr(usage, f"{kind}_tokens"))

    def page(self) -> bytes:
        """Renders all metrics as text."""
        return generate_latest(self.registry)
