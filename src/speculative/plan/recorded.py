"""Turns recorded traces into programs: their calls, with who waited for whom."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from msgspec import Struct

from speculative.errors import SpeculativeError, TraceFormatError, UsageError
from speculative.plan.calls import PlannedCall, Program, start, wait
from speculative.trace.events import AnyEvent, Asked, Call, Cancelled, Child, Drafted, Rewarded, Scored
from speculative.trace.trace import Trace


class RecordedCall(Struct, frozen=True):
    """One sequence of a call of a trace, in tokens, with its times in seconds.

    `prompt`: the tokens to read, scored ones included. `joined`: it came with the request of the sequence before it.
    """

    role: str
    prompt: int
    tokens: int
    cached: int
    label: str
    branch: int
    began: float
    ended: float
    joined: bool = False


class RecordedChain(Struct, frozen=True):
    """The calls of one chain, the earliest first, and its method."""

    method: str
    calls: tuple[RecordedCall, ...]
    kept: int

    @classmethod
    def of(cls, trace: Trace) -> RecordedChain:
        """Reads a trace. Raises `TraceFormatError` without its beginning."""
        started = trace.started
        found = sorted(_calls(trace.events, [0]), key=lambda call: (call.began, call.ended))
        spelled = ",".join(f"{name}={value}" for name, value in started.params.items() if name == "pipeline" and value != "off")
        return cls(f"{started.method},{spelled}" if spelled else started.method, tuple(found), trace.ledger.kept)

    def program(self) -> Program:
        """Makes the same calls.

        A call begins once the calls have ended that had ended before it in the recording.

        Without any stated cache hit a server counts as knowing what it was sent before.
        """
        tells = any(call.cached for call in self.calls if not call.joined)
        planned: list[tuple[float, PlannedCall]] = []
        seen: dict[tuple[str, int], int] = {}
        awaited = 0
        by_end: list[tuple[float, PlannedCall]] = []
        for call in self.calls:
            key = call.role, call.branch
            known = call.cached if tells else min(seen.get(key, 0), call.prompt)
            seen[key] = call.prompt + call.tokens
            by_end.sort(key=lambda one: one[0])
            while awaited < len(by_end) and by_end[awaited][0] <= call.began:
                yield wait(by_end[awaited][1])
                awaited += 1
            made = PlannedCall(call.role, max(1, call.prompt), call.tokens, known, call.label, call.branch, joined=call.joined)
            planned.append((call.ended, made))
            by_end.append((call.ended, made))
            yield start(made)
        for _, made in planned:
            yield wait(made)


def _calls(events: Sequence[AnyEvent], branches: list[int], branch: int = 0) -> Iterator[RecordedCall]:
    """Yields the calls of events. A child chain is a branch of its own."""
    for event in events:
        if isinstance(event, Child):
            branches[0] += 1
            yield from _calls(event.events, branches, branches[0])
        call: Call | None = getattr(event, "call", None)
        if call is not None and call.requests:
            yield from _sequences(event, call, branch)


def _sequences(event: AnyEvent, call: Call, branch: int) -> Iterator[RecordedCall]:
    """Yields a call for each sequence of an event.

    Together they cost as much as the live call. A request for several completions states its prompt once: the others find it in the
    cache. More requests than texts were made one after another.
    """
    texts, prompts = _count_texts(event)
    stated, count = max(call.requests, prompts), max(call.requests, texts)
    rewarded = isinstance(event, Rewarded) or (isinstance(event, Cancelled) and event.verb == "reward")
    prompt, cached = _split(call.prompt_tokens, stated), _split(call.cached_tokens, stated)
    scored = _split(0 if rewarded else call.scored_tokens, stated)  # old traces count rewarded texts here, too
    produced, rounds = _split(call.produced_tokens, count), -(-count // texts)
    began = call.began if call.began or event.at <= call.seconds else max(0.0, event.at - call.seconds)
    for place in range(count):
        own, turn = place % stated, place // texts
        size = prompt[own] + scored[own]
        yield RecordedCall(
            call.role,
            size,
            produced[place],
            cached[own] if place < stated else size,
            type(event).__name__.lower(),
            branch,
            began + call.seconds * turn / rounds,
            began + call.seconds * (turn + 1) / rounds,
            place >= call.requests,
        )


def _count_texts(event: AnyEvent) -> tuple[int, int]:
    """Returns the number of texts of an event's call, and of prompts that they have."""
    match event:
        case Drafted():
            return max(1, len(event.proposals)), max(1, len({proposal.parent for proposal in event.proposals}))
        case Asked():
            return max(1, len(event.completions)), 1
        case Scored():
            return max(1, len(event.logprobs)), max(1, len(event.logprobs))
        case Rewarded():
            return max(1, len(event.rewards)), max(1, len(event.rewards))
        case _:
            return 1, 1


def _split(total: int, count: int) -> list[int]:
    """Splits a number of tokens into parts that differ by one at most."""
    return [(total + place) // count for place in range(count)]


def read_chains(folder: Path) -> list[RecordedChain]:
    """Reads all traces of a folder, also of a run folder, or one trace file.

    Raises `UsageError` if it has none.
    """
    if not folder.exists():
        raise UsageError(f"trace {folder} must exist; name a trace or a folder of traces")
    files = [folder] if folder.is_file() else sorted(folder.glob("traces/*.jsonl")) or sorted(folder.glob("*.jsonl"))
    found: list[RecordedChain] = []
    for file in files:
        try:
            found.append(RecordedChain.of(Trace.load(file)))
        except OSError as error:
            raise SpeculativeError(f"{file} cannot be read: {error.strerror}") from None
        except TraceFormatError as error:
            raise TraceFormatError(str(error) if str(file) in str(error) else f"{file}: {error}") from None
    if not any(chain.calls for chain in found):
        raise UsageError(f"trace {folder} must be a trace, or a folder of traces, with calls; `speculative compare --out DIR` writes some")
    return [chain for chain in found if chain.calls]


def chains_of(chains: Sequence[RecordedChain], method: str, folder: Path) -> list[RecordedChain]:
    """Returns the chains of a method, or of `all`.

    Raises `UsageError` if there are none.
    """
    found = [chain for chain in chains if method in ("all", chain.method)]
    if not found:
        known = ", ".join(sorted({chain.method for chain in chains}))
        raise UsageError(f"{folder} must hold chains of {method}, got {known}; name one of these, or `all`")
    return found
