"""Gives a method its verbs on the one text that two models write.

A verb is `async` if it can call an engine, wait for one, or let other work run; `reject`, `stop`, `checkpoint`, `child` and
`at_step` are not. `write`, `accept`, `insert`, `rewind`, `become` and `answer` (of the chain itself) are exclusive: a second one
at the same time raises `ChainStateError`. Drafts, scores and questions may overlap freely.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from functools import cached_property, partial
from typing import Any, Unpack, get_args, overload

from speculative.answers import extract_boxed
from speculative.chain.context import Prompts
from speculative.chain.drafts import CHILD, Checkpoint, Draft
from speculative.chain.options import AskArguments, AskOptions, DraftArguments, WriteOptions
from speculative.chain.parts import ChainParts
from speculative.chain.paused_write import PausedWrite
from speculative.chain.pending import wait_cancelled
from speculative.chain.proposer import Proposer
from speculative.chain.reply import Reply
from speculative.chain.requests import Listener
from speculative.chain.steps import Steps
from speculative.chain.text_stream import Until
from speculative.chain.verb import ExclusiveVerbs, LoopGuard, VerbCalls, check_stop, check_type, check_whole, drafts_of, show, verb
from speculative.chain.watchers import Watchers
from speculative.chain.writer import Writer
from speculative.engines.base import Ability, Engine, Scores
from speculative.errors import ChainStateError
from speculative.problem import FinishReason, Problem, Role
from speculative.prompts import Dialect, Question
from speculative.trace import events
from speculative.trace.events import AnyEvent, Judgement
from speculative.trace.trace import Trace

Watcher = Callable[["Chain"], Awaitable[None]]
"""Called with a chain after a step of it is complete."""


class Chain:
    """Holds one chain of thought, and then its answer, for one problem."""

    def __init__(
        self,
        problem: Problem,
        engines: Mapping[str, Engine],
        *,
        listener: Listener | None = None,
        append_only: bool = True,
        max_drafts: int | None = None,
        parent: Chain | None = None,
        path: tuple[int, ...] = (),
        seed: int | None = None,
        share: int = 1,
        trace: Trace | None = None,
        prompts: Prompts | None = None,
    ) -> None:
        self.problem, self.engines, self.path = problem, engines, path
        self.seed = problem.seed if seed is None else seed
        self.trace = Trace([]) if trace is None else trace
        self.exclusive = ExclusiveVerbs()
        self.parent, self.children = parent, list[Chain]()
        self.watchers = Watchers[Chain](parent.watchers if parent else None)
        self.called = VerbCalls(parent.called if parent else None)
        self.in_method = False
        """True while the runner runs a method on it: then only the runner may close it."""
        above = parent.parts if parent else None
        self.parts = ChainParts(
            problem, engines, self.trace, seed=self.seed, path=path, listener=listener, parent=above, share=share, prompts=prompts
        )
        self.writer = Writer(self.parts, final=append_only, answer_final=not parent)
        self.proposer = Proposer(self.parts, max_drafts)
        self._listener = listener
        self._append_only = append_only and not parent
        self._rewinds: list[int] = []
        self._guard = LoopGuard()

    # ---- what it is -------------------------------------------------------------------------------------------------

    @cached_property
    def random(self) -> random.Random:
        """The chain's own random generator, for its method."""
        return random.Random(self.seed)

    @property
    def thinking(self) -> bool:
        """False after the end of thinking or text, a loop of steps, or a budget."""
        self.called.check_awaited()
        self._guard.read("thinking")
        return self.parts.ending.finish is None

    @property
    def finish(self) -> FinishReason | None:
        """The reason why the thinking, or the answer, ended; None while it thinks."""
        self._guard.read("finish")
        return self.parts.ending.finish

    @finish.setter
    def finish(self, finish: FinishReason | None) -> None:
        if finish is not None and finish not in get_args(FinishReason):
            raise ChainStateError(f"finish must be one of {', '.join(get_args(FinishReason))}, got {show(finish)}")
        self.parts.ending.finish = finish

    @property
    def steps(self) -> Steps:
        """The completed steps of the thinking, and the one that is being written."""
        return self.parts.steps

    @property
    def answered(self) -> bool:
        """True if the answer has begun."""
        return self.parts.ledger.answered

    @property
    def text(self) -> str:
        """The thinking so far."""
        return self.parts.ledger.text("thinking")

    @property
    def answer_text(self) -> str:
        """The answer so far."""
        return self.parts.ledger.text("answer")

    @property
    def boxed(self) -> str | None:
        """The content of the answer's last box."""
        return extract_boxed(self.answer_text)

    @property
    def tokens(self) -> int:
        """Tokens of the chain and its answer that models wrote."""
        return self.parts.ledger.kept

    @property
    def produced(self) -> int:
        """Tokens of all models that count against `max_produced`.

        Tokens of children and discarded tokens do. Background prefills and tokens beyond an end of `until` do not.
        """
        return self.parts.budget.produced

    @property
    def left(self) -> int | None:
        """Tokens that the thinking may still produce; None without `max_produced`."""
        return self.parts.budget.left

    def dialect(self, role: Role) -> Dialect:
        """Returns the dialect of the model that serves a role."""
        return self.parts.contexts.of(self.parts.failover.role_for(role)).dialect

    def abilities(self, role: Role) -> frozenset[Ability]:
        """Returns the abilities of the engine that serves a role."""
        return self.engines[self.parts.failover.role_for(role)].abilities

    @property
    def elapsed(self) -> float:
        """Seconds since the chain began."""
        return self.parts.recorder.elapsed

    # ---- text that models write -------------------------------------------------------------------------------------

    @verb
    def write(  # not `async`, which would put one more frame between each token and its reader: it returns a coroutine
        self,
        role: Role,
        *,
        max_tokens: int | None = None,
        stop: str | Sequence[str] | None = None,
        until: Until | None = None,
        temperature: float | None = None,
    ) -> Coroutine[Any, Any, Draft]:
        """Generates text and commits it.

        Once the thinking is over the verb writes nothing and calls no engine. A chunk is longer than `max_tokens` only to end a character.

        With watchers the verb pauses after each step and returns all parts as one draft. The same tokens are written as without watchers,
        if the engine can go on with the draws of an earlier call (the bundled one can). A watcher that rewinds ends the text there.

        Args:
            role: The model that writes.
            max_tokens: The most that it may write; None for what the budgets allow.
            stop: A string that ends the text, or several; it stays in the text. `STEP` also ends it where a step is complete that the
                text before began.
            until: Gets the text so far at every token boundary. Its first yes ends the text; its error is raised as it is. Tokens that a
                server wrote beyond are discarded, and do not count against `max_produced`.
            temperature: In place of the problem's.
        """
        options = WriteOptions.of("write", max_tokens, stop, until, temperature)
        self._check_unanswered("write")
        self.parts.contexts.of(role)
        watch = partial(self.watchers.call, self) if self.watchers else None
        return PausedWrite(self.parts, self.writer, self.exclusive, watch, self._rewinds).write(role, options)

    @verb
    async def answer(self, role: Role, after: Draft | None = None) -> Draft:
        """Closes the thinking and writes the answer.

        Cues an answer if a budget ended the thinking. After a draft it stays a draft: its last part, if there is more thinking in it.
        """
        check_type("answer", Draft, "a draft", after=after)
        if after and not (after.state == "accepted" and after.node is self.parts.drafts.end):
            return await self.proposer.answer_draft(role, after)
        with self.exclusive("answer"):
            self._check_unanswered("answer")
            return await self.writer.whole_answer(role)

    # ---- drafts, scores, questions ----------------------------------------------------------------------------------

    @overload
    async def draft(self, role: Role, n: None = None, after: Draft | None = None, **options: Unpack[DraftArguments]) -> Draft: ...
    @overload
    async def draft(
        self, role: Role, n: int, after: Draft | Sequence[Draft] | None = None, **options: Unpack[DraftArguments]
    ) -> list[Draft]: ...
    @overload
    async def draft(
        self, role: Role, n: int | None = None, *, after: Sequence[Draft], **options: Unpack[DraftArguments]
    ) -> list[Draft]: ...
    @verb
    async def draft(
        self,
        role: Role,
        n: int | None = None,
        after: Draft | Sequence[Draft] | None = None,
        *,
        max_tokens: int | None = None,
        stop: str | Sequence[str] | None = None,
        until: Until | None = None,
        temperature: float | None = None,
        logprobs: bool | int = False,
        asked: Question | None = None,
    ) -> Draft | list[Draft]:
        """Generates text and commits nothing.

        Where no room is left a draft has `no_room`. If `accept` or `reject` cancels the work meanwhile, its drafts are rejected and empty.
        Near the end of `max_produced` a call waits for the calls before it, and may write what they left. That depends on the models'
        speeds where one of them is cancelled.

        Args:
            role: The model that writes.
            n: The number of drafts, for each of `after`.
            after: The draft that they follow, or several (one call for all); None for the chain's end.
            max_tokens: The most tokens of each; None for what the budgets allow.
            stop: A string that ends a draft, or several; it stays in the text. `STEP` as in `write`.
            until: As in `write`. With `logprobs`, or for several drafts, the engine writes to its end first, and all of that counts.
            temperature: In place of the problem's.
            logprobs: True for `Draft.logprobs`; K also for the K most likely tokens at each place, `Draft.top` and `Draft.entropy`.
            asked: A question: the text is the reply to it instead of the chain's continuation.

        Returns:
            One draft if neither `n` nor a list of drafts is given, else a list.
        """
        parents: list[Draft | None] = [None] if after is None else [*drafts_of("draft", "after", after)]
        check_whole("draft", n=n)
        options = WriteOptions.of("draft", max_tokens, stop, until, temperature, logprobs)
        check_type("draft", Question, "a question", asked=asked)
        self.parts.drafts.check_parents(parents)
        self.proposer.check_count(len(parents) * (n or 1))
        drafts = await self.proposer.draft(role, parents, n or 1, options, asked) if parents else []
        return drafts[0] if n is None and (after is None or isinstance(after, Draft)) else drafts

    @verb
    async def score(self, role: Role, drafts: Sequence[Draft], *, top: int = 0) -> list[Scores]:
        """Returns the log-probabilities of open drafts under a role's model.

        They are in nats, one for each token (of that model's tokenizer), and also in `draft.scores`. All drafts are scored in one call.
        Scores are empty for drafts that were decided on meanwhile, and where no room is left in the context, which ends the thinking.
        `top`: the number of most likely tokens at each place that `Scores.top` gives.
        """
        check_whole("score", 0, top=top)
        drafts = self.proposer.scorable("score", role, drafts_of("score", "drafts", drafts, only_several=True))
        if not drafts:
            return []
        scores = await self.parts.failover.run(role, partial(self.proposer.score, drafts, top))
        for draft, logprobs in zip(drafts, scores, strict=True):
            draft.scores[role] = logprobs
        return scores

    @verb
    async def reward(self, role: Role, drafts: Sequence[Draft]) -> list[float | None]:
        """Returns a model's reward of each draft, None where a score would be empty.

        A reward rates a draft with all the text that it follows; it is also in `draft.rewards`.
        """
        drafts = self.proposer.scorable("reward", role, drafts_of("reward", "drafts", drafts, only_several=True))
        if not drafts:
            return []
        rewards = await self.parts.failover.run(role, partial(self.proposer.reward, drafts))
        for draft, reward in zip(drafts, rewards, strict=True):
            if reward is not None:
                draft.rewards[role] = reward
        return rewards

    @overload
    async def ask(
        self, role: Role, question: Question | str, after: Draft | None = None, *, n: None = None, **options: Unpack[AskArguments]
    ) -> Reply: ...
    @overload
    async def ask(
        self, role: Role, question: Question | str, after: Draft | None = None, *, n: int, **options: Unpack[AskArguments]
    ) -> list[Reply]: ...
    @verb
    async def ask(
        self,
        role: Role,
        question: Question | str,
        after: Draft | None = None,
        *,
        n: int | None = None,
        max_tokens: int | None = None,
        temperature: float | None = None,
        logprobs: bool | int = False,
        choices: Sequence[str] = (),
    ) -> Reply | list[Reply]:
        """Asks a side question about the chain, or about the chain and a draft.

        The replies never enter the chain. A question about a draft ends when that draft is accepted or rejected.

        Args:
            role: The model that is asked.
            question: A question, or the text of a free one.
            after: The draft that it is about; None for the chain's end.
            n: The number of replies.
            max_tokens: The most tokens of each; None for 256, or for 1 if there are choices.
            temperature: In place of the problem's.
            logprobs: True for `Reply.logprobs`; K also for `Reply.top`.
            choices: Different texts of one token each, whose log-probabilities as the first token `Reply.choices` gives.

        Returns:
            One reply if `n` is not given, else a list.
        """
        options = AskOptions.of("ask", n, max_tokens, temperature, logprobs, choices)
        check_type("ask", (str, Question), "a text or a question", needed=True, question=question)
        check_type("ask", Draft, "a draft", after=after)
        question = Question("free", question) if isinstance(question, str) else question
        self.parts.drafts.check_open(after, "ask")
        self.parts.contexts.of(role)
        node = (after.node if after else self.parts.drafts.end).new_child(f"ask {role}")
        pending = self.parts.questions.begin([after])
        try:
            replies = await self.parts.failover.run(role, partial(self.proposer.ask, node, pending, question, after, options))
        finally:
            self.parts.questions.end(pending)
        self.parts.ending.check_budget()
        return replies[0] if n is None else replies

    def reply_room(self, role: Role, question: Question, n: int = 1) -> int:
        """Returns the tokens that each of `n` replies to a question could have now."""
        acting = self.parts.failover.role_for(role)
        prefix, _ = self.parts.contexts.question(acting, question, None)
        return min(self.parts.contexts.free_positions(acting, prefix), self.parts.budget.remaining(n))

    @verb
    async def prefill(self, role: Role) -> None:
        """Lets an idle model read the new text; its one token is thrown away."""
        self.parts.contexts.of(role)
        await self.parts.failover.run(role, partial(self.proposer.prefill, role, self.parts.drafts.end.new_child(f"prefill {role}")))
        self.parts.ending.check_budget()

    # ---- what becomes of drafts -------------------------------------------------------------------------------------

    @verb
    async def accept(
        self,
        draft: Draft,
        *,
        upto: int | None = None,
        upto_character: int | None = None,
        keep_descendants: bool = False,
        judgement: Judgement | None = None,
    ) -> None:
        """Commits the draft and the drafts before it. All other open drafts are rejected.

        Args:
            draft: The last draft that is committed.
            upto: The number of its tokens to commit, without a part of a character; the rest is discarded. Beyond its end, all of it.
            upto_character: The same by characters, instead: the tokens that end at this character or before are committed.
            keep_descendants: Drafts that follow the accepted one stay open, and so does the work on them, unless the draft was cut.
            judgement: The score that is the reason, for the trace.
        """
        check_type("accept", Draft, "a draft", needed=True, draft=draft)
        check_type("accept", Judgement, "a judgement", judgement=judgement)
        check_whole("accept", 0, upto=upto, upto_character=upto_character)
        with self.exclusive("accept"):
            path = self.parts.drafts.check_acceptable(draft)
            cut = self.writer.cut(draft, upto, upto_character)
            self.record(events.Accepted(drafts=tuple(accepted.id for accepted in path), judgement=judgement, cut=cut))
            cancelled = self.proposer.settle(path, keep_descendants=keep_descendants and not cut)
            steps = self.writer.commit(path)
            if self.finish is None and not draft.tokens and draft.finish in ("length", "no room"):
                self.writer.check_room(draft.author)
            await wait_cancelled(cancelled)
        await self.watchers.call(self, steps)

    def reject(self, draft: Draft | Sequence[Draft], reason: str = "", *, judgement: Judgement | None = None) -> None:
        """Rejects drafts and the drafts that follow them. Work on them is cancelled.

        The reason, and the score behind it, are for the trace.
        """
        self.called.check_awaited()
        check_type("reject", Judgement, "a judgement", judgement=judgement)
        drafts = drafts_of("reject", "draft", draft)
        check_type("reject", str, "a text", reason=reason)
        self.proposer.reject_all(drafts, reason, judgement)

    # ---- text that no model writes, and text that is taken back ------------------------------------------------------

    @verb
    async def insert(self, text: str) -> None:
        """Adds text that no model wrote. It counts towards `max_tokens`.

        Of a text that does not fit, the tokens that do are added, and the thinking ends there. After an end of thinking it takes the end
        back, and the thinking goes on.
        """
        with self.exclusive("insert"):
            check_type("insert", str, "a text", needed=True, text=text)
            self._check_unanswered("insert")
            fitting = self.parts.requests.fit_inserted(text)
            if self.parts.ledger.ended:
                self.finish = None
            self.record(events.Inserted(text=fitting, phase="thinking"))
            self.parts.drafts.end = self.parts.drafts.end.new_child("insert")
            steps = self.steps.add(fitting)
            self.parts.ending.check_loop(self.steps, steps)
            if fitting != text and self.finish is None:
                self.parts.ending.end("length")
            self.parts.ending.check_budget()
            await asyncio.sleep(0)  # a method that only inserts must still meet its deadline
        await self.watchers.call(self, steps)

    @verb
    async def resume(self) -> None:
        """Inserts the dialect's cue to go on ("Wait"), whether or not thinking ended."""
        await self.insert(self.parts.contexts.of(next(iter(self.engines))).dialect.resume(self.parts.contexts.last_text()))

    def note(self, role: Role, text: str) -> None:
        """Adds a hint or advice to the prompt of one role, at the chain's end.

        The note does not become text of the chain. A rewind to before it takes it back.
        """
        self.called.check_awaited()
        check_type("note", str, "a text", needed=True, text=text)
        tokens = len(self.parts.contexts.of(role).tokenizer.encode(text))
        self.record(events.Noted(role=role, text=text, tokens=tokens))

    @verb
    async def instruct(self, role: Role, text: str) -> None:
        """Adds an instruction to the problem for one role, before all text.

        It is a line behind the user's last message. Several stand one below the other, so a wrapper's and a method's own both hold.
        Children have them too. The same one again changes nothing, and neither does an empty one.
        """
        check_type("instruct", str, "a text", needed=True, text=text)
        self.parts.contexts.of(role)
        if not text or f"\n{text}\n" in f"\n{self.parts.contexts.instructions.get(role, '')}\n":
            return
        if self.problem.raw or self.parts.drafts.has_grown:
            raise ChainStateError(f"instruct: {'a raw prompt must stay as it is' if self.problem.raw else 'it must come before any text'}")
        self.record(events.Instructed(role=role, text=text, tokens=await self.parts.contexts.instruct(role, text)))

    def checkpoint(self) -> Checkpoint:
        """Returns the chain's end, to `rewind` to."""
        place = len(self.parts.ledger.pieces), len(self.parts.ledger.entries), self.parts.drafts.end, self.steps.checkpoint
        return Checkpoint(*place, len(self._rewinds), self.parts.drafts)

    @verb
    async def rewind(self, checkpoint: Checkpoint) -> None:
        """Takes back all text after the checkpoint: its tokens go from kept to discarded.

        Text that is written then has new seeds. An end that an `insert` took back stays taken back.
        """
        with self.exclusive("rewind"):
            check_type("rewind", Checkpoint, "a checkpoint", needed=True, checkpoint=checkpoint)
            if checkpoint.tree is not self.parts.drafts:
                raise ChainStateError("rewind: the checkpoint belongs to another chain; rewind to one of this chain")
            self._check_final("rewind")
            if checkpoint.pieces > min((len(self.parts.ledger.pieces), *self._rewinds[checkpoint.rewinds :])):
                raise ChainStateError("rewind: the text at the checkpoint was taken back already")
            self.record(events.Rewound(pieces=checkpoint.pieces, entries=checkpoint.entries))
            self._rewinds.append(checkpoint.pieces)
            self.parts.prefills.forget(self.tokens)
            self.parts.drafts.end = checkpoint.node
            self.steps.rewind(checkpoint.steps)
            self.finish = "stop" if self.parts.ledger.ended else None
            self.parts.ending.check_budget()

    # ---- whole chains, and the end ----------------------------------------------------------------------------------

    def at_step(self, watcher: Watcher) -> None:
        """Calls `watcher` after each complete step, here and in later children."""
        self.called.check_awaited()
        self.watchers.add(watcher)

    def child(self, seed: int | None = None, *, share: int = 1, instruction: str = "", logprobs: bool = False) -> Chain:
        """Returns an empty chain, whose events and cost are part of this one's.

        Args:
            seed: The seed of its tokens; None for one of its place.
            share: The child may produce a 1/`share` part of what is left of `max_produced`: so children that work at the same time do
                not depend on each other's speed.
            instruction: Text that is added to the problem for this child alone, such as a strategy.
            logprobs: Its texts come with the log-probabilities of their tokens, which each engine that writes must have.
        """
        self.check_verb("child")
        check_type("child", str, "a text", needed=True, instruction=instruction)
        if instruction and self.problem.raw:
            raise ChainStateError("child: a raw prompt must stay as it is; leave the instruction out")
        check_whole("child", None, seed=seed)
        check_whole("child", share=share)
        index = len(self.children)
        seed = self.parts.drafts.end.new_child(CHILD).key if seed is None else seed
        nested: dict[str, Any] = {"listener": self._listener, "append_only": False, "max_drafts": self.proposer.max_drafts}
        problem = self.problem.with_instruction(instruction) if instruction else self.problem
        child = Chain(problem, self.engines, parent=self, path=(*self.path, index), seed=seed, share=share, **nested)
        child.parts.requests.logprobs = logprobs
        self.children.append(child)
        self.record(events.Child(index=index, seed=seed, events=child.trace.events, instruction=instruction))
        return child

    @verb
    async def become(self, child: Chain) -> None:
        """Takes over a child's text, answer and finish reason.

        This chain's own text and its open drafts are discarded.
        """
        with self.exclusive("become"):
            if child not in self.children:
                raise ChainStateError("become: child must be a child of this chain, got another chain")
            self._check_final("become")
            if child.exclusive.current:
                raise ChainStateError(f"become: {child.exclusive.current} is still at work on the child; await it first")
            await child.close()
            self.proposer.reject(list(self.parts.drafts.open.values()), "another chain was taken over")
            self.record(events.Became(index=child.path[-1]))
            self._rewinds.append(0)
            self.parts.prefills.forget(0)
            self.parts.failover.lost = self.parts.failover.lost or child.parts.failover.lost
            self.parts.drafts.end, self.parts.steps, self.finish = child.parts.drafts.end, Steps(child.text), child.finish
            self.parts.questions.cancel(lambda other: other is not None)
            await wait_cancelled(self.parts.pending.cancel(lambda _: True))

    def stop(self, reason: str, finish: FinishReason = "stop") -> None:
        """Ends the thinking from outside. After a `loop` an answer is cued."""
        self.called.check_awaited()
        check_stop(reason, finish)
        if self.finish is None:
            self.parts.ending.end(finish, reason)

    async def abandon(self) -> None:
        """Cancels all work under way, counts it, and lets nothing more be written."""
        if self.in_method:
            raise ChainStateError("close: the runner ends the chain; return from the method, or call chain.stop(reason)")
        for child in self.children:
            await child.abandon()
        await self.parts.prefills.close()
        await self.parts.calls.close()

    async def close(self, finish: FinishReason = "stop") -> None:
        """Ends the chain; the runner calls it.

        `finish` is the reason if nothing else ended the thinking.
        """
        if self.trace.ended:
            return
        await self.abandon()
        self.finish = self.finish or finish
        for child in self.children:
            if child.exclusive.interrupted:
                child.finish = None
            await child.close("time" if self.finish == "time" else "cancelled")
        self.proposer.reject(list(self.parts.drafts.open.values()), "the chain ended")
        self.record(events.Ended(finish_reason=self.finish, seconds=self.elapsed))

    def record(self, event: AnyEvent) -> None:
        """Appends an event to the trace."""
        self.parts.record(event)

    def check_verb(self, verb: str) -> None:
        """Raises `ChainStateError` for a verb never awaited, or a method going nowhere."""
        self.called.check_awaited()
        self.parts.recorder.progress.count(verb, self.parts.ending.finish)

    def check_finished(self) -> None:
        """Raises `ChainStateError` if a verb or task, or a child's, is not done."""
        self.called.check_finished(self)
        for child in self.children:
            child.check_finished()

    def _check_final(self, verb: str) -> None:
        """Raises `ChainStateError` if text is final. A child's text never is."""
        if self._append_only:
            raise ChainStateError(f"{verb}: the text of this method is final; set `append_only = False` in its class")

    def _check_unanswered(self, verb: str) -> None:
        if self.answered:
            raise ChainStateError(f"{verb}: the chain is answered already")
