"""One completion of a tower: a chain of its pair."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from speculative._sync import end_all, to_its_end
from speculative.chain.chain import Chain
from speculative.chain.forgotten import watch_coroutines
from speculative.engines.base import Authors, CallStats, Completion, Engine, Ids
from speculative.errors import engine_error
from speculative.methods.base import Method
from speculative.problem import Degrade, Message, Problem, Sampling
from speculative.prompts import find_dialect
from speculative.tower.call import TowerCall
from speculative.tower.written import METHOD, WrittenIds
from speculative.trace.events import AnyEvent, Inserted
from speculative.trace.state import Piece


class TowerRun:
    """Writes one completion with a chain of the pair.

    The listener of the call gets the tokens as they are written, if the method never takes text back.
    """

    def __init__(self, method: Method, engines: Mapping[str, Engine], degrade: Degrade, call: TowerCall, opening: int) -> None:
        """Begins nothing yet.

        Args:
            method: Writes the chain.
            engines: The engines of the pair.
            degrade: The role of the pair that goes on alone where the other one's server is lost.
            call: The completion.
            opening: The number of tokens of its prefix that come before the thinking.
        """
        self._method, self._engines, self._call = method, engines, call
        self._decoding, self._on_ids = call.decoding, call.on_ids
        self._tokenizer = engines["big"].tokenizer
        self._final = method.text_is_final
        self._committed = WrittenIds(self._tokenizer, call.decoding)
        self._pieces, self._told, self._seen = 0, 0, 0
        self._ahead: WrittenIds | None = None
        self._full_at: int | None = None
        self._work: asyncio.Task[None] | None = None
        self._chain = self._make_chain(opening, degrade)

    async def run(self, stats: CallStats) -> Completion:
        """Returns the completion, and adds its cost to `stats`.

        Where it is alone in its call, `stats` also gets the tokens of a run that is cancelled.
        """
        self._chain.parts.contexts.check_fits()
        work = self._work = asyncio.create_task(self._write())
        try:
            await asyncio.wait([work])
        finally:
            await to_its_end(self._close(work, stats))
        if not self._committed.finish and (error := None if work.cancelled() else work.exception()):
            raise engine_error(error) or error
        return self._committed.completion

    async def _close(self, work: asyncio.Task[None], stats: CallStats) -> None:
        """Ends the work and the chain, and adds its cost to `stats`."""
        await end_all([work])
        self._end(work)
        await self._chain.close("cancelled" if work.cancelled() else "stop")
        self._charge(stats)
        if self._call.alone:
            stats.written, stats.authors = self._committed.ids, self._committed.authors

    # ---- the chain --------------------------------------------------------------------------------------------------

    def _make_chain(self, opening: int, degrade: Degrade) -> Chain:
        decoding, prefix = self._decoding, self._call.prefix
        told = self._user_text(prefix[:opening])
        problem = Problem(
            messages=(Message("user", told or "…"),),
            sampling=Sampling(decoding.temperature, decoding.top_p, decoding.top_k),
            max_tokens=decoding.max_tokens,
            max_produced=decoding.max_produced,
            seed=decoding.seed,
            stop=decoding.stop,
            raw=True,
            degrade=degrade,
            answer_tokens=0,
        )
        prompts = {(engine.dialect, engine.tokenizer.fingerprint): list(prefix) for engine in self._engines.values()}
        chain = Chain(problem, self._engines, append_only=self._final, prompts=prompts)
        thought = self._tokenizer.to_bytes(prefix[opening:]).decode("utf-8", "replace")
        on_ids = self._writing if self._on_ids and self._final else None
        chain.parts.enter_call(self._call.key, thought, self._listen, on_ids, self._call.taken)
        return chain

    def _user_text(self, prompt: Ids) -> str:
        """Returns the user's last message out of the tokens of a prompt."""
        special, texts = set(self._tokenizer.special_tokens.values()), [list[int]()]
        for token in prompt:
            if token in special:
                texts.append([])
            else:
                texts[-1].append(token)
        decoded = [self._tokenizer.to_bytes(ids).decode("utf-8", "replace") for ids in texts if ids]
        return find_dialect(self._engines["big"].dialect).user_text(decoded).strip()

    async def _write(self) -> None:
        with watch_coroutines(self._chain.called.forgotten):
            self._chain.in_method = True
            try:
                await self._method.run(self._chain)
                self._chain.check_finished()
            finally:
                self._chain.in_method = False

    # ---- what it wrote ----------------------------------------------------------------------------------------------

    def _listen(self, event: AnyEvent) -> None:
        """Takes final text from the chain, and ends the work where the completion ends."""
        if isinstance(event, Inserted):
            self._count_inserted(event.text)
        if self._final:
            self._take(self._chain.parts.ledger.pieces)
            self._tell(self._committed)

    def _count_inserted(self, text: str) -> None:
        """Counts text of the method, whose tokens are like others for the caller.

        Where they do not fit under the cap, the completion ends before them.
        """
        if self._chain.parts.budget.take_inserted(len(self._tokenizer.encode(text))):
            return
        self._full_at = len(self._chain.parts.ledger.pieces) - 1
        if self._work:
            self._work.cancel()

    def _writing(self, role: str, ids: Ids) -> None:
        """Takes the tokens of a `write` that is under way."""
        if self._ahead is None:
            self._ahead, self._seen = self._committed.copy(), 0
        new, self._seen = ids[self._seen :], len(ids)
        self._ahead.add(new, ((role, len(new)),))
        self._tell(self._ahead)

    def _take(self, pieces: Sequence[Piece]) -> None:
        for piece in pieces[self._pieces :]:
            self._ahead = None
            if self._pieces == self._full_at:
                self._committed.finish = self._committed.finish or "length"
                return
            self._pieces += 1
            if piece.author == METHOD:
                ids = tuple(self._tokenizer.encode(piece.text))
                self._committed.add(ids, ((METHOD, len(ids)),))
            else:
                self._committed.add(piece.ids, _authors(piece))

    def _tell(self, written: WrittenIds) -> None:
        if self._on_ids and len(written.ids) > self._told:
            self._on_ids(tuple(written.ids[self._told :]))
            self._told = len(written.ids)
        if written.finish and self._work:
            self._work.cancel()

    def _end(self, work: asyncio.Task[None]) -> None:
        """Takes the rest of the text and its end: the method's, if no token ended it."""
        pieces, written, finish = self._chain.parts.ledger.pieces, self._committed, self._chain.finish
        self._take(pieces)
        if written.finish or work.cancelled() or work.exception():
            return
        if finish in ("length", "context", "loop"):
            written.finish = finish
            return
        stop_ids = self._decoding.stop_ids
        last = next((piece for piece in reversed(pieces) if piece.text or piece.kept), None)
        if last and last.ends and last.end_id in stop_ids:
            written.end(last.end_id, _authors(last)[-1][0])
        else:
            written.end(stop_ids[0] if stop_ids and self._chain.parts.budget.take_inserted(1) else None, METHOD)

    def _charge(self, stats: CallStats) -> None:
        """Adds the cost of the chain.

        Tokens of the method count as produced, since the caller gets them as such.
        """
        usage = self._chain.trace.usage()
        for role, cost in usage.items():
            own = stats.inner.setdefault(role, CallStats())
            own.add(cost)
            if "/" not in role:
                stats.add(cost, timed=False)
        stats.produced_tokens += sum(count for author, count in self._committed.authors if author.rpartition("/")[2] == METHOD)
        stats.chains.append(self._chain.trace.events)


def _authors(piece: Piece) -> Authors:
    """Returns the authors of a piece's tokens, also within a tower of the pair."""
    if piece.authors:
        return tuple((f"{piece.author}/{author}", count) for author, count in piece.authors)
    return ((piece.author, piece.kept),)
