"""The engine of a tower: a method and the pair that it runs on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar, get_args

from msgspec import structs

from speculative._sync import end_all
from speculative.chain.calls import derive_seed
from speculative.engines.base import Ability, Authors, CallStats, Completion, Decoding, Delta, Engine, Ids, Scores, prefill_tokens
from speculative.errors import EngineError, UnsupportedMethodError, UsageError
from speculative.methods.base import Method
from speculative.methods.wrapper import Wrapper
from speculative.problem import Degrade, Problem
from speculative.prompts import find_dialect
from speculative.tower.call import TowerCall
from speculative.tower.run import TowerRun
from speculative.trace.events import Degraded

T = TypeVar("T")

DELEGATED: frozenset[Ability] = frozenset({"choices"})
"""Abilities of the model that replies: a question is not the method's to answer."""


class TowerEngine:
    """Runs a method on a pair, as if both were one model.

    Each completion of thinking is a chain of the pair, which begins anew at the given prefix. Its draws depend on the seed of the call
    alone. Text behind the end of the thinking (answers, and replies to questions) is written by the model that writes the method's
    answers (`answer_by`), and scores are those of the pair's big model. No log-probabilities of written tokens are known, since two models
    wrote them. A prefill shows the text to both models.

    The pair shares one vocabulary. Tokens that it throws away are in the usage of the outer chain, and `small/big` is the part of this
    pair's big model if the tower fills the role `small`.
    """

    def __init__(self, method: Method, engines: Mapping[str, Engine], *, degrade: Degrade = "fail") -> None:
        """Takes over the engines: they are closed with this one.

        Args:
            method: The method that writes.
            engines: The engines of the roles `big` and `small`, and perhaps `judge`: a `Pair`.
            degrade: The role that goes on alone where the other one's server is lost.

        Raises:
            UsageError: The engines have different vocabularies, or the method writes several chains.
            UnsupportedMethodError: An engine lacks an ability that the method needs.
        """
        _check(method, engines)
        if degrade not in get_args(Degrade):
            raise UsageError(f"degrade must be one of {', '.join(get_args(Degrade))}, got {degrade!r}")
        big = engines["big"]
        self.method, self.inner = method, dict(engines)
        self._degrade: Degrade = degrade
        self.name = _name(method, engines)
        self.tokenizer, self.dialect = big.tokenizer, big.dialect
        self.context = min(engines[role].context for role in ("big", "small"))
        self._speaker = method.answer_by
        self.prefill_tokens = sum(prefill_tokens(engines[role]) for role in ("big", "small"))
        self.abilities: frozenset[Ability] = (
            frozenset[Ability]({"continue", "ids", "stream"})
            | (DELEGATED & engines[self._speaker].abilities)
            | (big.abilities & {"score"})
            | (big.abilities & engines["small"].abilities & {"cached"})
        )
        dialect, token = find_dialect(self.dialect), self.tokenizer.special_token_id
        self._opening = token(dialect.think_start) if dialect.think_start else None
        self._closing = token(dialect.think_end) if dialect.think_end else None

    async def complete(self, prefixes: Sequence[Ids], decoding: Decoding, *, key: str, stats: CallStats) -> list[list[Completion]]:
        """Returns `decoding.n` completions for each prefix, in order."""
        if decoding.purpose == "prefill":
            return await self._prefill(prefixes, decoding, key, stats)
        n = decoding.n if decoding.temperature else min(decoding.n, 1)
        places = [(i, j) for i in range(len(prefixes)) for j in range(n)]
        alone = len(places) == 1
        calls = [TowerCall(prefixes[i], _one(decoding, i, j), key, alone) for i, j in places]
        found = await _gather([self._completion(call, stats) for call in calls])
        rows = [found[i * n : (i + 1) * n] for i in range(len(prefixes))]
        return rows if n == decoding.n else [row * decoding.n for row in rows]

    async def stream(self, prefix: Ids, decoding: Decoding, *, key: str, stats: CallStats) -> AsyncIterator[Delta]:
        """Yields one completion as it is written, with the ids that `complete` gives.

        The tokens of a method that may take text back come all at the end.
        """
        queue: asyncio.Queue[Ids | None] = asyncio.Queue()
        taken = asyncio.Event()
        taken.set()

        def tell(ids: Ids) -> None:
            taken.clear()
            queue.put_nowait(ids)

        pause = taken.wait if decoding.paced else None
        call = TowerCall(prefix, _one(decoding, 0, 0), key, on_ids=tell, taken=pause)
        task = asyncio.create_task(self._completion(call, stats))
        task.add_done_callback(lambda _: queue.put_nowait(None))
        told = 0
        try:
            while (ids := await queue.get()) is not None:
                told += len(ids)
                yield Delta(tuple(ids))
                if queue.empty():
                    taken.set()
            completion = await task
            yield Delta(completion.ids[told:], completion)
        finally:
            await end_all([task])

    async def score(
        self, prefixes: Sequence[Ids], continuations: Sequence[Ids], *, key: str, stats: CallStats, top: int = 0
    ) -> list[Scores]:
        """Returns the log-probabilities (nats) under the pair's big model."""
        more: dict[str, Any] = {"top": top} if top else {}
        with _paid(stats, "big") as own:
            return await self.inner["big"].score(prefixes, continuations, key=key, stats=own, **more)

    async def aclose(self) -> None:
        """Closes the engines of the pair."""
        engines = {id(engine): engine for engine in self.inner.values()}.values()
        for failed in await asyncio.gather(*(engine.aclose() for engine in engines), return_exceptions=True):
            if failed is not None:
                raise failed

    async def _completion(self, call: TowerCall, stats: CallStats) -> Completion:
        if call.decoding.max_tokens < 1:
            return Completion((), "length")
        opening = None if call.decoding.purpose in ("answer", "reply") else self._thinking_begins(call.prefix)
        if opening is None:
            return await self._reply(call, stats)
        return await TowerRun(self.method, self.inner, self._degrade, call, opening).run(stats)

    def _thinking_begins(self, prefix: Ids) -> int | None:
        """Returns the place behind the token that opens the thinking, or None.

        A prompt without such tokens thinks from its end on.
        """
        for place in range(len(prefix) - 1, -1, -1):
            if prefix[place] == self._closing:
                return None
            if prefix[place] == self._opening:
                return place + 1
        return len(prefix)

    async def _reply(self, call: TowerCall, stats: CallStats) -> Completion:
        """Lets the model that writes the answers write, outside of the thinking.

        If its server is lost before the first token, the survivor writes.
        """
        told = 0

        def tell(ids: Ids) -> None:
            nonlocal told
            told += len(ids)
            if call.on_ids:
                call.on_ids(ids)

        counted = structs.replace(call, on_ids=tell) if call.on_ids else call
        try:
            return await self._reply_by(self._speaker, counted, stats)
        except EngineError as error:
            if not error.lost or told or self._degrade in ("fail", self._speaker):
                raise
            stats.chains.append([Degraded(role=self._speaker, survivor=self._degrade, error=str(error))])
        return await self._reply_by(self._degrade, counted, stats)

    async def _reply_by(self, role: str, call: TowerCall, stats: CallStats) -> Completion:
        own = CallStats()
        try:
            with _paid(stats, role) as own:
                completion = await _read(self.inner[role], call, own)
        finally:
            if call.alone:
                stats.written, stats.authors = own.written, _within(role, own.authors, len(own.written))
        return structs.replace(completion, authors=_within(role, completion.authors, completion.produced))

    async def _prefill(self, prefixes: Sequence[Ids], decoding: Decoding, key: str, stats: CallStats) -> list[list[Completion]]:
        """Shows the text to both models, or to those that may produce a token.

        Returns the token of the one that writes answers.
        """
        shares, left = list[tuple[str, int]](), decoding.max_produced
        for role in (self._speaker, "small" if self._speaker == "big" else "big"):
            share = prefill_tokens(self.inner[role])
            if left is not None:
                share = min(share, left)
                left -= share
            shares += [(role, share)] if share else []

        async def prefill(role: str, share: int) -> list[list[Completion]]:
            with _paid(stats, role) as own:
                limited = structs.replace(decoding, max_produced=share)
                return await self.inner[role].complete(prefixes, limited, key=key, stats=own)

        return (await _gather([prefill(role, share) for role, share in shares]))[0]


