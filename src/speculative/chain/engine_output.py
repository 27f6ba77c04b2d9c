"""Checks the output of an engine, so that limits and books hold with any."""

from __future__ import annotations

from collections.abc import Sequence

from speculative.engines.base import CallStats, Completion, Engine, Ids, Scores
from speculative.errors import EngineError


def check_completions(engine: Engine, found: Sequence[Sequence[Completion]], prefixes: int, n: int, most: int) -> None:
    """Raises `EngineError` for a wrong number of completions, or for wrong tokens.

    `most`: the tokens of one completion at most.
    """
    if len(found) != prefixes or any(len(several) != n for several in found):
        sizes = ", ".join(str(len(several)) for several in found[:8]) or "none"
        raise _wrong(engine, f"must give {n} completions for each of {prefixes} prefixes, got {sizes}")
    for several in found:
        for completion in several:
            check_tokens(engine, completion.ids, completion.ids, most)


def check_tokens(engine: Engine, new: Ids, whole: Ids, most: int) -> None:
    """Raises `EngineError` for too many tokens, or for ids of another vocabulary."""
    if len(whole) > most:
        raise _wrong(engine, f"must write at most {most} tokens (max_tokens), got {len(whole)}")
    if not engine.tokenizer.knows(new):
        wrong = next(token for token in new if not engine.tokenizer.knows([token]))
        raise _wrong(engine, f"must write ids of its vocabulary, got {wrong!r:.40}")


def check_books(engine: Engine, found: Sequence[Completion], stats: CallStats) -> None:
    """Raises `EngineError` for tokens that the engine did not count.

    Greedy completions of one prefix may be copies of one, which is counted once.
    """
    for completion in found:
        if len(completion.ids) > stats.produced_tokens:
            raise _wrong(
                engine, f"must add its tokens to stats.produced_tokens, got {stats.produced_tokens} for {len(completion.ids)} tokens"
            )


def check_scores(engine: Engine, scores: Sequence[Scores], continuations: Sequence[Ids]) -> None:
    """Raises `EngineError` unless each token has its log-probability."""
    wanted, sizes = list(map(len, continuations)), list(map(len, scores))
    if sizes != wanted:
        raise _wrong(engine, f"must score every token, got {_listed(sizes)} log-probabilities for {_listed(wanted)} tokens")


def check_rewards(engine: Engine, rewards: Sequence[float], texts: Sequence[Ids]) -> None:
    """Raises `EngineError` unless each text has its reward."""
    if len(rewards) != len(texts):
        raise _wrong(engine, f"must give one reward a text, got {len(rewards)} for {len(texts)} texts")


def _wrong(engine: Engine, mistake: str) -> EngineError:
    return EngineError(f"{engine.name} {mistake}; mend the engine")


def _listed(sizes: Sequence[int]) -> str:
    return ", ".join(map(str, sizes[:8])) or "no"
