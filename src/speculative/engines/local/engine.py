"""The bundled engine: a small Qwen2 model in this process."""

from __future__ import annotations

import asyncio
import json
import weakref
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from math import exp
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import structs

from speculative._sync import to_its_end
from speculative.engines.base import Ability, CallStats, Completion, Decoding, Delta, Ids, Scores
from speculative.engines.options import SHIPPED as SPECS
from speculative.errors import ContextExceededError, EngineClosedError, EngineError, WeightsError

if TYPE_CHECKING:
    from speculative.engines.local.calls import Completing, Scoring
    from speculative.engines.local.stops import Stops
    from speculative.engines.local.worker import Worker
    from speculative.engines.tokenizers.byte_bpe import ByteBpeTokenizer

REWARD_ABILITIES: frozenset[Ability] = frozenset({"ids", "reward", "cached"})
SHIPPED = Path(__file__).parents[2] / "bundled"


class BundledEngine:
    """Runs a bundled model with ONNX Runtime in a thread.

    Any number of event loops may use one engine, until `aclose`. Keys and values are cached in at most `cache_bytes` and found by
    longest prefix. The default is an eighth of the free memory, at least 512 MiB and at most 3 GiB. In a container only the memory under
    its limit is free.

    A model whose `config.json` names `reward_ids`, a token for wrong and one for right, is a reward model: it writes nothing, and its
    reward of a text is the probability that the text is right.
    """

    folder: Path | None = None
    dialect: str = "bundled"
    abilities: frozenset[Ability] = frozenset({"continue", "ids", "logprobs", "top", "choices", "score", "stream", "cached"})

    def __init__(self, name: str, tokenizer: ByteBpeTokenizer, worker: Worker) -> None:
        self.name, self.tokenizer = name, tokenizer
        self.context = worker.model.positions
        self._worker = worker
        self._stops: dict[tuple[tuple[str, ...], tuple[int, ...]], Stops] = {}
        self._reward_ids: tuple[int, ...] = ()  # wrong, right
        weakref.finalize(self, worker.close)  # also at exit, before the interpreter takes the thread's ground away

    @classmethod
    def open(cls, source: str | Path, *, cache_bytes: int | None = None, context: int | None = None, threads: int = 1) -> BundledEngine:
        """Loads a shipped model, as `big` or `reward`, or a folder.

        `context` sets fewer positions than the model has. More `threads` help an engine that works alone. Raises `WeightsError`.
        """
        from speculative.engines.local.memory import default_cache_bytes
        from speculative.engines.local.model import Model
        from speculative.engines.local.worker import Worker
        from speculative.engines.tokenizers.byte_bpe import ByteBpeTokenizer

        ours = f"bundled:{source}" in SPECS
        folder = SHIPPED / source if ours else Path(source)
        if not folder.is_dir():
            raise WeightsError(f"{folder}: there is no such model folder; name {', '.join(SPECS)} or a folder that holds a model")
        tokenizer = ByteBpeTokenizer(folder / "tokenizer.json")
        name = f"bundled:{source if ours else folder.name}"
        cache_bytes = default_cache_bytes() if cache_bytes is None else cache_bytes
        opened = cls(name, tokenizer, Worker(name, Model(folder, context, threads), cache_bytes))
        opened.folder = folder
        opened._reward_ids = _read_reward_ids(folder)
        if opened._reward_ids:
            opened.abilities = REWARD_ABILITIES
        return opened

    async def complete(self, prefixes: Sequence[Ids], decoding: Decoding, *, key: str, stats: CallStats) -> list[list[Completion]]:
        """Returns `decoding.n` completions for each prefix, in order."""
        self._check_writes()
        return await self._complete(prefixes, decoding, stats)

    async def _complete(self, prefixes: Sequence[Ids], decoding: Decoding, stats: CallStats) -> list[list[Completion]]:
        from speculative.engines.local.calls import Completing

        arrays = [self._checked(prefix, 1 if decoding.max_tokens else 0) for prefix in prefixes]
        self._check(decoding)
        if not arrays or not decoding.n:
            return [[] for _ in arrays]
        n, decoding = decoding.n, decoding if decoding.temperature else structs.replace(decoding, n=1)
        stats.requests += 1
        call = Completing(stats, arrays, decoding, self._stopping(decoding))
        self._worker.put(call)
        found = await self._result(call)
        return found if n == decoding.n else [several * n for several in found]

    async def stream(self, prefix: Ids, decoding: Decoding, *, key: str, stats: CallStats) -> AsyncIterator[Delta]:
        """Yields one completion as it is written, with the ids that `complete` gives."""
        from speculative.engines.local.calls import Streaming

        self._check_writes()
        array = self._checked(prefix, 1 if decoding.max_tokens else 0)
        self._check(decoding)
        if decoding.n != 1:
            raise EngineError(f"{self.name}: a stream gives one completion, not n={decoding.n}; call `complete`")
        stats.requests += 1
        call = Streaming(stats, array, decoding, self._stopping(decoding))
        self._worker.put(call)
        try:
            while True:
                await call.ready.wait()
                call.ready.clear()
                while call.deltas:
                    delta = call.deltas.popleft()
                    yield delta
                    if delta.completion is not None:
                        return
                    if decoding.paced:
                        self._worker.go_on(call)
                if call.future.done():
                    await call.future  # raises what went wrong
        finally:
            await self._end(call)

    async def score(
        self, prefixes: Sequence[Ids], continuations: Sequence[Ids], *, key: str, stats: CallStats, top: int = 0
    ) -> list[Scores]:
        """Returns the log-probability (nats) of every token of each continuation."""
        from speculative.engines.local.calls import Scoring

        self._check_writes()
        if len(prefixes) != len(continuations):
            raise EngineError(f"{self.name}: {len(prefixes)} prefixes and {len(continuations)} continuations; give one for each")
        arrays = [self._checked(prefix, len(scored)) for prefix, scored in zip(prefixes, continuations, strict=True)]
        scored = [self._ids(ids) for ids in continuations]
        if not arrays:
            return []
        stats.requests += 1
        call = Scoring(stats, arrays, scored, top)
        self._worker.put(call)
        return await self._result(call)

    async def reward(self, texts: Sequence[Ids], *, key: str, stats: CallStats) -> list[float]:
        """Returns the reward of each text at its last token, from 0 to 1.

        All tokens that were read are prompt tokens, none is a scored one.
        """
        if not self._reward_ids:
            raise EngineError(f"{self.name}: the model gives no rewards; bundled:reward does")
        if not texts:
            return []
        own = CallStats()
        try:
            found = await self._complete(texts, Decoding(1, choices=self._reward_ids), own)
        finally:
            own.produced_tokens = 0  # the one token of each text is no text
            stats.add(own, timed=False)
        return [_likelihood(row[0].choice_logprobs) for row in found]

    async def aclose(self) -> None:
        """Fails the calls in flight with `EngineClosedError` and ends the thread."""
        await asyncio.to_thread(self._worker.close)

    async def _result(self, call: Completing | Scoring) -> Any:
        try:
            return await call.future
        except asyncio.CancelledError:
            await self._end(call)
            raise

    async def _end(self, call: Completing | Scoring) -> None:
        """Cancels a call and waits until its work has ended, so that its stats are final."""
        if call.future.done() and not call.future.cancelled():
            call.future.exception()  # marks the exception as retrieved
        call.future.cancel()
        if not call.settled:
            call.gone = call.loop.create_future()
            with suppress(EngineClosedError):
                self._worker.cancel(call)
                await to_its_end(call.gone)

    def _check_writes(self) -> None:
        if self._reward_ids:
            raise EngineError(f"{self.name}: cannot write or score text, it is a reward model; use it as the judge")

    def _checked(self, prefix: Ids, room: int) -> Any:
        """Returns the prefix as an array.

        Raises `ContextExceededError` unless `room` more tokens fit, `EngineError` for what no model can read.
        """
        if len(prefix) + room > self.context:
            raise ContextExceededError(self.name, len(prefix) + room, self.context)
        if not len(prefix):
            raise EngineError(f"{self.name}: an empty prefix cannot be continued; begin with the prompt")
        return self._ids(prefix)

    def _ids(self, ids: Ids) -> Any:
        import numpy as np

        size = self._worker.model.shape.vocabulary
        array = np.array(ids, np.int64)
        if len(array) and (array.min() < 0 or array.max() >= size):
            wrong = next(number for number in ids if not 0 <= number < size)
            raise EngineError(f"{self.name}: id {wrong} is not in the vocabulary of {size}; the ids belong to another model")
        return array.astype(np.int32)

    def _check(self, decoding: Decoding) -> None:
        checks = {
            "max_tokens": decoding.max_tokens >= 0,
            "n": decoding.n >= 0,
            "temperature": decoding.temperature >= 0,
            "top_p": 0 < decoding.top_p <= 1,
            "top_k": decoding.top_k >= 0,
            "top_logprobs": decoding.top_logprobs >= 0,
            "choices": all(0 <= token < self._worker.model.shape.vocabulary for token in decoding.choices),
        }
        for name, fine in checks.items():
            if not fine:
                raise EngineError(f"{self.name}: {name}={getattr(decoding, name)} is out of range; see Decoding")

    def _stopping(self, decoding: Decoding) -> Stops:
        from speculative.engines.local.stops import Stops

        key = (decoding.stop, decoding.stop_ids)
        if key not in self._stops:
            if len(self._stops) >= 64:
                self._stops.clear()
            self._stops[key] = Stops(*key, self.tokenizer, self._worker.model.shape.vocabulary)
        return self._stops[key]


def _likelihood(logprobs: Sequence[float] | None) -> float:
    """Returns the probability of the second of two outcomes."""
    wrong, right = logprobs or (0.0, 0.0)
    return 1 / (1 + exp(min(wrong - right, 700.0)))


def _read_reward_ids(folder: Path) -> tuple[int, ...]:
    """Returns the tokens for wrong and right of a reward model.

    Raises `WeightsError`.
    """
    path = folder / "config.json"
    config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    ids: Any = config.get("reward_ids") or []
    try:
        found = tuple(int(token) for token in ids)
    except (TypeError, ValueError):
        found = ()
    if ids and (len(found) != 2 or not all(0 <= token < config["vocab_size"] for token in found)):
        raise WeightsError(f"{path}: reward_ids must be the ids of two tokens, got {ids}")
    return found
