"""Engine work that commits nothing: drafts, scores, rewards, questions, prefills."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

from msgspec import structs

from speculative.chain.calls import finite_top, no_cost
from speculative.chain.drafts import Draft, TreeNode
from speculative.chain.options import MAX_ANSWER_PARTS, AskOptions, WriteOptions
from speculative.chain.parts import ChainParts
from speculative.chain.pending import PendingCall
from speculative.chain.reply import Reply
from speculative.chain.text_stream import end_rule
from speculative.engines.base import Ability, Completion, Ids, RewardEngine, Scores, digest, finite, prefill_tokens, seed_of
from speculative.errors import ChainStateError, UsageError
from speculative.prompts import Question
from speculative.trace.events import Asked, Call, Drafted, Judgement, Phase, Prefilled, Rejected, Rewarded, Scored

CallResult = tuple[list[Completion], Call] | None
"""The completions of a call and its cost; None if `accept` or `reject` cancelled it."""

NO_ROOM = Completion((), "no room")
"""Stands for the completion of a call that was not made."""


class Proposer:
    """Makes drafts, scores and replies.

    `max_drafts`: the most drafts that one call may ask for, or None.
    """

    def __init__(self, parts: ChainParts, max_drafts: int | None = None) -> None:
        self.max_drafts = max_drafts
        self._parts, self._requests, self._contexts = parts, parts.requests, parts.contexts

    def check_count(self, wanted: int) -> None:
        """Raises `UsageError` if one call asks for too many drafts."""
        if self.max_drafts is not None and wanted > self.max_drafts:
            raise UsageError(f"draft: a call may ask for at most {self.max_drafts} drafts here, got {wanted}; draw fewer at once")

    def scorable(self, verb: str, role: str, drafts: list[Draft]) -> list[Draft]:
        """Returns the drafts. Raises `ChainStateError` unless the role can score them all."""
        self._contexts.of(role)
        self._parts.drafts.check_scorable(drafts, verb)
        return drafts

    async def answer_draft(self, role: str, after: Draft) -> Draft:
        """Drafts an answer, and the thinking in it.

        Each part follows the one before. Returns the last part; the others are accepted and rejected with it.
        """
        self._parts.drafts.check_open(after, "answer")
        if after.phase == "answer":
            raise ChainStateError(f"answer: draft {after.id} is an answer already")
        self._contexts.of(role)
        part, phase = after, cast("Phase", "answer")
        for _ in range(MAX_ANSWER_PARTS):
            part = await self._answer_part(role, part, phase)
            context, end = self._contexts.of(part.author), part.proposal.completion.end_id
            if part.state != "open" or end is None or end in context.end_ids:
                break
            phase = "answer" if phase == "thinking" else "thinking"
        return part

    async def _answer_part(self, role: str, after: Draft, phase: Phase) -> Draft:
        base, number = after.node, self._parts.drafts.new_numbers(1)
        node, pending = base.new_child(f"answer {role}"), self._parts.pending.begin([after])

        async def attempt(acting: str) -> tuple[str, CallResult]:
            while True:
                if not self._parts.drafts.can_attach(after, base):
                    return acting, None
                context = self._contexts.of(acting)
                prefix = self._contexts.prefix(acting, after) + self._contexts.opening(acting, after, phase)
                room = self._requests.answer_limit(acting, prefix, after)
                if not await self._parts.budget.wait_for_room(self._parts.problem.reserve, 1, "answer"):
                    break
            if room.tokens < 1:
                return acting, ([NO_ROOM], no_cost(acting))
            stop, stop_ids = (self._parts.problem.stop, context.answer_draft_stop_ids) if phase == "answer" else ((), context.stop_ids)
            decoding = self._requests.decoding(node, room.tokens, stop=stop, stop_ids=stop_ids, purpose="answer")
            emit = self._requests.emitter(acting, number, phase) if phase == "answer" else None
            ends = [end_rule(None, self._parts.begun_ends(after))] if stop else []
            with self._requests.call("answer", acting, [prefix], decoding, room, emit, ends=ends, phase=phase) as call:
                return acting, await pending.run(call.run())

        author, result = await self._parts.failover.run(role, attempt)
        found, cost = result or ([Completion((), "cut")], None)
        proposal = self._requests.proposal(author, number, found[0], after, phase)
        if phase == "thinking":  # only a closing marker makes it thinking: without one, the opening marker was text
            context = self._contexts.of(author)
            if found[0].end_id in context.end_ids:
                proposal = structs.replace(proposal, phase="answer", text=context.dialect.think_start + proposal.text)
            if emit := self._requests.emitter(author, number, proposal.phase):
                emit(proposal.text)
        draft = Draft(author, proposal, after, base, node)
        self._open_drafts([draft], node.key, cost, pending)
        self._parts.ending.check_budget()
        return draft

    async def draft(self, role: str, parents: Sequence[Draft | None], n: int, options: WriteOptions, asked: Question | None) -> list[Draft]:
        self._contexts.of(role)
        domain = f"{'reply' if asked else 'draft'} {role}"
        bases = [(parent, parent.node if parent else self._parts.drafts.end) for parent in parents]
        nodes = [(parent, base, base.new_child(domain)) for parent, base in bases for _ in range(n)]
        first = self._parts.drafts.new_numbers(len(nodes))
        pending = self._parts.pending.begin(parents)

        async def attempt(acting: str) -> tuple[str, CallResult]:
            self._requests.check_ability("draft", acting, _needed(options.logprobs))
            if asked:
                await self._contexts.tokenize_question(acting, asked, parents[0])
            while True:
                if not all(self._parts.drafts.can_attach(*base) for base in bases):
                    return acting, None
                asking = [
                    self._contexts.question(acting, asked, parent) if asked else (self._contexts.prefix(acting, parent), ())
                    for parent in parents
                ]
                prefixes, stops = [prefix for prefix, _ in asking], options.stop or asking[0][1]
                room = self._requests.thinking_limit(acting, max(prefixes, key=len), parents, n)
                thinks = self._parts.ending.finish is None
                if not thinks or not await self._requests.wait_for_room(options.max_tokens, parents, len(nodes), "draft"):
                    break
            if not thinks or room.tokens < 1:
                await asyncio.sleep(0)  # a method that goes on asking must still meet its deadline and Ctrl-C
                self._parts.ending.had_no_room(room.reason)
                return acting, ([NO_ROOM] * len(nodes), no_cost(acting))
            limit = room.tokens if options.max_tokens is None else min(room.tokens, options.max_tokens)
            decoding = self._requests.decoding(
                nodes[0][2],
                limit,
                temperature=options.temperature,
                n=n,
                stop=stops,
                stop_ids=self._contexts.of(acting).stop_ids,
                logprobs=options.logprobs,
                purpose="reply" if asked else "text" if None in parents else "ahead",
            )
            emit = self._requests.emitter(acting, first, "thinking") if len(nodes) == 1 else None
            ends = [end_rule(options.until, () if asked else self._parts.begun_stops(options.stop, parent)) for parent in parents]
            with self._requests.call("draft", acting, prefixes, decoding, room, emit, ends=ends) as call:
                return acting, await pending.run(call.run())

        author, result = await self._parts.failover.run(role, attempt)
        found, cost = result or ([Completion((), "cut")] * len(nodes), None)
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

    async def score(self, drafts: Sequence[Draft], top: int, role: str) -> list[Scores]:
        self._requests.check_ability("score", role, "top" if top else None)
        if not all(self._parts.drafts.can_attach(draft, draft.node) for draft in drafts):
            return [Scores() for _ in drafts]
        prefixes, given = self._texts(role, drafts)
        if not await self._fit("score", role, prefixes, given):
            return [Scores() for _ in drafts]
        name = digest(prefixes, given)
        found, cost = await self._parts.calls.score(role, self._contexts.of(role).engine, prefixes, given, seed_of(name), top)
        scores = [Scores(finite(one), None if one.top is None else map(finite_top, one.top)) for one in found]
        numbers, logged = tuple(draft.id for draft in drafts), tuple(tuple(logprobs) for logprobs in scores)
        tops = tuple(one.top or () for one in scores) if top else ()
        self._parts.record(Scored(call=cost, drafts=numbers, logprobs=logged, digest=name, tops=tops))
        return scores

    async def reward(self, drafts: Sequence[Draft], role: str) -> list[float | None]:
        self._requests.check_ability("reward", role, "reward")
        if not all(self._parts.drafts.can_attach(draft, draft.node) for draft in drafts):
            return [None] * len(drafts)
        prefixes, given = self._texts(role, drafts)
        if not await self._fit("reward", role, prefixes, given):
            return [None] * len(drafts)
        texts = [(*prefix, *ids) for prefix, ids in zip(prefixes, given, strict=True)]
        name, engine = digest(texts, []), cast("RewardEngine", self._contexts.of(role).engine)
        found, cost = await self._parts.calls.reward(role, engine, texts, seed_of(name))
        rewards = finite(found)
        self._parts.record(Rewarded(call=cost, drafts=tuple(draft.id for draft in drafts), rewards=rewards, digest=name))
        return [*rewards]

    async def ask(
        self, node: TreeNode, pending: PendingCall, question: Question, after: Draft | None, options: AskOptions, role: str
    ) -> list[Reply]:
        self._requests.check_ability("ask", role, _needed(options.logprobs))
        self._requests.check_ability("ask", role, "choices" if options.choices else None)
        choices, budget = self._choice_ids(role, options.choices), self._parts.budget
        await self._contexts.tokenize_question(role, question, after)
        while True:
            if pending.cancelled or (after and not self._parts.drafts.can_attach(after, after.node)):
                return [Reply("", "cut")] * options.n
            context, (prefix, stop) = self._contexts.of(role), self._contexts.question(role, question, after)
            limit = min(options.max_tokens, context.engine.context - len(prefix), budget.remaining(options.n, "question"))
            if not await budget.wait_for_room(options.max_tokens, options.n, "question"):
                break
        if limit < 1:
            await asyncio.sleep(0)  # a method that goes on asking must still meet its deadline and Ctrl-C
            self._parts.ending.had_no_room("length")
            return [Reply("", "no room")] * options.n
        decoding = self._requests.decoding(
            node,
            limit,
            temperature=options.temperature,
            n=options.n,
            stop=stop,
            stop_ids=context.stop_ids,
            logprobs=options.logprobs,
            choices=choices,
            purpose="reply",
        )
        with self._requests.call("ask", role, [prefix], decoding) as call:
            result = await pending.run(call.run())
        if result is None:
            return [Reply("", "cut")] * options.n
        found, cost = result
        replies = [self._reply(role, completion, options.choices) for completion in found]
        texts, number = tuple(reply.text for reply in replies), after.id if after else None
        self._parts.record(
            Asked(
                call=cost,
                seed=node.key,
                question=question.kind,
                after=number,
                replies=texts,
                completions=tuple(found),
                choices=options.choices,
            )
        )
        return replies

    async def prefill(self, role: str, node: TreeNode, acting: str) -> None:
        context, prefix = self._contexts.of(role), self._contexts.prefix(role)
        left = self._parts.budget.remaining()
        if acting != role or context.engine.context <= len(prefix) or left < 1:
            await asyncio.sleep(0)
            return
        decoding = self._requests.decoding(node, 1, temperature=0, stop_ids=context.stop_ids, purpose="prefill")
        decoding = structs.replace(decoding, max_produced=min(prefill_tokens(context.engine), left))
        with self._requests.call("prefill", role, [prefix], decoding) as call:
            (completion,), cost = await call.run()
        self._parts.prefills.saw(role, self._parts.ledger.kept)
        self._parts.record(Prefilled(call=cost, seed=node.key, completion=completion))

    def reject(self, drafts: Sequence[Draft], reason: str, judgement: Judgement | None = None) -> None:
        if drafts:
            self._parts.drafts.drop(drafts)
            self._parts.record(Rejected(drafts=tuple(draft.id for draft in drafts), reason=reason, judgement=judgement))

    def reject_all(self, drafts: Sequence[Draft], reason: str, judgement: Judgement | None = None) -> None:
        """Rejects drafts, the parts of their answers and the drafts that follow them.

        Cancels the work on them.
        """
        lost = self._parts.drafts.with_descendants(draft.answer_start for draft in drafts)
        for pending in (self._parts.pending, self._parts.questions):
            pending.cancel(lambda other: other in lost)
        self.reject([other for other in self._parts.drafts.open.values() if other in lost], reason, judgement)

    def settle(self, path: Sequence[Draft], *, keep_descendants: bool) -> list[asyncio.Task[Any]]:
        """Takes accepted drafts out of the tree, and rejects all others.

        Returns the cancelled calls, to be waited for.

        Args:
            path: The accepted drafts, from the chain's end down.
            keep_descendants: Drafts that follow the last one stay open, and so does the work on them.
        """
        drafts = self._parts.drafts
        kept = drafts.with_descendants([path[-1]]) if keep_descendants else set[Draft]()
        decided = set(path)
        drafts.take(path)

        def is_lost(other: Draft | None) -> bool:
            return other not in kept

        cancelled = self._parts.pending.cancel(is_lost)
        self._parts.questions.cancel(lambda other: other is not None and (other in decided or other not in kept))
        self.reject([other for other in drafts.open.values() if is_lost(other)], "another draft was accepted")
        drafts.reparent_all(path[-1])
        return cancelled

    def _open_drafts(self, drafts: Sequence[Draft], seed: int, call: Call | None, pending: PendingCall) -> None:
        """Opens the drafts of a call.

        Without a call (it was cancelled) they are rejected. So are those whose parent was lost.
        """
        self._parts.pending.end(pending)
        if call is None:
            for draft in drafts:
                draft.state = "rejected"
            return
        self._parts.drafts.add(drafts)
        self._parts.recorder.progress.reach(self._parts.ledger.kept + max((draft.depth for draft in drafts), default=0))
        self._parts.record(Drafted(call=call, seed=seed, proposals=tuple(draft.proposal for draft in drafts)))
        lost = [draft for draft in drafts if pending.cancelled or (draft.parent and draft.parent.state == "rejected")]
        self.reject(lost, "the draft before it was rejected")

    def _texts(self, role: str, drafts: Sequence[Draft]) -> tuple[list[list[int]], list[tuple[int, ...]]]:
        """Returns what each draft follows, and its own text, as the role's tokens."""
        context = self._contexts.of(role)
        return [context.before(self._parts.ledger.entries, draft) for draft in drafts], [tuple(context.ids_of(draft)) for draft in drafts]

    async def _fit(self, verb: str, role: str, prefixes: Sequence[Ids], given: Sequence[Ids]) -> bool:
        """Returns whether texts fit into the role's context. If not, the thinking is over."""
        most = self._contexts.of(role).engine.context
        if all(len(prefix) + len(ids) <= most for prefix, ids in zip(prefixes, given, strict=True)):
            return True
        if self._parts.ending.finish is None:
            self._parts.ending.end("context")
        await asyncio.sleep(0)
        return False

    def _reply(self, role: str, completion: Completion, choices: Sequence[str]) -> Reply:
        values = completion.choice_logprobs or ()
        found = dict(zip(choices, values, strict=True)) if values else {}
        text, to_bytes = self._contexts.of(role).text_of(completion), self._contexts.of(role).tokenizer.to_bytes
        top = tuple(
            tuple((to_bytes((token,)).decode("utf-8", "replace"), value) for token, value in likely)
            for likely in completion.top_logprobs or ()
        )
        return Reply(text, completion.finish, completion.ids, completion.logprobs or (), found, top)

    def _choice_ids(self, role: str, choices: Sequence[str]) -> tuple[int, ...]:
        """Returns the token of each choice.

        Raises `ChainStateError` for a choice that is not one token.
        """
        encode = self._contexts.of(role).tokenizer.encode
        found = [encode(choice) for choice in choices]
        for choice, ids in zip(choices, found, strict=True):
            if len(ids) != 1:
                raise ChainStateError(f"ask: choices must be single tokens of the {role} model, got {choice!r}, which is {len(ids)}")
        return tuple(ids[0] for ids in found)


def _needed(logprobs: bool | int) -> Ability | None:
    """Returns the ability that the log-probabilities of a text need."""
    return "top" if logprobs and not isinstance(logprobs, bool) else "logprobs" if logprobs else None
