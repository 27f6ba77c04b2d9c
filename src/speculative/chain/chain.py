"""The chain: everything that a method can do with the one text that two models write.

A verb is `async` if it can call an engine, wait for one, or let other work run; `reject`, `stop`, `checkpoint`, `child` and
`at_step` are not. `write`, `accept`, `insert`, `rewind`, `become` and `answer` (of the chain itself) are exclusive: a second one
at the same time raises `ChainStateError`. Drafts, scores and questions may overlap freely.
"""

from __future__ import annotations

import asyncio
import inspect
import random
from collections.abc import Awaitable, Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property, partial
from typing import Any, get_args, overload
from weakref import WeakSet

from speculative.answers import extract_boxed
from speculative.chain.context import Prompts
from speculative.chain.drafts import Checkpoint, Draft, joined
from speculative.chain.forgotten import unstarted_task
from speculative.chain.parts import ChainParts
from speculative.chain.pending import wait_cancelled
from speculative.chain.proposer import Proposer
from speculative.chain.requests import Listener
from speculative.chain.steps import STEP, Steps
from speculative.chain.verb import (
    LoopGuard,
    NotAwaited,
    check_given,
    check_number,
    check_stop,
    check_type,
    check_whole,
    drafts_of,
    show,
    verb,
)
from speculative.chain.writer import Writer
from speculative.engines.base import Engine
from speculative.errors import ChainStateError
from speculative.problem import FinishReason, Problem, Role
from speculative.prompts import Question
from speculative.trace import events
from speculative.trace.events import AnyEvent, Phase
from speculative.trace.trace import Trace

Watcher = Callable[["Chain"], Awaitable[None]]
"""Called with a chain after a step of it is complete."""


MAX_ANSWER_PARTS = 32
"""Times that thinking tokens may interrupt an answer, before it counts as a loop."""


