"""Calls engines: one object for each call.

The cost of a call is counted also when it fails or is cancelled.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator, Sequence
from hashlib import blake2b
from statistics import fmean
from types import TracebackType
from typing import Any, Protocol

from msgspec import UNSET, structs

from speculative._sync import end_all
from speculative.chain.budget import NO_EXTRA, Budget, Reservation, TokenLimit, Use
from speculative.chain.engine_output import check_books, check_completions, check_rewards, check_scores, check_tokens
from speculative.chain.prefix_memory import PrefixMemory
from speculative.chain.text_stream import EndRule, TextStream, cut, extended
from speculative.engines.base import (
    HAS_FALLBACK,
    CallStats,
    Completion,
    Decoding,
    Engine,
    Ids,
    RewardEngine,
    Scores,
    TextDecoder,
    Top,
    UnfinishedCharacter,
    entropy_of,
    finite,
    gives_whole_calls,
)
from speculative.errors import ChainStateError, EngineError, EngineRefusedError
from speculative.trace.events import AnyEvent, Call, Cancelled, InnerWork, Proposal
from speculative.trace.trace import Trace

Taken = Callable[[], Awaitable[object]]
"""Waits until the reader of a tower's stream has taken all that was told."""

MakeProposal = Callable[[Completion], Proposal]
"""Makes the proposal that a completion would have been, had its call not been cut off."""

LONGEST_CHARACTER = 4
"""Bytes of the longest UTF-8 character: no more tokens than that are needed to finish one."""


class EmitText(Protocol):
    """Passes new text on to the listener.

    `offset`: the place, among several completions, of the one that the text belongs to.
    """

    def __call__(self, text: str, offset: int = 0) -> None: ...


class EngineCalls:
    """Makes the engine calls of one chain.

    `record` takes the events of calls that failed or were cancelled. Children share their parent's `memory`; `started_at` is when the
    first of them began.
    """

    def __init__(self, key: str, record: Callable[[AnyEvent], None], memory: PrefixMemory, started_at: float) -> None:
        self.key, self.record, self.memory, self.started_at = key, record, memory, started_at
        self.running: set[asyncio.Task[Any] | None] = set()
        self.closed = False

    async def score(
        self, role: str, engine: Engine, prefixes: Sequence[Ids], continuations: Sequence[Ids], seed: int, top: int = 0
    ) -> tuple[list[Scores], Call]:
        """Returns the log-probabilities of the continuations' tokens, and the cost."""
        with CallMeter(self, role, "score", seed, prefixes) as meter, TypedErrors(engine):
            scores = await engine.score(prefixes, continuations, key=self.key, stats=meter.stats, **({"top": top} if top else {}))
            check_scores(engine, scores, continuations)
        for entry, prefix, ids in zip(meter.seen.entries, prefixes, continuations, strict=True):
            self.memory.extend(role, entry, prefix, ids)
        return scores, meter.cost

    async def reward(self, role: str, engine: RewardEngine, texts: Sequence[Ids], seed: int) -> tuple[list[float], Call]:
        """Returns the rewards of the texts, and the cost of the call."""
        with CallMeter(self, role, "reward", seed, texts) as meter, TypedErrors(engine):
            rewards = await engine.reward(texts, key=self.key, stats=meter.stats)
            check_rewards(engine, rewards, texts)
        return rewards, meter.cost

    async def close(self) -> None:
        """Cancels every running call and waits until its cost is recorded.

        Later calls are refused.
        """
        self.closed = True
        await end_all([task for task in self.running if task and task is not asyncio.current_task()])
        self.record = _refuse  # the chain's own `record` would keep the chain, and all of its text, in memory


