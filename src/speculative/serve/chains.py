"""The chains of one request, each in a task of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from functools import partial

from msgspec import structs

from speculative import prompts
from speculative.chain.context import Prompts, tokenize_prompts
from speculative.chain.tokenizing import tokenize_off_loop
from speculative.methods.errors import prepare
from speculative.pair import Pair
from speculative.problem import Message, Problem
from speculative.result import Result
from speculative.runner import run
from speculative.serve.errors import shutting_down
from speculative.serve.outcome import ChainOutcome
from speculative.serve.raw_text import RawText
from speculative.serve.request import ChainRequest
from speculative.serve.streaming import TextFeed
from speculative.trace.trace import Trace


class RunningChains:
    """The chains of one request. `feeds` has the listener of each chain that has one.

    Args:
        wake: called when there is something to stream; without it the engines need not stream either.
    """

    def __init__(self, request: ChainRequest, pair: Pair, wake: Callable[[], None] | None) -> None:
        self._request, self._pair, self._wake = request, pair, wake
        self._raw = [raw_text(pair, problem) if request.raw else None for problem in request.problems]
        self._aborted = False
        self._tasks: list[asyncio.Task[Result]] = []
        self._traces = [Trace([]) for _ in request.problems]
        self.feeds: list[TextFeed | None] = []

    async def start(self) -> None:
        """Begins all chains. Raises `UsageError` where the method cannot take the problem."""
        method, problems = self._request.method, self._request.problems
        self.feeds = [self._feed(index) for index in range(len(problems))]
        prepared = [prepare(method, with_raw_budget(problem, raw)) for problem, raw in zip(problems, self._raw, strict=True)]
        tokens: dict[tuple[Message, ...], Prompts] = {}
        for problem in prepared:
            if problem.messages not in tokens:
                size = sum(len(message.content) for message in problem.messages)
                tokens[problem.messages] = await tokenize_off_loop(size, partial(tokenize_prompts, self._pair.values(), problem))
        self.raise_failure()
        for problem, feed, trace in zip(prepared, self.feeds, self._traces, strict=True):
            work = run(
                problem,
                method,
                self._pair,
                feed,
                trace=trace,
                prompts=tokens[problem.messages],
                max_drafts=self._request.max_drafts,
                displays=self._request.live,
            )
            self._tasks.append(asyncio.create_task(work))
            if wake := self._wake:
                self._tasks[-1].add_done_callback(lambda _, wake=wake: wake())

    async def finish(self) -> list[ChainOutcome]:
        """Waits for all chains. Raises the first error."""
        await asyncio.wait(self._tasks, return_when=asyncio.FIRST_EXCEPTION)
        self.raise_failure()
        return [self.outcome(index) for index in range(len(self._tasks))]

    def any_live(self) -> bool:
        """Returns whether a chain has begun to write, or has ended."""
        return any(feed and feed.live for feed in self.feeds) or any(map(asyncio.Task[Result].done, self._tasks))

    def is_done(self, index: int) -> bool:
        """Returns whether a chain is over."""
        return self._tasks[index].done()

    def raise_failure(self) -> None:
        """Raises the error of a chain that failed, or that of an abort."""
        if self._aborted:
            raise shutting_down("the service is shutting down and did not finish this chain")
        for task in self._tasks:
            if task.done() and not task.cancelled() and (error := task.exception()):
                raise error

    def outcome(self, index: int) -> ChainOutcome:
        """Computes the outcome of a finished chain. Raises its error, or that of an abort."""
        task, feed, raw = self._tasks[index], self.feeds[index], self._raw[index]
        if task.cancelled():
            self.raise_failure()
        if feed:
            feed.close()
        finish = feed.finish if feed else ""
        if not finish:  # else its text was over before the chain was
            task.result()
        return ChainOutcome.from_trace(self._traces[index], raw=raw, finish=finish)

    def traces(self) -> Iterator[Trace]:
        """Yields the traces of all chains that began."""
        return (trace for trace in self._traces if trace.events)

    async def close(self) -> None:
        """Cancels chains that still run and waits until their calls are over."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def abort(self) -> None:
        """Ends all chains because the service shuts down."""
        self._aborted = True
        for task in self._tasks:
            task.cancel()

    def _feed(self, index: int) -> TextFeed | None:
        """Makes the listener of a streamed chain, or of a raw text that may end early."""
        problem, raw = self._request.problems[index], self._raw[index]
        ends_early = raw is not None and (bool(problem.stop) or raw.ends is not None)
        if self._wake is None and not ends_early:
            return None
        return TextFeed(
            self._wake or (lambda: None),
            lambda: self._stop(index),
            self._traces[index],
            append_only=self._request.method.text_is_final,
            stops=problem.stop,
            raw=raw,
            watch=self._request.events,
            live_text=self._request.live,
        )

    def _stop(self, index: int) -> None:
        self._tasks[index].cancel()


def raw_text(pair: Pair, problem: Problem) -> RawText:
    """Finds the rules by which a raw prompt's completion becomes one text."""
    dialect = prompts.find_dialect(pair["big"].dialect)

    def close(text: str) -> str:
        return "".join(part if isinstance(part, str) else part.text for part in dialect.close(text))

    if dialect.is_thinking_open(problem.messages[0].content):
        return RawText(close, dialect.think_start, None)
    stop_tokens = {role: prompts.find_dialect(engine.dialect).stop_tokens for role, engine in pair.items()}
    ends = {role: frozenset(map(pair[role].tokenizer.special_token_id, tokens)) for role, tokens in stop_tokens.items()}
    return RawText(close, dialect.think_start, ends)


def with_raw_budget(problem: Problem, raw: RawText | None) -> Problem:
    """Gives a raw text without thinking all its tokens, since no answer follows.

    A limit on the thinking has nothing to limit there.
    """
    return problem if raw is None or raw.ends is None else structs.replace(problem, answer_tokens=0, max_thinking=None)