class Chain:
    """One chain of thought, and then its answer, that the engines of the roles write for one problem."""

    def __init__(
        self,
        problem: Problem,
        engines: Mapping[str, Engine],
        *,
        listener: Listener | None = None,
        append_only: bool = True,
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
        self.busy: str | None = None
        """The exclusive verb that is at work."""
        self.parent, self.children = parent, list[Chain]()
        self.watchers: list[Watcher] = list(parent.watchers) if parent else []
        self.forgotten: list[ChainStateError] = parent.forgotten if parent else []
        self.verbs = WeakSet[NotAwaited[Any]]()
        self.in_method = False
        """True while the runner runs a method on it: then only the runner may close it."""
        above = parent.parts if parent else None
        self.parts = ChainParts(
            problem, engines, self.trace, seed=self.seed, path=path, listener=listener, parent=above, share=share, prompts=prompts
        )
        self.writer = Writer(self.parts, final=append_only, answer_final=not parent)
        self.proposer = Proposer(self.parts)
        self._listener = listener
        self._rewinds: list[int] = []
        self._guard = LoopGuard()

    # ---- what it is -------------------------------------------------------------------------------------------------

    @cached_property
    def random(self) -> random.Random:
        """The chain's own random generator, for its method."""
        return random.Random(self.seed)

    @property
    def thinking(self) -> bool:
        """False at the end-of-thinking marker, end of text, a loop of repeated steps, or when a budget is used up."""
        self.check_awaited()
        self._guard.read("thinking")
        return self.parts.ending.finish is None

    @property
    def finish(self) -> FinishReason | None:
        """The reason why the thinking, or the answer, is over; None while the chain thinks."""
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
        """Whether the answer has begun."""
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
        """Tokens that all models wrote for this chain and its children, waste included, background prefills left out."""
        return self.parts.budget.produced

    @property
    def left(self) -> int | None:
        """Tokens that the thinking may still produce, waste included; None when `max_produced` is not set."""
        return self.parts.budget.left

    @property
    def elapsed(self) -> float:
        """Seconds since the chain began."""
        return self.parts.recorder.elapsed

    # ---- text that models write -------------------------------------------------------------------------------------

    @verb
    async def write(self, role: Role, *, max_tokens: int | None = None, stop: str | None = None, temperature: float | None = None) -> Draft:
        """Generates text and commits it. Once the thinking is over nothing is written and no engine is called.

        A chunk is longer than `max_tokens` only to end a character. If there are watchers, it pauses after each step, and the
        draft that it returns is all of them together.

        Args:
            role: The model that writes.
            max_tokens: The most that it may write; None for what the budgets allow.
            stop: A string that ends the text; it stays in the text.
            temperature: In place of the problem's.
        """
        check_whole("write", max_tokens=max_tokens)
        check_number("write", temperature=temperature)
        check_stop("write", stop)
        self._check_unanswered("write")
        self.parts.contexts.of(role)
        stops = (*((stop,) if stop else ()), *((STEP,) if self.watchers and stop != STEP else ()))
        parts, left = list[Draft](), max_tokens
        while True:
            with self._exclusive("write"):
                node, number = self.parts.drafts.end.new_child(), self.parts.drafts.new_numbers(1)
                part, steps = await self.parts.failover.run(role, partial(self.writer.write, node, number, left, stops, temperature))
            parts.append(part)
            await self._call_watchers(steps)
            left = None if left is None else left - part.tokens
            paused = self.watchers and part.finish == "stop" and stop != STEP and not (stop and stop in part.text)
            if not (paused or part.finish == "cut") or self.finish is not None or (left is not None and left < 1):
                return joined(parts)

    @verb
    async def answer(self, role: Role, after: Draft | None = None) -> Draft:
        """Closes the thinking and writes the answer. Cues one if a budget ended the thinking. After a draft it stays a draft."""
        check_type("answer", Draft, "a draft", after=after)
        if after and not (after.state == "accepted" and after.node is self.parts.drafts.end):
            return await self.proposer.answer_draft(role, after)
        with self._exclusive("answer"):
            self._check_unanswered("answer")
            if self.parts.ending.stopped_raw:  # a raw text that its stop string ended has no answer apart
                return self.writer.empty_draft(role, "answer")
            dialect = self.parts.contexts.of(self.parts.failover.role_for(role)).dialect
            cue = dialect.answer_cue if self.finish in ("length", "loop", "context") else ""
            parts = list[Draft]()
            following: tuple[str, Phase] | None = (cue, "answer")
            while following:
                if len(parts) == MAX_ANSWER_PARTS:
                    self.finish = "loop" if self.finish == "stop" else self.finish
                    break
                node, number, told = self.parts.drafts.end.new_child(), self.parts.drafts.new_numbers(1), list[str]()
                parts.append(await self.parts.failover.run(role, partial(self.writer.answer, node, number, *following, told)))
                following = self.writer.following(parts[-1])
            return joined([part for part in parts if part.phase == "answer"])

    # ---- drafts, scores, questions ----------------------------------------------------------------------------------

    @overload
    async def draft(
        self,
        role: Role,
        n: None = None,
        after: Draft | None = None,
        *,
        max_tokens: int | None = None,
        stop: str | None = None,
        temperature: float | None = None,
        logprobs: bool = False,
        asked: Question | None = None,
    ) -> Draft: ...
    @overload
    async def draft(
        self,
        role: Role,
        n: int,
        after: Draft | Sequence[Draft] | None = None,
        *,
        max_tokens: int | None = None,
        stop: str | None = None,
        temperature: float | None = None,
        logprobs: bool = False,
        asked: Question | None = None,
    ) -> list[Draft]: ...
    @overload
    async def draft(
        self,
        role: Role,
        n: int | None = None,
        *,
        after: Sequence[Draft],
        max_tokens: int | None = None,
        stop: str | None = None,
        temperature: float | None = None,
        logprobs: bool = False,
        asked: Question | None = None,
    ) -> list[Draft]: ...
    @verb
    async def draft(
        self,
        role: Role,
        n: int | None = None,
        after: Draft | Sequence[Draft] | None = None,
        *,
        max_tokens: int | None = None,
        stop: str | None = None,
        temperature: float | None = None,
        logprobs: bool = False,
        asked: Question | None = None,
    ) -> Draft | list[Draft]:
        """Generates text and commits nothing.

        Where no room is left the drafts are empty. If `accept` or `reject` cancels the work meanwhile, they are rejected and empty.
        Near the end of `max_produced` a call may write what the calls before it left; the shares of children do not depend on
        that.

        Args:
            role: The model that writes.
            n: The number of drafts, for each of `after`.
            after: The draft that they follow, or several (one call for all); None for the chain's end.
            max_tokens: The most tokens of each; None for what the budgets allow.
            stop: A string that ends a draft; it stays in the text.
            temperature: In place of the problem's.
            logprobs: Whether `Draft.logprobs` are wanted.
            asked: A question: the text is the reply to it instead of the chain's continuation.

        Returns:
            One draft if neither `n` nor a list of drafts is given, else a list.
        """
        parents: list[Draft | None] = [None] if after is None else [*drafts_of("draft", "after", after)]
        check_whole("draft", n=n, max_tokens=max_tokens)
        check_number("draft", temperature=temperature)
        check_stop("draft", stop)
        check_type("draft", Question, "a question", asked=asked)
        for parent in parents:
            self.parts.drafts.check_open(parent, "draft")
            if parent and (parent.ended or parent.phase == "answer"):
                raise ChainStateError(f"draft: draft {parent.id} ended, nothing can follow it")
        if not parents:
            return []
        drafts = await self.proposer.draft(role, parents, n or 1, max_tokens, stop, temperature, logprobs, asked)
        return drafts[0] if n is None and (after is None or isinstance(after, Draft)) else drafts

    @verb
    async def score(self, role: Role, drafts: Sequence[Draft]) -> list[list[float]]:
        """Returns the log-probability (nats) under a role's model of every token of each open draft; also in `draft.scores`.

        All drafts are scored in one call. Tokens are those of the vocabulary of the engine that scores. There are none for drafts
        that were decided on before it could, and none where they do not fit into its context, which ends the thinking.
        """
        if isinstance(drafts, str) or not isinstance(drafts, Sequence):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise ChainStateError(f"score: drafts must be drafts, got {show(drafts)}")
        drafts = drafts_of("score", "drafts", drafts)
        self.parts.contexts.of(role)
        for draft in drafts:
            self.parts.drafts.check_open(draft, "score")
            if draft.state != "open":
                raise ChainStateError(f"score: draft {draft.id} is in the chain already; score it before it is accepted")
        if not drafts:
            return []
        scores = await self.parts.failover.run(role, partial(self.proposer.score, drafts))
        for draft, logprobs in zip(drafts, scores, strict=True):
            draft.scores[role] = logprobs
        return scores

    @verb
    async def ask(
        self,
        role: Role,
        question: Question | str,
        after: Draft | None = None,
        *,
        n: int = 1,
        max_tokens: int = 256,
        temperature: float | None = None,
    ) -> list[str]:
        """Asks a side question about the chain, or about the chain and a draft. Returns `n` replies, which never enter the chain.

        Where no room is left the replies are empty.
        """
        check_whole("ask", n=n, max_tokens=max_tokens)
        check_number("ask", temperature=temperature)
        check_given("ask", question=question)
        check_type("ask", (str, Question), "a text or a question", question=question)
        check_type("ask", Draft, "a draft", after=after)
        question = Question("free", question) if isinstance(question, str) else question
        self.parts.drafts.check_open(after, "ask")
        self.parts.contexts.of(role)
        node = (after.node if after else self.parts.drafts.end).new_child()
        replies = await self.parts.failover.run(role, partial(self.proposer.ask, node, question, after, n, max_tokens, temperature))
        self.parts.ending.check_budget()
        return list(replies)

    def reply_room(self, role: Role, question: Question, n: int = 1) -> int:
        """Returns the tokens that each of `n` replies to a question about the chain could have now."""
        acting = self.parts.failover.role_for(role)
        prefix, _ = self.parts.contexts.question(acting, question, None)
        return min(self.parts.contexts.free_positions(acting, prefix), self.parts.budget.remaining(n))

    @verb
    async def prefill(self, role: Role) -> None:
        """Lets an idle model compute what it has not seen: one token is written and thrown away. Without room it does nothing."""
        self.parts.contexts.of(role)
        await self.parts.failover.run(role, partial(self.proposer.prefill, role, self.parts.drafts.end.new_child()))
        self.parts.ending.check_budget()

    # ---- what becomes of drafts -------------------------------------------------------------------------------------

    @verb
    async def accept(self, draft: Draft, *, keep_descendants: bool = False) -> None:
        """Commits the draft and the drafts before it. Every other open draft is rejected, and its work cancelled.

        `keep_descendants`: drafts that follow the accepted one stay open, and so does the work on them.
        """
        with self._exclusive("accept"):
            if not isinstance(draft, Draft):  # pyright: ignore[reportUnnecessaryIsInstance]  of a method that is not typed
                raise ChainStateError(f"accept: draft must be a draft, got {show(draft)}")
            if draft.state != "open" or draft.base is not self.parts.drafts.end:
                raise ChainStateError(f"accept: draft {draft.id} is {draft.state} or no longer hangs off the chain's end")
            path = draft.path()
            self.record(events.Accepted(drafts=tuple(accepted.id for accepted in path)))
            self.parts.drafts.take(path)

            def is_lost(other: Draft | None) -> bool:
                if not keep_descendants or not other:
                    return True
                return other is not draft and all(ancestor.parent is not draft for ancestor in other.path())

            cancelled = self.parts.pending.cancel(is_lost)
            self.proposer.reject(self.parts.drafts.matching(is_lost), "another draft was accepted")
            self.parts.drafts.reparent_all(draft)
            steps = self.writer.commit(path)
            if self.finish is None and not draft.tokens and draft.finish == "length":
                self.writer.check_room(draft.author)
            await wait_cancelled(cancelled)
        await self._call_watchers(steps)

    def reject(self, draft: Draft | Sequence[Draft], reason: str = "") -> None:
        """Rejects drafts and the drafts that follow them. Work on them is cancelled."""
        self.check_awaited()
        drafts = set(drafts_of("reject", "draft", draft))
        check_type("reject", str, "a text", reason=reason)

        def is_lost(other: Draft | None) -> bool:
            return other is not None and any(ancestor in drafts for ancestor in other.path())

        lost = self.parts.drafts.matching(is_lost)
        self.parts.pending.cancel(is_lost)
        self.proposer.reject(lost, reason)

    # ---- text that no model writes, and text that is taken back ------------------------------------------------------

    @verb
    async def insert(self, text: str) -> None:
        """Adds text that no model wrote. After an end of thinking it takes the end back, and the thinking goes on."""
        with self._exclusive("insert"):
            check_given("insert", text=text)
            check_type("insert", str, "a text", text=text)
            self._check_unanswered("insert")
            if self.parts.ledger.ended:
                self.finish = None
            self.record(events.Inserted(text=text, phase="thinking"))
            self.parts.drafts.end = self.parts.drafts.end.new_child()
            steps = self.steps.add(text)
            self.parts.ending.check_loop(self.steps, steps)
            self.parts.ending.check_budget()
            await asyncio.sleep(0)  # a method that only inserts must still meet its deadline
        await self._call_watchers(steps)

    @verb
    async def resume(self) -> None:
        """Inserts the dialect's cue to go on thinking ("Wait"), whether or not the thinking had ended."""
        await self.insert(self.parts.contexts.of(next(iter(self.engines))).dialect.resume(self.parts.contexts.last_text()))

    def checkpoint(self) -> Checkpoint:
        """Returns the chain's end, to `rewind` to."""
        place = len(self.parts.ledger.pieces), self.parts.drafts.end, self.steps.checkpoint
        return Checkpoint(*place, len(self._rewinds), self.parts.drafts)

    @verb
    async def rewind(self, checkpoint: Checkpoint) -> None:
        """Takes back all text after the checkpoint: its tokens go from kept to discarded.

        Text that is written then has new seeds. An end that an `insert` took back stays taken back.
        """
        with self._exclusive("rewind"):
            check_given("rewind", checkpoint=checkpoint)
            check_type("rewind", Checkpoint, "a checkpoint", checkpoint=checkpoint)
            if checkpoint.tree is not self.parts.drafts:
                raise ChainStateError("rewind: the checkpoint belongs to another chain; rewind to one of this chain")
            if checkpoint.pieces > min((len(self.parts.ledger.pieces), *self._rewinds[checkpoint.rewinds :])):
                raise ChainStateError("rewind: the text at the checkpoint was taken back already")
            self.record(events.Rewound(pieces=checkpoint.pieces))
            self._rewinds.append(checkpoint.pieces)
            self.parts.prefills.forget(self.tokens)
            self.parts.drafts.end = checkpoint.node
            self.steps.rewind(checkpoint.steps)
            self.finish = "stop" if self.parts.ledger.ended else None
            self.parts.ending.check_budget()

    # ---- whole chains, and the end ----------------------------------------------------------------------------------

    def at_step(self, watcher: Watcher) -> None:
        """Calls `watcher` after every commit that completes a step, of this chain or of a child that begins later."""
        self.check_awaited()
        plain = inspect.isfunction(watcher) and watcher.__name__ != "<lambda>" and not hasattr(watcher, "__wrapped__")
        if not callable(watcher) or inspect.isbuiltin(watcher) or (plain and not inspect.iscoroutinefunction(watcher)):
            raise ChainStateError(f"at_step: watcher must be an async function, got {show(watcher)}")
        self.watchers.append(watcher)

    def child(self, seed: int | None = None, *, share: int = 1) -> Chain:
        """Returns an empty chain on the same problem. Its events are nested in this one's, and its cost counts here too.

        It may produce one of `share` equal parts of what is left of `max_produced`: so children that work at the same time
        do not depend on each other's speed.
        """
        self.check_verb("child")
        check_whole("child", None, seed=seed)
        check_whole("child", share=share)
        index = len(self.children)
        seed = self.parts.drafts.end.new_child().key if seed is None else seed
        nested: dict[str, Any] = {"listener": self._listener, "append_only": False, "path": (*self.path, index)}
        child = Chain(self.problem, self.engines, parent=self, seed=seed, share=share, **nested)
        self.children.append(child)
        self.record(events.Child(index=index, seed=seed, events=child.trace.events))
        return child

    @verb
    async def become(self, child: Chain) -> None:
        """Takes over a child's text, answer and finish reason. This chain's own text is discarded, its open drafts too."""
        with self._exclusive("become"):
            if child not in self.children:
                raise ChainStateError("become: that chain is no child of this one")
            if child.busy:
                raise ChainStateError(f"become: {child.busy} is still at work on the child; await it first")
            await child.close()
            self.proposer.reject(list(self.parts.drafts.open.values()), "another chain was taken over")
            self.record(events.Became(index=child.path[-1]))
            self._rewinds.append(0)
            self.parts.prefills.forget(0)
            self.parts.failover.lost = self.parts.failover.lost or child.parts.failover.lost
            self.parts.drafts.end, self.parts.steps, self.finish = child.parts.drafts.end, Steps(child.text), child.finish
            await wait_cancelled(self.parts.pending.cancel(lambda _: True))

    def stop(self, reason: str) -> None:
        """Ends the thinking from outside."""
        self.check_awaited()
        check_type("stop", str, "a text", reason=reason)
        if self.finish is None:
            self.parts.ending.end("stop", reason)

    async def abandon(self) -> None:
        """Cancels everything under way and waits until its cost is recorded. Nothing can be written any more."""
        if self.in_method:
            raise ChainStateError("close: the runner ends the chain; return from the method, or call chain.stop(reason)")
        for child in self.children:
            await child.abandon()
        await self.parts.prefills.close()
        await self.parts.calls.close()

    async def close(self, finish: FinishReason = "stop") -> None:
        """Ends the chain: open drafts are rejected, and the trace gets its end. Called by the runner.

        `finish` is the reason if nothing else ended the thinking.
        """
        if self.trace.ended:
            return
        await self.abandon()
        self.finish = self.finish or finish
        for child in self.children:
            await child.close("time" if self.finish == "time" else "stop")
        self.proposer.reject(list(self.parts.drafts.open.values()), "the chain ended")
        self.record(events.Ended(finish_reason=self.finish, seconds=self.elapsed))

    # ---- events -----------------------------------------------------------------------------------------------------

    def record(self, event: AnyEvent) -> None:
        """Appends an event to the trace."""
        self.parts.record(event)

    def check_awaited(self) -> None:
        """Raises `ChainStateError` if a verb of this chain, or of its parent or child, was called and never awaited."""
        if self.forgotten:
            raise self.forgotten.pop()

    def check_verb(self, verb: str) -> None:
        """Raises `ChainStateError` if a verb was never awaited, or if the method gets nowhere."""
        self.check_awaited()
        self.parts.recorder.progress.count(verb, self.parts.ending.finish)

    def check_finished(self) -> None:
        """Raises `ChainStateError` if a verb or a task of this chain, or of a child, was begun and is not done."""
        self.check_awaited()
        for called in list(self.verbs):
            if error := called.unfinished():
                raise error
        if error := unstarted_task(lambda value: value is self):
            raise error
        for child in self.children:
            child.check_finished()

    # ---- under the verbs: calls -------------------------------------------------------------------------------------

    async def _call_watchers(self, steps: int) -> None:
        for watcher in self.watchers if steps else ():
            watching: Any = watcher(self)
            if not inspect.isawaitable(watching):
                raise ChainStateError(f"at_step: watcher must be an async function, got {show(watcher)}")
            await watching

    def _check_unanswered(self, verb: str) -> None:
        if self.answered:
            raise ChainStateError(f"{verb}: the chain is answered already")

    @contextmanager
    def _exclusive(self, verb: str) -> Generator[None]:
        if self.busy:
            raise ChainStateError(f"{verb}: {self.busy} is still at work on this chain; await it first")
        self.busy = verb
        try:
            yield
        finally:
            self.busy = None
