"""The output of an own engine is checked: a mistake is one error that names the engine."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from msgspec import structs
from strategies import Verbs, check_books

from speculative import EngineError, Pair, Trace, UsageError, solve
from speculative.chain.chain import Chain
from speculative.engines.base import CallStats, Completion, Decoding, Ids, Scores
from speculative.testing import ScriptedEngine

SCRIPT = "Six sevens.\n\n</think>\\boxed{42}"
NO_STREAM = ScriptedEngine("").abilities - {"stream"}


class Faulty(ScriptedEngine):
    """Changes its completions or its scores."""

    def __init__(self, change: Callable[[Any], Any], *, counts: bool = True, streams: bool = False) -> None:
        super().__init__(SCRIPT)
        self.change, self.counts = change, counts
        self.abilities = self.abilities if streams else NO_STREAM

    async def complete(self, prefixes: Sequence[Ids], decoding: Decoding, *, key: str, stats: CallStats) -> Any:
        found = await super().complete(prefixes, decoding, key=key, stats=stats)
        if not self.counts:
            stats.produced_tokens, stats.written = 0, ()
        return self.change([[self._longer(one, decoding) for one in several] for several in found])

    def _longer(self, one: Completion, decoding: Decoding) -> Completion:
        return structs.replace(one, ids=one.ids + (one.ids[:1] * (decoding.max_tokens + 9))) if self.change is too_long else one

    async def score(self, prefixes: Sequence[Ids], continuations: Sequence[Ids], *, key: str, stats: CallStats, top: int = 0) -> Any:
        return self.change(await super().score(prefixes, continuations, key=key, stats=stats, top=top))


def too_long(found: Any) -> Any:
    return found


def foreign(found: list[list[Completion]]) -> Any:
    return [[structs.replace(one, ids=(10**9, -5)) for one in several] for several in found]


def failure(engine: ScriptedEngine, script: Any, **settings: Any) -> EngineError:
    with pytest.raises(EngineError) as raised:
        solve("6*7?", Verbs(script=script), pair=Pair(engine, ScriptedEngine(SCRIPT)), **settings)
    assert raised.value.role == "big"
    assert str(raised.value).startswith(engine.name)
    assert Trace(pickle.loads(pickle.dumps(raised.value)).trace.events) == raised.value.trace
    check_books(raised.value.trace)
    return raised.value


async def write(chain: Chain) -> None:
    await chain.write("big", max_tokens=8)


async def score(chain: Chain) -> None:
    draft = await chain.draft("small", stop="\n\n")
    await chain.score("big", [draft])


@pytest.mark.parametrize(
    ("engine", "verb", "words"),
    [
        (Faulty(too_long), write, "must write at most 8 tokens (max_tokens), got"),
        (Faulty(lambda _: []), write, "must give 1 completions for each of 1 prefixes, got none"),
        (Faulty(lambda _: [[]]), write, "must give 1 completions for each of 1 prefixes, got 0"),
        (Faulty(lambda _: None), write, "failed: TypeError"),
        (Faulty(foreign), write, "must write ids of its vocabulary, got 1000000000"),
        (Faulty(lambda found: found, counts=False), write, "must add its tokens to stats.produced_tokens, got 0 for 8 tokens"),
        (Faulty(lambda _: []), score, "must score every token, got no log-probabilities for"),
        (Faulty(lambda _: [Scores([-1.0])]), score, "must score every token, got 1 log-probabilities for"),
    ],
)
def test_a_mistake_of_an_engine_is_one_error_that_names_it(engine: ScriptedEngine, verb: Any, words: str) -> None:
    assert words in str(failure(engine, verb))


def test_a_stream_of_too_many_tokens_is_an_error() -> None:
    class Endless(ScriptedEngine):
        async def stream(self, prefix: Ids, decoding: Decoding, *, key: str, stats: CallStats) -> Any:
            async for delta in super().stream(prefix, structs.replace(decoding, max_tokens=9), key=key, stats=stats):
                yield delta

    with pytest.raises(EngineError, match=re.escape("must write at most 3 tokens (max_tokens), got 4")):
        solve("6*7?", "big_only", pair=Pair(Endless(SCRIPT), ScriptedEngine("")), listener=lambda _: None, max_tokens=3, answer_tokens=0)


def test_abilities_that_are_no_set_are_refused_at_once() -> None:
    engine = ScriptedEngine(SCRIPT)
    engine.abilities = ["continue", "score"]  # type: ignore[assignment]
    with pytest.raises(UsageError, match="the abilities of the engine scripted must be a set, got a list"):
        Pair(engine, ScriptedEngine(""))


@pytest.mark.parametrize("wrong", [1, None, "bundled:big"])
def test_a_pair_takes_engines_only(wrong: Any) -> None:
    with pytest.raises(UsageError, match=re.escape(f"big must be an Engine, got {wrong!r}; Pair.open opens one by its spec")):
        Pair(wrong, ScriptedEngine(""))


def test_a_completion_without_ids_is_asked_for_again_with_more_tokens_than_the_first_time() -> None:
    class Silent(ScriptedEngine):
        """Gives no ids in its first reply, as a server that thinks in secret."""

        async def complete(self, prefixes: Sequence[Ids], decoding: Decoding, *, key: str, stats: CallStats) -> Any:
            first, found = not self.calls, await super().complete(prefixes, decoding, key=key, stats=stats)
            return [[Completion((), "length")]] if first else found

    async def write_long(chain: Chain) -> None:
        await chain.write("big", max_tokens=20)

    engine = Silent("a long thought " * 20, abilities=NO_STREAM)
    result = solve("6*7?", Verbs(script=write_long), pair=Pair(engine, ScriptedEngine(SCRIPT)))
    assert len(result.trace.ledger.pieces[0].text) == 40
