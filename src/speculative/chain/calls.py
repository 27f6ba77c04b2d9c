"""How a chain calls an engine: the cost of every call is taken down, also of one that is cancelled or fails."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from msgspec import structs

from speculative.chain.prefix_memory import PrefixMemory
from speculative.engines.base import Completion, Decoding, Engine, Ids, Tally, UnfinishedCharacter, Vocabulary
from speculative.errors import ChainStateError, EngineError
from speculative.trace.events import AnyEvent, Call, Cancelled, Proposal

T = TypeVar("T")
OnText = Callable[[str, Ids], None]
"""Told new text, and all ids of the completion down to its end."""
Cut = Callable[[Completion], Proposal]
"""What a completion that was cut off by the end of its call would have been in the chain."""
Longer = Callable[[int], int]
"""Asked when completions of so many tokens hold no whole character: the tokens that a second try may have, 0 for none."""

LONGEST_CHARACTER = 4
"""Bytes of the longest UTF-8 character: no more tokens than that are needed to finish one."""


class Caller:
    """Calls engines for one chain. `record` takes what a call that gave nothing has cost; children share their parent's `memory`."""

    def __init__(self, key: str, record: Callable[[AnyEvent], None], memory: PrefixMemory | None = None, began: float = 0.0) -> None:
        self.key = key
        self.memory = PrefixMemory() if memory is None else memory
        self._began = began
        self._record = record
        self._at_work: set[asyncio.Task[Any] | None] = set()
        self._closed = False

    async def complete(
        self, role: str, engine: Engine, prefixes: Sequence[Ids], decoding: Decoding, verb: str, longer: Longer, cut: Cut | None = None
    ) -> tuple[list[list[Completion]], Call]:
        """`decoding.n` completions for each prefix: one call, and more for a prefix where one ends before its first character does.

        `cut`: makes of what was written, if a call for one ends before its completion does, what the record of the call keeps of it.
        """

        async def work(tally: Tally) -> list[list[Completion]]:
            found = list(await self._asked(engine, prefixes, decoding, tally))
            for place, several in enumerate(found):
                asked = decoding.max_tokens
                while short := {i: len(cut.ids) for i, cut in enumerate(several) if self._nothing_whole(engine.vocabulary, cut)}:
                    if not (asked := longer(max(size or asked for size in short.values()))):
                        break
                    (again,) = await self._asked(engine, [prefixes[place]], _going_on(decoding, asked), tally)
                    grown = {i: again[i] for i, size in short.items() if len(again[i].ids) > size}
                    if not grown:
                        break
                    found[place] = several = [grown.get(i, known) for i, known in enumerate(several)]
            return found

        def whole(tally: Tally) -> Ids:
            """What was written, without the beginning of a character: as it would have been told."""
            written = Completion(tuple(tally.written), "cut")
            return written.ids[: len(written.ids) - kept_text(engine.vocabulary, written)[1]]

        found, call = await self.paid(role, verb, work, decoding.seed, prefixes, cut, whole)
        for prefix, several in zip(prefixes, found, strict=True):
            for completion in several:
                self.memory.add(role, (*prefix, *_read(completion)))
        return found, call

    async def stream(
        self, role: str, engine: Engine, prefix: Ids, decoding: Decoding, verb: str, longer: Longer, on_text: OnText, cut: Cut | None = None
    ) -> tuple[list[list[Completion]], Call]:
        """One completion; `on_text` gets its text as soon as it is certain: nothing of it is taken back at the end.

        `cut`: the same, of what was told.
        """
        ids: list[int] = []

        async def work(tally: Tally) -> list[list[Completion]]:
            told, held, completion, to_bytes = 0, tuple[int, ...](), None, engine.vocabulary.to_bytes
            with _TypedErrors(engine):
                stream = engine.stream(prefix, decoding, key=self.key, tally=tally)
            try:
                while True:  # not `async for`, whose errors could not be told from those of who listens
                    try:
                        delta = await anext(stream)
                    except StopAsyncIteration:
                        break
                    except EngineError:
                        raise
                    except Exception as error:
                        raise _typed(engine, error) from error
                    if delta.completion:
                        completion = delta.completion
                    held = (*held, *delta.ids) if held else delta.ids
                    pending = to_bytes(held)
                    if pending and not UnfinishedCharacter.trailing(pending):
                        text = pending.decode("utf-8", "replace")
                        told += len(text)
                        ids.extend(held)
                        held = ()
                        on_text(text, ids)
            finally:
                if isinstance(stream, AsyncGenerator):
                    await stream.aclose()
            if completion is None:
                raise EngineError(f"{engine.name}: a stream ended without its completion; the connection may have been cut")
            asked = decoding.max_tokens
            while self._nothing_whole(engine.vocabulary, completion) and (asked := longer(len(completion.ids) or asked)):
                ((again,),) = await self._asked(engine, [prefix], _going_on(decoding, asked), tally)
                if len(again.ids) <= len(completion.ids):
                    break
                completion = again
            on_text(kept_text(engine.vocabulary, completion)[0][told:], completion.ids)
            return [[completion]]

        # In a task of its own: a token then wakes this one, and not all who wait above it.
        found, call = await self.paid(
            role, verb, lambda tally: asyncio.create_task(work(tally)), decoding.seed, [prefix], cut, lambda _: ids
        )
        self.memory.add(role, (*prefix, *_read(found[0][0])))
        return found, call

    async def score(
        self, role: str, engine: Engine, prefixes: Sequence[Ids], continuations: Sequence[Ids], seed: int
    ) -> tuple[list[list[float]], Call]:
        async def work(tally: Tally) -> list[list[float]]:
            with _TypedErrors(engine):
                return await engine.score(prefixes, continuations, key=self.key, tally=tally)

        found, call = await self.paid(role, "score", work, seed, prefixes)
        for prefix, ids in zip(prefixes, continuations, strict=True):
            self.memory.add(role, (*prefix, *ids))
        return found, call

    async def paid(
        self,
        role: str,
        verb: str,
        work: Callable[[Tally], Awaitable[T]],
        seed: int,
        prefixes: Sequence[Ids],
        cut: Cut | None = None,
        left: Callable[[Tally], Ids] = lambda _: (),
    ) -> tuple[T, Call]:
        """Runs the work and says what it cost. Work that gives nothing is taken down here, for nobody else will.

        `left`: what it had written all the same, for `cut`.
        """
        if self._closed:
            raise ChainStateError(f"{verb}: the chain is over; await all work before the method returns")
        tally, start, task = Tally(), time.perf_counter(), asyncio.current_task()
        self._at_work.add(task)
        own = _Own(self.memory.begin(role, prefixes), sum(map(len, prefixes)), start - self._began)
        try:
            value = await work(tally)
        except BaseException as error:
            reason = (str(error) or type(error).__name__) if isinstance(error, Exception) else ""
            lost = False
            if isinstance(error, EngineError):
                error.role, lost = role, error.lost
            proposal = cut(Completion(tuple(ids), "cut")) if cut and (ids := left(tally)) else None
            self._record(Cancelled(call=_cost(role, tally, start, own), verb=verb, seed=seed, error=reason, lost=lost, proposal=proposal))
            raise
        finally:
            self._at_work.discard(task)
        return value, _cost(role, tally, start, own)

    async def close(self) -> None:
        """Cancels every call that is still under way and waits until its cost is taken down. No call can follow."""
        self._closed = True
        left = [task for task in self._at_work if task and task is not asyncio.current_task()]
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left)
        self._record = _too_late  # the chain's own `record` would hold the chain, and all of its text, until the garbage is collected

    async def _asked(self, engine: Engine, prefixes: Sequence[Ids], decoding: Decoding, tally: Tally) -> list[list[Completion]]:
        with _TypedErrors(engine):
            return await engine.complete(prefixes, decoding, key=self.key, tally=tally)

    @staticmethod
    def free(role: str) -> Call:
        """The cost of not calling."""
        return Call(role, 0, 0, 0, 0, 0, 0.0)

    @staticmethod
    def _nothing_whole(vocabulary: Vocabulary, completion: Completion) -> bool:
        """Cut before its first character was whole: a chunk of one token would never get anywhere. Some servers do not say its ids."""
        if not completion.ids:
            return completion.finish == "length"
        if not len(completion.ids) < LONGEST_CHARACTER or completion.finish not in ("length", "stop"):
            return False
        end = vocabulary.to_bytes(completion.ids[-LONGEST_CHARACTER:])
        return bool(UnfinishedCharacter.trailing(end)) and kept_text(vocabulary, completion)[1] == len(completion.ids)