class CallMeter:
    """Measures one call.

    A call that fails or is cancelled is recorded with its cost here. `partial` returns the proposal of the text written by then, if
    it is to be kept.
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
        self.seen = self._calls.memory.begin(self._role, self._prefixes)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.cost = self._cost()
        try:
            if error is not None:
                self._record(error)
        finally:
            self._calls.running.discard(self._task)

    def _cost(self) -> Call:
        """Returns the cost so far.

        An engine may count a prompt once for each completion: all but the first are the chain's own.
        """
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
            shared_cache_tokens=max(0, stats.cached_tokens - self.seen.tokens - again),
            began=round(self._start - self._calls.started_at, 6),
            inner=_inner_work(stats),
            beyond_tokens=stats.beyond_tokens + sum(map(_count_beyond, stats.chains)),
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

    Its reservation in the `budget` lasts as long as its `with` block. A call that is `bounded` by the end of a step reserves a part of
    what it may write, and goes on with more when it gets there. Where a completion ends before its first character is whole, it is
    asked for again with more tokens, up to `limit`.

    `decoder` makes the text of the ids; it is the engine's tokenizer if None. `ends`, one rule for each prefix, find the token boundary at
    which a completion ends before the engine ends it. The tokens that a server wrote beyond that end depend on clocks. So they are
    counted as discarded, but not against `max_produced`: the text must not depend on clocks. An engine in this process writes nothing
    beyond.

    `emit` passes text on as soon as it is certain: nothing of it is taken back. `on_tokens` gets all ids of the completion so far, and
    `taken` waits until the outer chain of a tower has used them. `make_proposal`: `partial` becomes what it makes of the text that was
    written when the call was cut off. `display_top`: the number of likely tokens at each place that are asked for a reader, None without
    a reader. A completion gets the means of these numbers, and nothing else of it changes.
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
        use: Use = "write",
        bounded: bool = False,
        has_fallback: bool = False,
        ends: Sequence[EndRule | None] = (),
        emit: EmitText | None = None,
        on_tokens: Callable[[Ids], None] | None = None,
        taken: Taken | None = None,
        make_proposal: MakeProposal | None = None,
        decoder: TextDecoder | None = None,
        display_top: int | None = None,
    ) -> None:
        self.verb, self.role, self.engine, self.prefixes, self.decoding, self.limit = verb, role, engine, prefixes, decoding, limit
        self.partial: Proposal | None = None
        self._calls, self._budget, self._bounded, self._has_fallback = calls, budget, bounded, has_fallback
        self._use: Use = use
        self._display_top = display_top
        ruled = any(ends)
        self._ends = ends if ruled else [None] * len(prefixes)
        self._emit, self._on_tokens, self._taken, self._make_proposal = emit, on_tokens, taken, make_proposal
        watched = bool(emit or on_tokens or ruled) and not (ruled and (decoding.logprobs or decoding.top_logprobs))
        self._streams = watched and len(prefixes) * decoding.n == 1 and "stream" in engine.abilities
        self._decoder = decoder or engine.tokenizer
        self._text = TextStream(self._decoder, self._ends[0] if self._streams else None)
        self._told, self._before = 0, tuple[int, ...]()
        self._asked = decoding.max_tokens
        self._most = max(decoding.max_tokens, limit.tokens) if gives_whole_calls(engine) else decoding.max_tokens
        self._reservation: Reservation | None = None

    def __enter__(self) -> EngineCall:
        if self._budget:
            count = self.decoding.n * len(self.prefixes)
            self._asked = self._budget.first_share(self.decoding.max_tokens, count, self._use, self._bounded)
            self._reservation = self._budget.reserve(max(self._asked * count, self.decoding.max_produced or 0))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if self._reservation:
            self._reservation.__exit__(kind, error, traceback)

    async def run(self) -> tuple[list[Completion], Call]:
        """Returns the completions of all prefixes in one flat list, and the cost."""
        if self._taken:
            await self._taken()
        spared = HAS_FALLBACK.set(self._has_fallback or HAS_FALLBACK.get())
        try:
            with CallMeter(self._calls, self.role, self.verb, self.decoding.seed, self.prefixes, self._make_partial) as meter:
                found = None
                while found is None:
                    try:
                        if self._streams:  # in a task of its own: a token then wakes that one, and not all that wait above it
                            found = [await asyncio.create_task(self._stream(meter.stats))]
                        else:
                            found = await self._complete(meter.stats)
                    except EngineRefusedError:
                        if self._display_top is None or self._told:
                            raise
                        self._display_top = None  # a server may refuse so many likely tokens; the text does not depend on them
                check_books(self.engine, found, meter.stats)
        finally:
            HAS_FALLBACK.reset(spared)
        for place, completion in enumerate(found):
            prefix = place // self.decoding.n
            self._calls.memory.extend(self.role, meter.seen.entries[prefix], self.prefixes[prefix], _computed(completion))
        completions = [self._finished(completion) for completion in found]
        if self._emit and not self._streams:
            for offset, completion in enumerate(completions):
                self._emit(kept_text(self._decoder, completion)[0], offset)
        return completions, meter.cost

    # ---- the engine -------------------------------------------------------------------------------------------------

    async def _complete(self, stats: CallStats) -> list[Completion]:
        with TypedErrors(self.engine):
            decoding = self._limited(self.decoding, self._asked)
            found = list(await self.engine.complete(self.prefixes, decoding, key=self._calls.key, stats=stats))
            check_completions(self.engine, found, len(self.prefixes), decoding.n, self._most)
        for place, several in enumerate(found):
            several = [await self._grown(place, number, one, stats) for number, one in enumerate(several)]
            found[place] = [self._cut(place, one) for one in await self._whole_characters(self.prefixes[place], several, stats)]
        return [completion for several in found for completion in several]

    async def _grown(self, place: int, number: int, completion: Completion, stats: CallStats) -> Completion:
        """Goes on with a completion that used up its part of what it may write."""
        asked = self._asked
        while completion.finish == "length" and len(completion.ids) >= asked and (more := self._extend(len(completion.ids))):
            prefix = (*self.prefixes[place], *completion.ids)
            self._before, stats.written = completion.ids, ()
            with TypedErrors(self.engine):
                decoding = self._resumed(place, number, len(completion.ids), more)
                more_found = await self.engine.complete([prefix], decoding, key=self._calls.key, stats=stats)
                check_completions(self.engine, more_found, 1, 1, self._most - len(completion.ids))
                ((rest,),) = more_found
            completion, asked = extended(completion, rest), asked + more
        return completion

    async def _whole_characters(self, prefix: Ids, several: list[Completion], stats: CallStats) -> list[Completion]:
        """Asks again for completions that end before their first character is whole."""
        asked = self._asked
        while short := {i: len(one.ids) for i, one in enumerate(several) if _nothing_whole(self._decoder, one)}:
            if not (asked := self._longer(max(size or asked for size in short.values()))):
                break
            self._before = ()
            with TypedErrors(self.engine):
                decoding = self._limited(structs.replace(self.decoding, stop=()), asked)  # past the place where it was cut
                longer = await self.engine.complete([prefix], decoding, key=self._calls.key, stats=stats)
                check_completions(self.engine, longer, 1, decoding.n, max(self._most, asked))
            (again,) = longer
            grown = {i: again[i] for i, size in short.items() if len(again[i].ids) > size}
            if not grown:
                break
            several = [grown.get(i, known) for i, known in enumerate(several)]
        return several

    async def _stream(self, stats: CallStats) -> Completion:
        decoding, before = self._limited(self.decoding, self._asked), Completion((), "length")
        while True:
            part = await self._stream_part((*self.prefixes[0], *before.ids), decoding, stats)
            if self._text.finish:
                return cut(extended(before, part), len(self._text.ids), self._text.finish)
            completion = extended(before, part) if before.ids else part
            full = part.finish == "length" and len(part.ids) >= decoding.max_tokens
            if not (full and (more := self._extend(len(completion.ids)))):
                break
            before, decoding = completion, self._resumed(0, 0, len(completion.ids), more)
        (completion,) = await self._whole_characters(self.prefixes[0], [completion], stats)
        completion = self._cut(0, completion)
        text, dropped = kept_text(self._decoder, completion)
        self._text.ids = list(completion.ids[: len(completion.ids) - dropped])  # what is told stays, also if the call is cancelled now
        self._pass_on(text[self._told :], self._text.ids)
        return completion

    async def _stream_part(self, prefix: Ids, decoding: Decoding, stats: CallStats) -> Completion:
        """Reads one stream of the engine up to the end of the text.

        The rest of the stream is not waited for. What was written of it is counted also if the call is cut off while the stream closes.
        """
        earlier = len(prefix) - len(self.prefixes[0])
        completion, seen, most = None, list[int](), self._most - earlier
        with TypedErrors(self.engine):
            stream = self.engine.stream(prefix, decoding, key=self._calls.key, stats=stats)
        try:
            while completion is None and not self._text.finish:  # not `async for`, whose errors could not be told from the listener's
                try:
                    delta = await anext(stream)
                except StopAsyncIteration:
                    break
                except EngineError:
                    raise
                except Exception as error:
                    raise _typed(self.engine, error) from error
                completion = delta.completion
                seen += delta.ids
                whole = completion.ids if completion else seen
                check_tokens(self.engine, completion.ids if completion else delta.ids, whole, most)
                if text := self._text.add(delta.ids):
                    self._pass_on(text, self._text.ids)
                    if self._taken:
                        await self._taken()
        finally:
            try:
                if isinstance(stream, AsyncGenerator):
                    await stream.aclose()
            finally:
                if self._text.finish:
                    told = 0 if completion else len(seen) - len(self._text.ids) + earlier
                    stats.beyond_tokens = _beyond(stats, len(self._text.ids), told)
        if completion is None and not self._text.finish:
            raise EngineError(f"{self.engine.name}: a stream ended without its completion; the connection may have been cut")
        return completion or Completion(tuple(seen), "length", authors=stats.authors)

    def _pass_on(self, text: str, ids: Ids) -> None:
        self._told += len(text)
        if self._emit:
            self._emit(text)
        if self._on_tokens:
            self._on_tokens(ids)

    def _resumed(self, place: int, number: int, size: int, tokens: int) -> Decoding:
        """Returns how a completion goes on after `size` tokens, with `tokens` more."""
        first = self.decoding.resumes or (self.decoding.seed, place, number, 0)
        seed = derive_seed(self.decoding.seed, f"{place}/{number}/{size}")
        resumed = structs.replace(self.decoding, n=1, seed=seed, resumes=(*first[:3], first[3] + size), choices=())
        return self._limited(resumed, tokens)

    def _limited(self, decoding: Decoding, tokens: int) -> Decoding:
        """Returns the settings with a limit of tokens.

        Where `max_produced` is set, the limit holds for what a tower throws away, too: no more is reserved. A prefill comes with its own.
        """
        most = decoding.max_produced
        if most is None and self._budget is not None and self._budget.left is not None:
            most = tokens
        paced = self._streams and (self._ends[0] is not None or self._taken is not None)
        limited = decoding
        if (tokens, most, paced) != (decoding.max_tokens, decoding.max_produced, decoding.paced):
            limited = structs.replace(decoding, max_tokens=tokens, max_produced=most, paced=paced)
        if self._display_top is None:
            return limited
        top = max(decoding.top_logprobs, self._display_top)
        return structs.replace(limited, logprobs=True, top_logprobs=top, for_display=not decoding.logprobs)

    # ---- what becomes of it -----------------------------------------------------------------------------------------

    def _extend(self, size: int) -> int:
        """Reserves more tokens for a completion that has used its reservation.

        Returns their number, 0 if none are left.
        """
        if not self._budget or not self._reservation or size >= self.decoding.max_tokens:
            return 0
        more = self._budget.next_share(self.decoding.max_tokens - size, 1, self._bounded)
        self._reservation.add(more)
        return more

    def _longer(self, size: int) -> int:
        """Returns the token limit of a second try after a try of `size` tokens.

        It is 0 if a longer try is not allowed.
        """
        limit = min(self.limit.tokens, size + max(size, LONGEST_CHARACTER))
        if limit <= size or (self._budget and limit * self.decoding.n > self._budget.remaining()):
            return 0
        if self._reservation:
            self._reservation.add(limit * self.decoding.n)
        return limit

    def _cut(self, place: int, completion: Completion) -> Completion:
        """Ends a completion where its rule says so."""
        if self._ends[place] is None:
            return completion
        text = TextStream(self._decoder, self._ends[place])
        text.add(completion.ids)
        return cut(completion, len(text.ids), text.finish) if text.finish else completion

    def _finished(self, completion: Completion) -> Completion:
        """Returns the completion with its true finish reason.

        Its log-probabilities are made finite, so that JSON can hold them.
        """
        full = max(len(completion.ids), self._asked) >= self.limit.tokens
        if self.limit.reason == "context" and completion.finish == "length" and full:
            completion = structs.replace(completion, finish="context")
        if self._display_top is not None:
            completion = with_means(completion)
        return with_finite_logprobs(completion, self.decoding)

    def _make_partial(self, stats: CallStats) -> Proposal | None:
        """Makes the proposal of the text that a cut-off call has written.

        The beginning of an unfinished character is left out.
        """
        ids = tuple(self._text.ids)
        if not self._streams:
            written = Completion((*self._before, *stats.written), "cut")
            ids = written.ids[: len(written.ids) - kept_text(self._decoder, written)[1]]
        if len(ids) > stats.produced_tokens:  # of an engine that does not count
            return None
        if self._make_proposal and ids:
            self.partial = self._make_proposal(Completion(ids, "cut", authors=stats.authors))
        return self.partial


class TypedErrors:
    """Turns every exception of an engine into an `EngineError`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, EngineError):
            raise _typed(self._engine, error) from error


