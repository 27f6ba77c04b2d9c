"""Replays a trace: an engine that returns the completions of a saved trace."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from speculative.engines.base import (
    PREFILL_SEED,
    Ability,
    CallStats,
    Completion,
    Decoding,
    Delta,
    Engine,
    Ids,
    Scores,
    Tokenizer,
    digest,
    seed_of,
)
from speculative.errors import EngineError, EngineUnreachableError, ReplayMismatchError
from speculative.trace import events
from speculative.trace.trace import VERSION, Trace

ABILITIES: frozenset[Ability] = frozenset({"continue", "ids", "logprobs", "top", "choices", "score", "reward", "stream", "cached"})


class ReplayEngine:
    """Replays the engine of one role from a trace.

    Completions are found by their seed, which is unique to a place in the tree.

    `like` provides the vocabulary, which must be that of the trace. A call that the trace does not hold raises `ReplayMismatchError`: the
    method or its parameters differ from those of the trace.
    """

    abilities = ABILITIES
    gives_whole_calls = True
    """The first request of a call gets the result of all its requests."""

    def __init__(self, trace: Trace, role: str, like: Engine) -> None:
        if trace.version < VERSION:
            raise ReplayMismatchError(
                f"a trace of version {trace.version} cannot be replayed, as its seeds are counted in another way; run the chain again"
            )
        card = trace.started.engines.get(role)
        if card is None:
            raise ReplayMismatchError(f"the trace has no engine for the role {role}; it has {', '.join(trace.started.engines)}")
        if card.fingerprint != like.tokenizer.fingerprint:
            raise ReplayMismatchError(f"the trace's {role} model was {card.name}, whose vocabulary is not that of {like.name}")
        self.name, self.dialect, self.context = card.name, card.dialect, card.context
        self.tokenizer: Tokenizer = like.tokenizer
        self._completions: dict[int, tuple[events.Call, list[Completion]]] = {}
        self._scores: dict[int, list[tuple[events.Call, list[Scores]]]] = {}
        self._rewards: dict[int, list[tuple[events.Call, list[float]]]] = {}
        self._cut: dict[int, events.Cancelled] = {}
        self._asked: dict[int, int] = {}
        self._warmed: list[tuple[events.Call, list[Completion]]] = []
        self.prefill_tokens = 1
        for event in trace.walk():
            self._learn(event, role)

    async def complete(self, prefixes: Sequence[Ids], decoding: Decoding, *, key: str, stats: CallStats) -> list[list[Completion]]:
        if decoding.seed == PREFILL_SEED:
            return [await self._warm_up(stats)]
        await self._cut_short(decoding.seed, stats)
        if decoding.max_tokens > self._asked.setdefault(decoding.seed, decoding.max_tokens):
            return [[Completion((), "length")] * decoding.n for _ in prefixes]  # the second try of a call: the trace holds its result
        call, found = self._completions.get(decoding.seed) or (None, list[Completion]())
        if not call or len(found) != len(prefixes) * decoding.n:
            raise ReplayMismatchError(f"the trace holds {len(found)} completions for a call of {len(prefixes) * decoding.n} of {self.name}")
        if not _could_be(found, call, decoding):
            raise ReplayMismatchError(f"a completion in the trace ends where this call of {self.name} would not")
        _charge(stats, call)
        return [found[i : i + decoding.n] for i in range(0, len(found), decoding.n)]

    async def stream(self, prefix: Ids, decoding: Decoding, *, key: str, stats: CallStats) -> AsyncIterator[Delta]:
        if (cut := self._cut_off(decoding.seed)) and cut.proposal:
            yield Delta(cut.proposal.completion.ids)
        ((completion,),) = await self.complete([prefix], decoding, key=key, stats=stats)
        yield Delta(completion.ids, completion)

    async def score(
        self, prefixes: Sequence[Ids], continuations: Sequence[Ids], *, key: str, stats: CallStats, top: int = 0
    ) -> list[Scores]:
        name = seed_of(digest(prefixes, continuations))
        if not (found := self._scores.get(name)):
            await self._cut_short(name, stats)
            raise ReplayMismatchError(f"the trace does not hold the scores that the method asks {self.name} for")
        call, scores = found.pop(0) if len(found) > 1 else found[0]
        _charge(stats, call)
        return scores

    async def reward(self, texts: Sequence[Ids], *, key: str, stats: CallStats) -> list[float]:
        name = seed_of(digest(texts, []))
        if not (found := self._rewards.get(name)):
            await self._cut_short(name, stats)
            raise ReplayMismatchError(f"the trace does not hold the rewards that the method asks {self.name} for")
        call, rewards = found.pop(0) if len(found) > 1 else found[0]
        _charge(stats, call)
        return rewards

    async def aclose(self) -> None:
        """Does nothing: a replay holds no resources."""

    async def _warm_up(self, stats: CallStats) -> list[Completion]:
        """Returns the next warm-up of the trace.

        After the last one it waits until it is cancelled.
        """
        if not self._warmed:
            await asyncio.get_running_loop().create_future()
        call, found = self._warmed.pop(0)
        _charge(stats, call)
        return found

    async def _cut_short(self, seed: int, stats: CallStats) -> None:
        """Fails as the call in the trace failed, or waits until it is cancelled."""
        if cut := self._cut_off(seed):
            _charge(stats, cut.call)
            stats.written, stats.authors = (cut.proposal.completion.ids, cut.proposal.completion.authors) if cut.proposal else ((), ())
            if cut.error:
                raise EngineUnreachableError(cut.error) if cut.lost else EngineError(cut.error)
            await asyncio.get_running_loop().create_future()

    def _cut_off(self, seed: int) -> events.Cancelled | None:
        """Returns the end of a call that gave no completion."""
        return None if seed in self._completions else self._cut.get(seed)

    def _learn(self, event: events.AnyEvent, role: str) -> None:
        match event:
            case events.Wrote() | events.Answered() if event.call.role == role:
                self._completions[event.seed] = (event.call, [event.proposal.completion])
            case events.Drafted() if event.call.role == role and event.call.requests:
                self._completions[event.seed] = (event.call, [proposal.completion for proposal in event.proposals])
            case events.Asked() if event.call.role == role:
                self._completions[event.seed] = (event.call, list(event.completions))
            case events.Prefilled() if event.call.role == role:
                self.prefill_tokens = max(self.prefill_tokens, event.call.produced_tokens)
                if event.seed == PREFILL_SEED:
                    self._warmed.append((event.call, [event.completion]))
                else:
                    self._completions[event.seed] = (event.call, [event.completion])
            case events.Scored() if event.call.role == role:
                tops = event.tops or [None] * len(event.logprobs)
                found = [Scores(*one) for one in zip(event.logprobs, tops, strict=True)]
                self._scores.setdefault(seed_of(event.digest), []).append((event.call, found))
            case events.Rewarded() if event.call.role == role:
                self._rewards.setdefault(seed_of(event.digest), []).append((event.call, list(event.rewards)))
            case events.Cancelled() if event.call.role == role:
                self._cut[event.seed] = event
            case _:
                pass


def _could_be(found: Sequence[Completion], call: events.Call, decoding: Decoding) -> bool:
    """Returns True if completions may come from such a call.

    A server may have written more than they hold.
    """
    paid = found if decoding.temperature > 0 else found[:: decoding.n]  # the others are copies
    lacking = sum(max(0, decoding.max_tokens - len(one.ids)) for one in paid if one.finish == "length" and not decoding.stop)
    if lacking and lacking > call.produced_tokens - sum(one.produced for one in paid):
        return False
    return all(one.end_id is None or one.end_id in decoding.stop_ids for one in found)


def _charge(stats: CallStats, call: events.Call) -> None:
    """Adds the cost of the call in the trace."""
    stats.add(call, timed=False)
    if call.inner:
        stats.chains += call.inner.chains
        for inner in call.inner.calls:
            stats.inner.setdefault(inner.role, CallStats()).add(inner)
