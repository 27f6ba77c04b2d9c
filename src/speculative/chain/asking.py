"""The verbs that commit nothing: drafts, scores and questions. They may overlap freely."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from speculative.chain.calling import Calling, Landed
from speculative.chain.drafts import Draft
from speculative.chain.verb import drafts as given_drafts
from speculative.chain.verb import number, shown, typed, verb, whole
from speculative.engines.base import Completion, digest, finite, seed_of
from speculative.errors import ChainStateError
from speculative.prompts import Question
from speculative.trace import events


class Asking(Calling):
    """What a method may ask of the models without a word of it entering the chain.

    Near the end of `max_produced` a call may write what the calls before it left. Where the order of calls hangs on which of several
    came back first, so does their room then; the shares of children (`child`) do not.
    """

    @verb
    async def draft(
        self,
        role: str,
        n: int = 1,
        after: Draft | Sequence[Draft] | None = None,
        *,
        max_tokens: int | None = None,
        stop: str | None = None,
        temperature: float | None = None,
        logprobs: bool = False,
        asked: Question | None = None,
    ) -> list[Draft]:
        """Generates and commits nothing: `n` drafts after the chain's end, a draft, or each of several drafts (one call for all).

        With `asked` the text is the reply to that question instead of the chain's continuation. Where no room is left
        the drafts are empty. If `accept` or `reject` ends the work meanwhile, what comes back is rejected and empty.
        """
        parents: list[Draft | None] = [None] if after is None else [*given_drafts("draft", "after", after)]
        whole("draft", n=n, max_tokens=max_tokens)
        number("draft", temperature=temperature)
        typed("draft", str, "a text", stop=stop)
        typed("draft", Question, "a question", asked=asked)
        for parent in parents:
            self._check_open(parent, "draft")
            if parent and (parent.ended or parent.phase == "answer"):
                raise ChainStateError(f"draft: draft {parent.id} ended, nothing can follow it")
        if not parents:
            return []
        self._view(role)
        grounds = [(parent, parent.place if parent else self._place) for parent in parents]
        spots = [(parent, base, base.below()) for parent, base in grounds for _ in range(n)]
        seed, first = spots[0][2], self._number(len(spots))
        flight, nothing = self._flights.begin(parents), [Completion((), "length")] * len(spots)

        async def drawn(role: str) -> tuple[str, Landed]:
            if not all(self._stands(*ground) for ground in grounds):
                return role, None
            asking = [self._asking(role, asked, parent) if asked else (self._prefix(role, parent), ()) for parent in parents]
            prefixes, stops = [prefix for prefix, _ in asking], (stop,) if stop else asking[0][1]
            room, view = self._room(role, max(prefixes, key=len), parents, n), self._view(role)
            limit = room.tokens if max_tokens is None else min(room.tokens, max_tokens)
            decoding = self._decoding(seed, limit, temperature=temperature, n=n, stop=stops, stop_ids=view.stop_ids, logprobs=logprobs)
            if self.finish is not None or room.tokens < 1:
                await asyncio.sleep(0)  # a method that goes on asking must still meet its deadline and Ctrl-C
                self._roomless("draft", room.then)
                return role, (nothing, self._caller.free(role))
            tell = self._telling(role, first, "thinking") if len(spots) == 1 else None
            return role, await self._fly(flight, role, prefixes, decoding, "draft", room, tell)

        author, landed = await self._surviving(role, drawn)
        found, call = landed or (nothing, None)
        drafts = [
            self._make(author, number, done, place, base=base, parent=parent)
            for number, (done, (parent, base, place)) in enumerate(zip(found, spots, strict=True), first)
        ]
        if len(drafts) > 1 and (tell := self._telling(author, first, "thinking")):  # a single one was told as it came
            for offset, draft in enumerate(drafts):
                tell(draft.text, offset=offset)
        self._propose(drafts, seed.key, call, flight)
        self._check_budget()
        return drafts

    @verb
    async def score(self, role: str, drafts: Sequence[Draft]) -> list[list[float]]:
        """Log-probability (nats) under a role's model of every token of each open draft, one call for all; also in `draft.scores`.

        Tokens are those of the vocabulary of the engine that does it. There are none for drafts that were decided on before it could, and
        none where they do not fit into its context, which ends the thinking.
        """
        drafts = _scorable(drafts)
        self._view(role)
        for draft in drafts:
            self._check_open(draft, "score")
            if draft.state != "open":
                raise ChainStateError(f"score: draft {draft.id} is in the chain already; score it before it is accepted")
        if not drafts:
            return []
        scores = await self._surviving(role, lambda acting: self._scored(acting, drafts))
        for draft, logprobs in zip(drafts, scores, strict=True):
            draft.scores[role] = logprobs
        return scores

    async def _scored(self, role: str, drafts: Sequence[Draft]) -> list[list[float]]:
        if not all(self._stands(draft, draft.place) for draft in drafts):
            return [[] for _ in drafts]
        view = self._view(role)
        prefixes = [view.before(self._ledger.pieces, draft) for draft in drafts]
        given = [tuple(view.ids_of(draft)) for draft in drafts]
        if any(len(prefix) + len(ids) > view.engine.context for prefix, ids in zip(prefixes, given, strict=True)):
            if self.finish is None:
                self._end("context")
            await asyncio.sleep(0)
            self._did_nothing("score")
            return [[] for _ in drafts]
        name = digest(prefixes, given)
        found, call = await self._caller.score(role, view.engine, prefixes, given, seed_of(name))
        scores = [list(finite(logprobs)) for logprobs in found]
        numbers, logged = tuple(draft.id for draft in drafts), tuple(tuple(logprobs) for logprobs in scores)
        self.record(events.Scored(call=call, drafts=numbers, logprobs=logged, digest=name))
        return scores

    @verb
    async def ask(
        self,
        role: str,
        question: Question | str,
        after: Draft | None = None,
        *,
        n: int = 1,
        max_tokens: int = 256,
        temperature: float | None = None,
    ) -> list[str]:
        """A side question about the chain, or about the chain and a draft: `n` replies, which never enter the chain.

        Where no room is left the replies are empty.
        """
        whole("ask", n=n, max_tokens=max_tokens)
        number("ask", temperature=temperature)
        typed("ask", str | Question, "a text or a question", question=question)  # type: ignore[arg-type]
        typed("ask", Draft, "a draft", after=after)
        question = Question("free", question) if isinstance(question, str) else question
        self._check_open(after, "ask")
        self._view(role)
        place = (after.place if after else self._place).below()

        async def replied(role: str) -> tuple[str, ...]:
            if after and not self._stands(after, after.place):
                return ("",) * n
            view, (prefix, stop) = self._view(role), self._asking(role, question, after)
            room = min(max_tokens, view.engine.context - len(prefix), self._budget.producible(n))
            if room < 1:
                await asyncio.sleep(0)  # the same
                self._roomless("ask", "length")
                return ("",) * n
            decoding = self._decoding(place, room, temperature=temperature, n=n, stop=stop, stop_ids=view.stop_ids)
            found, call = await self._complete(role, [prefix], decoding, "ask")
            replies, number = tuple(view.text_of(reply) for reply in found), after.id if after else None
            asked = events.Asked(call=call, seed=place.key, question=question.kind, after=number, replies=replies, completions=tuple(found))
            self.record(asked)
            return replies

        replies = await self._surviving(role, replied)
        self._check_budget()
        return list(replies)

    def reply_room(self, role: str, question: Question, n: int = 1) -> int:
        """Tokens that each of `n` replies to a question about the chain could have now."""
        role = self._roles.acting(role)
        prefix, _ = self._asking(role, question, None)
        return min(self._positions(role, prefix), self._budget.producible(n))

    @verb
    async def warm(self, role: str) -> None:
        """Lets an idle model prefill what it has not seen: one token, which is thrown away. Without room it does nothing."""
        view, place = self._view(role), self._place.below()

        async def warmed(acting: str) -> None:
            prefix = self._prefix(role)
            if acting != role or view.engine.context <= len(prefix) or self._budget.producible() < 1:
                await asyncio.sleep(0)
                self._did_nothing("warm")
                return
            found, call = await self._complete(role, [prefix], self._decoding(place, 1, temperature=0, stop_ids=view.stop_ids), "warm")
            self._warming.saw(role, self.tokens)
            self.record(events.Warmed(call=call, seed=place.key, completion=found[0]))

        await self._surviving(role, warmed)
        self._check_budget()

    def reject(self, draft: Draft | Sequence[Draft], reason: str = "") -> None:
        """Records the waste: these drafts, and what hangs off them, will not be in the chain. Work on them is cancelled."""
        self.check_awaited()
        drafts = set(given_drafts("reject", "draft", draft))
        typed("reject", str, "a text", reason=reason)

        def hit(other: Draft | None) -> bool:
            return other is not None and any(above in drafts for above in other.path())

        doomed = [other for other in self._open.values() if hit(other)]
        self._flights.ground(hit)
        self._drop(doomed, reason)


def _scorable(drafts: object) -> list[Draft]:
    """The drafts to score. Raises `ChainStateError` for anything else."""
    if isinstance(drafts, str) or not isinstance(drafts, Sequence):
        raise ChainStateError(f"score: drafts must be drafts, got {shown(drafts)}")
    return given_drafts("score", "drafts", drafts)  # pyright: ignore[reportUnknownArgumentType]
