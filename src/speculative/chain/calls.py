"""Calls to engines: one object for each call, and its cost, also when it fails or is cancelled."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from types import TracebackType
from typing import Any, Protocol

from msgspec import structs

from speculative.chain.budget import NO_EXTRA, Budget, Reservation, TokenLimit
from speculative.chain.prefix_memory import PrefixMemory
from speculative.engines.base import (
    HAS_FALLBACK,
    CallStats,
    Completion,
    Decoding,
    Engine,
    Ids,
    Scores,
    Tokenizer,
    UnfinishedCharacter,
    finite,
)
from speculative.errors import ChainStateError, EngineError
from speculative.trace.events import AnyEvent, Call, Cancelled, Proposal

MakeProposal = Callable[[Completion], Proposal]
"""Makes the proposal that a completion would have been, had its call not been cut off."""

LONGEST_CHARACTER = 4
"""Bytes of the longest UTF-8 character: no more tokens than that are needed to finish one."""


class EmitText(Protocol):
    """Passes new text on to the listener. `offset`: which of several completions it belongs to."""

    def __call__(self, text: str, offset: int = 0) -> None: ...


class EngineCalls:
    """The engine calls of one chain. `record` takes the event of a call that gave nothing.

    Children share their parent's `memory`; `started_at` is when the first of them began.
    """

    def __init__(self, key: str, record: Callable[[AnyEvent], None], memory: PrefixMemory, started_at: float) -> None:
        self.key, self.record, self.memory, self.started_at = key, record, memory, started_at
        self.running: set[asyncio.Task[Any] | None] = set()
        self.closed = False

    async def score(
        self, role: str, engine: Engine, prefixes: Sequence[Ids], continuations: Sequence[Ids], seed: int
    ) -> tuple[list[Scores], Call]:
        """Returns the log-probabilities of the continuations' tokens, and the cost of the call."""
        with CallMeter(self, role, "score", seed, prefixes) as meter, TypedErrors(engine):
            scores = await engine.score(prefixes, continuations, key=self.key, stats=meter.stats)
        for prefix, ids in zip(prefixes, continuations, strict=True):
            self.memory.add(role, (*prefix, *ids))
        return scores, meter.cost

    async def close(self) -> None:
        """Cancels every running call and waits until its cost is recorded. No call can follow."""
        self.closed = True
        running = [task for task in self.running if task and task is not asyncio.current_task()]
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)
        self.record = _refuse  # the chain's own `record` would keep the chain, and all of its text, in memory


class CallMeter:
    """Measures one call. A call that fails or is cancelled is recorded with its cost here.

    `partial`: returns the proposal of what had been written by then, if it is to be kept.
    """

    def __init__(
        self,
        calls: EngineCalls,
        role: str,
        verb: str,
        seed: int,
        prefixes: Sequence[Ids],
        partial: Callable[[CallStats], Proposal | None] = lambda _: None,
    ) -> None:
        self._calls, self._role, self._verb, self._seed, self._partial = calls, role, verb, seed, partial
        self._prefixes = prefixes
        self.stats = CallStats()

    def __enter__(self) -> CallMeter:
        if self._calls.closed:
            raise ChainStateError(f"{self._verb}: the chain is over; await all work before the method returns")
        self._start, self._task = time.perf_counter(), asyncio.current_task()
        self._calls.running.add(self._task)
        self._seen = self._calls.memory.begin(self._role, self._prefixes)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.cost = self._cost()
        try:
            if error is not None:
                self._record(error)
        finally:
            self._calls.running.discard(self._task)

    def _cost(self) -> Call:
        """Returns the cost so far. An engine may count a prompt once for each completion: all but the first are the chain's own."""
        stats = self.stats
        again = max(0, stats.prompt_tokens - sum(map(len, self._prefixes)))
        return Call(
            role=self._role,
            requests=stats.requests,
            prompt_tokens=stats.prompt_tokens,
            cached_tokens=stats.cached_tokens,
            produced_tokens=stats.produced_tokens,
            scored_tokens=stats.scored_tokens,
            seconds=round(time.perf_counter() - self._start, 6),
            shared_cache_tokens=max(0, stats.cached_tokens - self._seen - again),
            began=round(self._start - self._calls.started_at, 6),
        )

    def _record(self, error: BaseException) -> None:
        reason = (str(error) or type(error).__name__) if isinstance(error, Exception) else ""
        lost = False
        if isinstance(error, EngineError):
            error.role, lost = self._role, error.lost
        proposal = self._partial(self.stats)
        self._calls.record(Cancelled(call=self.cost, verb=self._verb, seed=self._seed, error=reason, lost=lost, proposal=proposal))