async def _read(engine: Engine, call: TowerCall, stats: CallStats) -> Completion:
    """Returns one completion of an engine, and tells its tokens as they come."""
    if call.on_ids is None or "stream" not in engine.abilities:
        ((completion,),) = await engine.complete([call.prefix], call.decoding, key=call.key, stats=stats)
        return completion
    stats.written = written = list[int]()
    stream = engine.stream(call.prefix, call.decoding, key=call.key, stats=stats)
    try:
        async for delta in stream:
            if delta.completion is not None:
                return delta.completion
            written += delta.ids
            call.on_ids(delta.ids)
            if call.taken:
                await call.taken()
    finally:
        if isinstance(stream, AsyncGenerator):
            await stream.aclose()
    raise EngineError(f"{engine.name}: a stream ended without its completion; the connection may have been cut")


def _within(role: str, authors: Authors, tokens: int) -> Authors:
    """Returns the authors of a role's tokens: itself, or the models of a tower."""
    return tuple((f"{role}/{author}", count) for author, count in authors) or ((role, tokens),)


def _one(decoding: Decoding, prefix: int, number: int) -> Decoding:
    """Returns the settings of one completion, with a seed of its place."""
    return structs.replace(decoding, n=1, seed=derive_seed(decoding.seed, f"{prefix}/{number}"), resumes=None)


