"""Engine work that commits nothing: drafts, scores, questions, prefills."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from speculative.chain.calls import no_cost
from speculative.chain.drafts import Draft, TreeNode
from speculative.chain.parts import ChainParts
from speculative.chain.pending import PendingCall
from speculative.engines.base import Completion, digest, finite, seed_of
from speculative.errors import ChainStateError
from speculative.prompts import Question
from speculative.trace.events import Asked, Call, Drafted, Prefilled, Rejected, Scored

CallResult = tuple[list[Completion], Call] | None
"""The completions of a call and its cost; None if `accept` or `reject` cancelled it."""


class Proposer:
    """Makes drafts, scores and replies."""

    def __init__(self, parts: ChainParts) -> None:
        self._parts, self._requests, self._contexts = parts, parts.requests, parts.contexts

    async def answer_draft(self, role: str, after: Draft) -> Draft:
        self._parts.drafts.check_open(after, "answer")
        if after.phase == "answer":
            raise ChainStateError(f"answer: draft {after.id} is an answer already")
        self._contexts.of(role)
        base, number = after.node, self._parts.drafts.new_numbers(1)
        node, pending = base.new_child(), self._parts.pending.begin([after])

        async def attempt(acting: str) -> tuple[str, CallResult]:
            if not self._parts.drafts.can_attach(after, base):
                return acting, None
            context = self._contexts.of(acting)
            prefix = self._contexts.prefix(acting, after) + context.parts(context.dialect.close(self._contexts.last_text(after)))
            room = self._requests.answer_limit(acting, prefix, after)
            if room.tokens < 1:
                return acting, ([Completion((), room.reason)], no_cost(acting))
            decoding = self._requests.decoding(node, room.tokens, stop=self._parts.problem.stop, stop_ids=context.end_ids)
            with self._requests.call("answer", acting, [prefix], decoding, room, self._requests.emitter(acting, number, "answer")) as call:
                return acting, await pending.run(call.run())

        author, result = await self._parts.failover.run(role, attempt)
        found, cost = result or ([Completion((), "length")], None)
        draft = Draft(author, self._requests.proposal(author, number, found[0], after, "answer"), after, base, node)
        self._open_drafts([draft], node.key, cost, pending)
        self._parts.ending.check_budget()
        return draft

    async def draft(
        self,
        role: str,
        parents: Sequence[Draft | None],
        n: int,
        max_tokens: int | None,
        stop: str | None,
        temperature: float | None,
        logprobs: bool,
        asked: Question | None,
    ) -> list[Draft]:
        self._contexts.of(role)
        bases = [(parent, parent.node if parent else self._parts.drafts.end) for parent in parents]
        nodes = [(parent, base, base.new_child()) for parent, base in bases for _ in range(n)]
        first = self._parts.drafts.new_numbers(len(nodes))
        pending, nothing = self._parts.pending.begin(parents), [Completion((), "length")] * len(nodes)

        async def attempt(acting: str) -> tuple[str, CallResult]:
            if asked:
                await self._contexts.tokenize_question(acting, asked, parents[0])
            if not all(self._parts.drafts.can_attach(*base) for base in bases):
                return acting, None
            asking = [
                self._contexts.question(acting, asked, parent) if asked else (self._contexts.prefix(acting, parent), ())
                for parent in parents
            ]
            prefixes, stops = [prefix for prefix, _ in asking], (stop,) if stop else asking[0][1]
            room, context = self._requests.thinking_limit(acting, max(prefixes, key=len), parents, n), self._contexts.of(acting)
            if self._parts.ending.finish is not None or room.tokens < 1:
                await asyncio.sleep(0)  # a method that goes on asking must still meet its deadline and Ctrl-C
                self._parts.ending.had_no_room("draft", room.reason)
                return acting, (nothing, no_cost(acting))
            limit = room.tokens if max_tokens is None else min(room.tokens, max_tokens)
            more: dict[str, Any] = {"temperature": temperature, "n": n, "stop": stops, "logprobs": logprobs}
            decoding = self._requests.decoding(nodes[0][2], limit, stop_ids=context.stop_ids, **more)
            emit = self._requests.emitter(acting, first, "thinking") if len(nodes) == 1 else None
            with self._requests.call("draft", acting, prefixes, decoding, room, emit) as call:
                return acting, await pending.run(call.run())

        author, result = await self._parts.failover.run(role, attempt)
        found, cost = result or (nothing, None)
        drafts = [
            Draft(author, self._requests.proposal(author, number, completion, parent), parent, base, node)
            for number, (completion, (parent, base, node)) in enumerate(zip(found, nodes, strict=True), first)
        ]
        if len(drafts) > 1 and (emit := self._requests.emitter(author, first, "thinking")):  # a single one was told as it came
            for offset, draft in enumerate(drafts):
                emit(draft.text, offset)
        self._open_drafts(drafts, nodes[0][2].key, cost, pending)
        self._parts.ending.check_budget()
        return drafts

    async def score(self, drafts: Sequence[Draft], role: str) -> list[list[float]]:
        if not all(self._parts.drafts.can_attach(draft, draft.node) for draft in drafts):
            return [[] for _ in drafts]
        context = self._contexts.of(role)
        prefixes = [context.before(self._parts.ledger.pieces, draft) for draft in drafts]
        given = [tuple(context.ids_of(draft)) for draft in drafts]
        if any(len(prefix) + len(ids) > context.engine.context for prefix, ids in zip(prefixes, given, strict=True)):
            if self._parts.ending.finish is None:
                self._parts.ending.end("context")
            await asyncio.sleep(0)
            self._parts.ending.did_nothing("score")
            return [[] for _ in drafts]
        name = digest(prefixes, given)
        found, cost = await self._parts.calls.score(role, context.engine, prefixes, given, seed_of(name))
        scores = [list(finite(logprobs)) for logprobs in found]
        numbers, logged = tuple(draft.id for draft in drafts), tuple(tuple(logprobs) for logprobs in scores)
        self._parts.record(Scored(call=cost, drafts=numbers, logprobs=logged, digest=name))
        return scores

    async def ask(
        self, node: TreeNode, question: Question, after: Draft | None, n: int, max_tokens: int, temperature: float | None, role: str
    ) -> tuple[str, ...]:
        await self._contexts.tokenize_question(role, question, after)
        if after and not self._parts.drafts.can_attach(after, after.node):
            return ("",) * n
        context, (prefix, stop) = self._contexts.of(role), self._contexts.question(role, question, after)
        limit = min(max_tokens, context.engine.context - len(prefix), self._parts.budget.remaining(n))
        if limit < 1:
            await asyncio.sleep(0)  # a method that goes on asking must still meet its deadline and Ctrl-C
            self._parts.ending.had_no_room("ask", "length")
            return ("",) * n
        decoding = self._requests.decoding(node, limit, temperature=temperature, n=n, stop=stop, stop_ids=context.stop_ids)
        with self._requests.call("ask", role, [prefix], decoding) as call:
            found, cost = await call.run()
        replies, number = tuple(context.text_of(reply) for reply in found), after.id if after else None
        self._parts.record(Asked(call=cost, seed=node.key, question=question.kind, after=number, replies=replies, completions=tuple(found)))
        return replies

    async def prefill(self, role: str, node: TreeNode, acting: str) -> None:
        context, prefix = self._contexts.of(role), self._contexts.prefix(role)
        if acting != role or context.engine.context <= len(prefix) or self._parts.budget.remaining() < 1:
            await asyncio.sleep(0)
            self._parts.ending.did_nothing("prefill")
            return
        with self._requests.call(
            "prefill", role, [prefix], self._requests.decoding(node, 1, temperature=0, stop_ids=context.stop_ids)
        ) as call:
            (completion,), cost = await call.run()
        self._parts.prefills.saw(role, self._parts.ledger.kept)
        self._parts.record(Prefilled(call=cost, seed=node.key, completion=completion))

    def _open_drafts(self, drafts: Sequence[Draft], seed: int, call: Call | None, pending: PendingCall) -> None:
        """Opens the drafts of a call; without a call (it was cancelled) they are rejected, as are those whose parent was lost."""
        self._parts.pending.end(pending)
        if call is None:
            for draft in drafts:
                draft.state = "rejected"
            return
        self._parts.drafts.add(drafts)
        self._parts.record(Drafted(call=call, seed=seed, proposals=tuple(draft.proposal for draft in drafts)))
        lost = [draft for draft in drafts if pending.cancelled or (draft.parent and draft.parent.state == "rejected")]
        self.reject(lost, "what it hangs off was rejected")

    def reject(self, drafts: Sequence[Draft], reason: str) -> None:
        if drafts:
            self._parts.drafts.drop(drafts)
            self._parts.record(Rejected(drafts=tuple(draft.id for draft in drafts), reason=reason))