def kept_text(tokenizer: TextDecoder, completion: Completion) -> tuple[str, int]:
    """Returns a completion's text, and its number of dropped trailing tokens.

    Trailing tokens are dropped if they begin a character without ending it.
    """
    size, data = len(completion.ids), tokenizer.to_bytes(completion.ids)
    end = len(data)
    while UnfinishedCharacter.trailing(data[:end]) and (end == len(data) or data[end] & 0xC0 == 0x80):
        size -= 1
        end = len(tokenizer.to_bytes(completion.ids[:size]))
    return data[:end].decode("utf-8", "replace"), len(completion.ids) - size


def derive_seed(seed: int, place: str) -> int:
    """Returns the seed of a place that belongs to another seed's place."""
    return int.from_bytes(blake2b(f"{seed}/{place}".encode(), digest_size=6).digest(), "big")


def with_finite_logprobs(completion: Completion, decoding: Decoding) -> Completion:
    """Returns a completion with the requested log-probabilities only.

    They are made finite, so that JSON can hold them.
    """
    asked = decoding.logprobs or decoding.top_logprobs or decoding.choices
    if not asked and completion.logprobs is None and completion.top_logprobs is None:
        return completion
    top = completion.top_logprobs if decoding.top_logprobs else None
    return structs.replace(
        completion,
        logprobs=finite(completion.logprobs or ()) if decoding.logprobs else None,
        top_logprobs=top and tuple(finite_top(one) for one in top),
        choice_logprobs=completion.choice_logprobs and finite(completion.choice_logprobs),
    )