class EngineCall:
    """One call that writes: `decoding.n` completions for each prefix.

    Its reservation in the `budget` lasts as long as its `with` block. Where a completion ends before its first character is
    whole, it is asked for again with more tokens, up to `limit`.

    `emit` passes text on as soon as it is certain: nothing of it is taken back. `on_tokens` gets all ids of the completion so far.
    `make_proposal`: `partial` becomes what it makes of the text that was written when the call was cut off.
    """

    def __init__(
        self,
        calls: EngineCalls,
        verb: str,
        role: str,
        engine: Engine,
        prefixes: Sequence[Ids],
        decoding: Decoding,
        *,
        limit: TokenLimit = NO_EXTRA,
        budget: Budget | None = None,
        has_fallback: bool = False,
        emit: EmitText | None = None,
        on_tokens: Callable[[Ids], None] | None = None,
        make_proposal: MakeProposal | None = None,
    ) -> None:
        self.verb, self.role, self.engine, self.prefixes, self.decoding, self.limit = verb, role, engine, prefixes, decoding, limit
        self.partial: Proposal | None = None
        self._calls, self._budget, self._has_fallback = calls, budget, has_fallback
        self._emit, self._on_tokens, self._make_proposal = emit, on_tokens, make_proposal
        self._streams = bool(emit or on_tokens) and len(prefixes) * decoding.n == 1 and "stream" in engine.abilities
        self._streamed: list[int] = []
        self._reservation: Reservation | None = None

    def __enter__(self) -> EngineCall:
        if self._budget:
            self._reservation = self._budget.reserve(self.decoding.max_tokens * self.decoding.n * len(self.prefixes))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if self._reservation:
            self._reservation.__exit__(kind, error, traceback)

    async def run(self) -> tuple[list[Completion], Call]:
        """Returns the completions of all prefixes in one flat list, and the cost of the call."""
        spared = HAS_FALLBACK.set(self._has_fallback)
        try:
            with CallMeter(self._calls, self.role, self.verb, self.decoding.seed, self.prefixes, self._make_partial) as meter:
                if self._streams:  # in a task of its own: a token then wakes that one, and not all that wait above it
                    found = [await asyncio.create_task(self._stream(meter.stats))]
                else:
                    found = await self._complete(meter.stats)
        finally:
            HAS_FALLBACK.reset(spared)
        for place, completion in enumerate(found):
            self._calls.memory.add(self.role, (*self.prefixes[place // self.decoding.n], *_computed(completion)))
        completions = [self._finished(completion) for completion in found]
        if self._emit and not self._streams:
            for offset, completion in enumerate(completions):
                self._emit(kept_text(self.engine.tokenizer, completion)[0], offset)
        return completions, meter.cost

    # ---- the engine -------------------------------------------------------------------------------------------------

    async def _complete(self, stats: CallStats) -> list[Completion]:
        with TypedErrors(self.engine):
            found = list(await self.engine.complete(self.prefixes, self.decoding, key=self._calls.key, stats=stats))
        for place, several in enumerate(found):
            found[place] = await self._whole_characters(self.prefixes[place], several, stats)
        return [completion for several in found for completion in several]

    async def _whole_characters(self, prefix: Ids, several: list[Completion], stats: CallStats) -> list[Completion]:
        """Asks again for completions that end before their first character is whole."""
        asked = self.decoding.max_tokens
        while short := {i: len(one.ids) for i, one in enumerate(several) if _nothing_whole(self.engine.tokenizer, one)}:
            if not (asked := self._longer(max(size or asked for size in short.values()))):
                break
            with TypedErrors(self.engine):
                decoding = structs.replace(self.decoding, max_tokens=asked, stop=())  # past the place where it was cut
                (again,) = await self.engine.complete([prefix], decoding, key=self._calls.key, stats=stats)
            grown = {i: again[i] for i, size in short.items() if len(again[i].ids) > size}
            if not grown:
                break
            several = [grown.get(i, known) for i, known in enumerate(several)]
        return several

    async def _stream(self, stats: CallStats) -> Completion:
        told, held, completion, to_bytes = 0, tuple[int, ...](), None, self.engine.tokenizer.to_bytes
        with TypedErrors(self.engine):
            stream = self.engine.stream(self.prefixes[0], self.decoding, key=self._calls.key, stats=stats)
        try:
            while True:  # not `async for`, whose errors could not be told from those of the listener
                try:
                    delta = await anext(stream)
                except StopAsyncIteration:
                    break
                except EngineError:
                    raise
                except Exception as error:
                    raise _typed(self.engine, error) from error
                if delta.completion:
                    completion = delta.completion
                held = (*held, *delta.ids) if held else delta.ids
                pending = to_bytes(held)
                if pending and not UnfinishedCharacter.trailing(pending):
                    text = pending.decode("utf-8", "replace")
                    told += len(text)
                    self._streamed.extend(held)
                    held = ()
                    self._pass_on(text, self._streamed)
        finally:
            if isinstance(stream, AsyncGenerator):
                await stream.aclose()
        if completion is None:
            raise EngineError(f"{self.engine.name}: a stream ended without its completion; the connection may have been cut")
        (completion,) = await self._whole_characters(self.prefixes[0], [completion], stats)
        self._pass_on(kept_text(self.engine.tokenizer, completion)[0][told:], completion.ids)
        return completion

    def _pass_on(self, text: str, ids: Ids) -> None:
        if self._emit:
            self._emit(text)
        if self._on_tokens:
            self._on_tokens(ids)

    # ---- what becomes of it -----------------------------------------------------------------------------------------

    def _longer(self, size: int) -> int:
        """Returns the tokens that a second try may have after one of `size` tokens, 0 for none."""
        limit = min(self.limit.tokens, size + max(size, LONGEST_CHARACTER))
        if limit <= size or (self._budget and limit * self.decoding.n > self._budget.remaining()):
            return 0
        if self._reservation:
            self._reservation.add(limit * self.decoding.n)
        return limit

    def _finished(self, completion: Completion) -> Completion:
        """Returns the completion with its true finish reason and with log-probabilities that JSON can hold."""
        full = max(len(completion.ids), self.decoding.max_tokens) >= self.limit.tokens
        if self.limit.reason == "context" and completion.finish == "length" and full:
            completion = structs.replace(completion, finish="context")
        return structs.replace(completion, logprobs=finite(completion.logprobs or ())) if self.decoding.logprobs else completion

    def _make_partial(self, stats: CallStats) -> Proposal | None:
        """Keeps what was written when the call was cut off, without the beginning of a character."""
        ids = tuple(self._streamed)
        if not self._streams:
            written = Completion(tuple(stats.written), "cut")
            ids = written.ids[: len(written.ids) - kept_text(self.engine.tokenizer, written)[1]]
        if self._make_proposal and ids:
            self.partial = self._make_proposal(Completion(ids, "cut"))
        return self.partial


class TypedErrors:
    """Turns whatever an engine raises into an `EngineError`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, EngineError):
            raise _typed(self._engine, error) from error


def kept_text(tokenizer: Tokenizer, completion: Completion) -> tuple[str, int]:
    """Returns a completion's text, and how many trailing tokens are dropped because they begin a character without ending it."""
    size, data = len(completion.ids), tokenizer.to_bytes(completion.ids)
    end = len(data)
    while UnfinishedCharacter.trailing(data[:end]) and (end == len(data) or data[end] & 0xC0 == 0x80):
        size -= 1
        end = len(tokenizer.to_bytes(completion.ids[:size]))
    return data[:end].decode("utf-8", "replace"), len(completion.ids) - size


def no_cost(role: str) -> Call:
    """Returns the cost of a call that was not made."""
    return Call(role, 0, 0, 0, 0, 0, 0.0)


def _computed(completion: Completion) -> Ids:
    """Returns the tokens that the engine has computed with: the last one only if the end's token came after it."""
    return completion.ids if completion.end_id is not None else completion.ids[:-1]


def _nothing_whole(tokenizer: Tokenizer, completion: Completion) -> bool:
    """Returns whether it was cut before its first character was whole. Some servers leave the ids out then."""
    if not completion.ids:
        return completion.finish == "length"
    if not len(completion.ids) < LONGEST_CHARACTER or completion.finish not in ("length", "stop"):
        return False
    end = tokenizer.to_bytes(completion.ids[-LONGEST_CHARACTER:])
    return bool(UnfinishedCharacter.trailing(end)) and kept_text(tokenizer, completion)[1] == len(completion.ids)


def _typed(engine: Engine, error: Exception) -> EngineError:
    return EngineError(f"{engine.name} failed: {type(error).__name__}: {error}")


def _refuse(event: AnyEvent) -> None:
    raise ChainStateError(f"{type(event).__name__}: the chain is over; await all work before the method returns")
