"""Runs a method again from a saved trace: an engine that gives what the trace says was given."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from speculative import events
from speculative.engines.base import Ability, Completion, Decoding, Delta, Engine, Ids, Tally, Vocabulary, digest
from speculative.errors import ReplayMismatch
from speculative.trace import Trace

ABILITIES: frozenset[Ability] = frozenset({"continue", "ids", "logprobs", "score", "stream", "cached"})


class ReplayEngine:
    """The engine of one role, out of a trace. Completions are found by their seed, which names their place in the tree.

    `like` lends its vocabulary, which must be the one that the trace was made with. What the trace does not hold raises
    `ReplayMismatch`: the method or its parameters are not those of the trace.
    """

    abilities = ABILITIES

    def __init__(self, trace: Trace, role: str, like: Engine) -> None:
        card = trace.started.engines.get(role)
        if card is None:
            raise ReplayMismatch(f"the trace has no engine for the role {role}; it has {', '.join(trace.started.engines)}")
        if card.fingerprint != like.vocabulary.fingerprint:
            raise ReplayMismatch(f"the trace's {role} model was {card.name}, whose vocabulary is not that of {like.name}")
        self.name, self.dialect, self.context = card.name, card.dialect, card.context
        self.vocabulary: Vocabulary = like.vocabulary
        self._completions: dict[int, tuple[int, list[Completion]]] = {}
        self._scores: dict[str, list[list[float]]] = {}
        for event in trace.walk():
            self._learn(event, role)

    async def complete(self, prefixes: Sequence[Ids], decoding: Decoding, *, key: str, tally: Tally) -> list[list[Completion]]:
        requests, found = self._completions.get(decoding.seed, (0, []))
        if len(found) != len(prefixes) * decoding.n:
            raise ReplayMismatch(f"the trace holds {len(found)} completions for a call of {len(prefixes) * decoding.n} of {self.name}")
        tally.requests += requests
        tally.prompt_tokens += sum(map(len, prefixes))
        tally.produced_tokens += sum(completion.produced for completion in found)
        return [found[i : i + decoding.n] for i in range(0, len(found), decoding.n)]

    async def stream(self, prefix: Ids, decoding: Decoding, *, key: str, tally: Tally) -> AsyncIterator[Delta]:
        ((completion,),) = await self.complete([prefix], decoding, key=key, tally=tally)
        yield Delta(completion.ids, completion)

    async def score(self, prefixes: Sequence[Ids], continuations: Sequence[Ids], *, key: str, tally: Tally) -> list[list[float]]:
        found = self._scores.get(digest(prefixes, continuations))
        if found is None:
            raise ReplayMismatch(f"the trace does not hold the scores that the method asks {self.name} for")
        tally.requests += 1
        tally.scored_tokens += sum(map(len, continuations))
        return found

    async def aclose(self) -> None:
        """Nothing is open."""

    def _learn(self, event: events.AnyEvent, role: str) -> None:
        match event:
            case events.Wrote() | events.Answered() if event.call.role == role:
                self._completions[event.seed] = (event.call.requests, [event.proposal.completion])
            case events.Drafted() if event.call.role == role and event.call.requests:
                self._completions[event.seed] = (event.call.requests, [proposal.completion for proposal in event.proposals])
            case events.Asked() if event.call.role == role:
                self._completions[event.seed] = (event.call.requests, list(event.completions))
            case events.Warmed() if event.call.role == role:
                self._completions[event.seed] = (event.call.requests, [event.completion])
            case events.Scored() if event.call.role == role:
                self._scores[event.digest] = [list(logprobs) for logprobs in event.logprobs]
            case _:
                pass