def with_means(completion: Completion) -> Completion:
    """Returns a completion with the means of the numbers that it has."""
    size, logprobs, tops = len(completion.ids), completion.logprobs or (), completion.top_logprobs or ()
    if not size or len(logprobs) != size:
        return completion
    entropy = round(fmean(entropy_of(finite_top(top)) for top in tops), 4) if len(tops) == size and all(tops) else UNSET
    return structs.replace(completion, mean_logprob=round(fmean(finite(logprobs)), 4), mean_entropy=entropy)


def finite_top(top: Top) -> Top:
    """Returns the same with log-probabilities that JSON can hold."""
    return tuple(zip((token for token, _ in top), finite(logprob for _, logprob in top), strict=True))


def _inner_work(stats: CallStats) -> InnerWork | None:
    """Returns the work of the pair inside a tower, or None for a single model."""
    if not stats.inner:
        return None
    costs = [
        Call(role, one.requests, one.prompt_tokens, one.cached_tokens, one.produced_tokens, one.scored_tokens, round(one.seconds, 6))
        for role, one in sorted(stats.inner.items())
    ]
    return InnerWork(tuple(costs), tuple(stats.chains))


def _beyond(stats: CallStats, tokens: int, told: int) -> int:
    """Returns the tokens of a stream that its reader ended behind the first ones.

    Tokens that a tower discarded before belong to its method. Only the tokens of its last `write` are beyond, and the `told` ones: those
    of its text behind the reader's end.
    """
    if stats.chains:
        return sum(map(_cut_off, stats.chains)) + told
    return max(0, stats.produced_tokens - tokens)