def _too_late(event: AnyEvent) -> None:
    raise ChainStateError(f"{type(event).__name__}: the chain is over; await all work before the method returns")


class _TypedErrors:
    """Whatever an engine raises comes out as an `EngineError`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, Exception) and not isinstance(error, EngineError):
            raise _typed(self._engine, error) from error


def _typed(engine: Engine, error: Exception) -> EngineError:
    return EngineError(f"{engine.name} failed: {type(error).__name__}: {error}")


def kept_text(vocabulary: Vocabulary, completion: Completion) -> tuple[str, int]:
    """The text of a completion, and how many trailing tokens are dropped because they begin a character and do not end it."""
    size, data = len(completion.ids), vocabulary.to_bytes(completion.ids)
    end = len(data)
    while UnfinishedCharacter.trailing(data[:end]) and (end == len(data) or data[end] & 0xC0 == 0x80):
        size -= 1
        end = len(vocabulary.to_bytes(completion.ids[:size]))
    return data[:end].decode("utf-8", "replace"), len(completion.ids) - size


def _going_on(decoding: Decoding, limit: int) -> Decoding:
    """As before, but past the place where it was cut."""
    return structs.replace(decoding, max_tokens=limit, stop=())


def _read(completion: Completion) -> Ids:
    """Returns the tokens that the engine has computed with: the last one only where another token, the end's, came after it."""
    return completion.ids if completion.end_id is not None else completion.ids[:-1]


class _Own(NamedTuple):
    """Of a call's prompts: the tokens that the chain had sent before, and all tokens; and when the call began."""

    seen: int
    given: int
    began: float


def _cost(role: str, tally: Tally, start: float, own: _Own) -> Call:
    """The engine may count a prompt once for each completion: all but the first are the chain's own."""
    again = max(0, tally.prompt_tokens - own.given)
    shared = max(0, tally.cached_tokens - own.seen - again)
    seconds = round(time.perf_counter() - start, 6)
    return Call(
        role=role,
        requests=tally.requests,
        prompt_tokens=tally.prompt_tokens,
        cached_tokens=tally.cached_tokens,
        produced_tokens=tally.produced_tokens,
        scored_tokens=tally.scored_tokens,
        seconds=seconds,
        shared_cache_tokens=shared,
        began=round(own.began, 6),
    )