@contextmanager
def _paid(stats: CallStats, role: str) -> Generator[CallStats]:
    """Gives the stats of a call of one model, and adds them to the tower's."""
    own, began = CallStats(), time.perf_counter()
    try:
        yield own
    finally:
        own.seconds = time.perf_counter() - began
        stats.add(own, timed=False)
        stats.inner.setdefault(role, CallStats()).add(own)
        for inner, more in own.inner.items():
            stats.inner.setdefault(f"{role}/{inner}", CallStats()).add(more)


async def _gather(works: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """Awaits several works at once. All are over when it returns, also after an error."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        return await asyncio.gather(*tasks)
    finally:
        await end_all(tasks)


def _check(method: Method, engines: Mapping[str, Engine]) -> None:
    """Raises `UsageError` for a pair or a method that cannot be one engine."""
    if not isinstance(method, Method):  # pyright: ignore[reportUnnecessaryIsInstance]  of a program that is not typed
        raise UsageError(f"the method of a tower must be a Method, got {method!r}; make one with its class")
    if missing := [role for role in ("big", "small") if role not in engines]:
        raise UsageError(f"a tower must have engines for big and small, got none for {' and '.join(missing)}")
    for role, needs in method.required_abilities().items():
        if lacking := needs - (engines[role].abilities if role in engines else frozenset[str]()):
            raise UnsupportedMethodError(
                f"{method.full_name} needs {', '.join(sorted(lacking))} of the {role} model of the tower, which lacks it"
            )
    big = engines["big"]
    for role, engine in engines.items():
        if role != "judge" and engine.tokenizer.fingerprint != big.tokenizer.fingerprint:
            raise UsageError(
                f"the models of a tower must share one vocabulary, got {big.name} and {engine.name}; choose models of one family"
            )
    innermost = _innermost(method)
    if method.chains_at_once > 1 or type(innermost).run is not Method.run:
        raise UsageError(f"the method of a tower must write one chain step by step, got {method.full_name}; choose another method")
    sample = Problem.of("?")
    if method.prepare(sample) != sample or method.instructs:
        raise UsageError(f"the method of a tower cannot add a hint to the problem, as {method.full_name} does; leave its hint out (hint=)")


def _innermost(method: Method) -> Method:
    return _innermost(method.inner) if isinstance(method, Wrapper) else method


def _name(method: Method, engines: Mapping[str, Engine]) -> str:
    """Returns the tower as users spell it, with the parameters that are not defaults."""
    innermost = _innermost(method)
    own, fields = innermost.params, type(innermost).model_fields
    params = [f"{name}={value}" for name, value in own.items() if name in innermost.model_fields_set and value != fields[name].default]
    judge = [f"judge={engines['judge'].name}"] if "judge" in engines else []
    return f"{method.full_name}({', '.join([engines['small'].name, engines['big'].name, *judge, *params])})"