def _cut_off(happened: Iterable[AnyEvent]) -> int:
    """Returns the tokens of cancelled writes that are not text."""
    found = 0
    for event in happened:
        if isinstance(event, Cancelled) and event.verb == "write":
            inner, kept = event.call.inner, len(event.proposal.completion.ids) if event.proposal else 0
            found += sum(map(_cut_off, inner.chains)) if inner else max(0, event.call.produced_tokens - event.call.beyond_tokens - kept)
    return found


def _count_beyond(happened: Iterable[AnyEvent]) -> int:
    """Returns the tokens behind ends of `until` within a tower's chain."""
    calls: Iterator[Call | None] = (getattr(event, "call", None) for event in Trace([*happened]).walk())
    return sum(call.beyond_tokens for call in calls if call)


def no_cost(role: str) -> Call:
    """Returns the cost of a call that was not made."""
    return Call(role, 0, 0, 0, 0, 0, 0.0)


def _computed(completion: Completion) -> Ids:
    """Returns the tokens that the engine has computed with.

    The last token is one of them only if the end's token came after it.
    """
    return completion.ids if completion.end_id is not None else completion.ids[:-1]


def _nothing_whole(tokenizer: TextDecoder, completion: Completion) -> bool:
    """Returns whether a completion was cut before its first whole character.

    Some servers leave the ids out then.
    """
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
