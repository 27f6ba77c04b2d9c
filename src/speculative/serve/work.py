"""Runs the chains of one request, with or without somebody listening."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from functools import partial

from msgspec import structs

from speculative import prompts
from speculative.methods.base import append_only
from speculative.pair import Pair
from speculative.problem import Problem
from speculative.result import Result
from speculative.runner import run
from speculative.serve.errors import Refusal
from speculative.serve.feed import Feed, RawText
from speculative.serve.outcome import Outcome
from speculative.serve.request import Job
from speculative.trace.trace import Trace


class Work:
    """The chains of one job. `feeds` has a listener for each chain that has one, from `start` to `close`."""

    def __init__(self, job: Job, pair: Pair, wake: Callable[[int], None] | None) -> None:
        """`wake`: called with its index when a feed has something; None where nobody listens, so that the engines need not stream."""
        self._job, self._pair = job, pair
        self._raw = [raw_text(pair, problem) if job.raw else None for problem in job.problems]
        self._wake = wake
        self._aborted = False
        self._tasks: list[asyncio.Task[Result]] = []
        self._traces = [Trace([]) for _ in job.problems]
        self.feeds: list[Feed | None] = []

    def start(self) -> Sequence[asyncio.Task[Result]]:
        """Begins all chains. Raises `UsageError` where the method cannot take the problem."""
        method = self._job.method
        self.feeds = [self._feed(index) for index in range(len(self._job.problems))]
        prepared = [method.prepare(fitted(problem, raw)) for problem, raw in zip(self._job.problems, self._raw, strict=True)]
        for problem, feed, trace in zip(prepared, self.feeds, self._traces, strict=True):
            self._tasks.append(asyncio.create_task(run(problem, method, self._pair, feed, trace=trace)))
        return self._tasks

    async def over(self) -> None:
        """Starts all, and waits for the end of all, or for the first error, which is raised."""
        done, _ = await asyncio.wait(self.start(), return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            if not task.cancelled() and (error := task.exception()):
                raise error

    def outcome(self, index: int) -> Outcome:
        """What a chain that is over came to. Raises what it raised, and `Refusal` if the service ended it."""
        task, feed, raw = self._tasks[index], self.feeds[index], self._raw[index]
        if task.cancelled() and self._aborted:
            raise Refusal(503, "the service is shutting down and did not finish this chain", kind="service_unavailable", code="draining")
        if feed:
            feed.finished()
        finish = feed.finish if feed else ""
        if not finish:  # else its text was over before the chain was
            task.result()
        return Outcome.of(self._traces[index], close=raw.close if raw else None, finish=finish)

    def traces(self) -> Iterator[Trace]:
        """What is known of all chains that began, finished or not."""
        return (trace for trace in self._traces if trace.events)

    async def close(self) -> None:
        """Cancels what still runs, the engines' work with it, and waits until it is over."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.feeds = []  # they hold this: else only a collector of garbage would find both

    def abort(self) -> None:
        """Ends all chains because the service shuts down."""
        self._aborted = True
        for task in self._tasks:
            task.cancel()

    def _feed(self, index: int) -> Feed | None:
        """Who streams listens; so does a raw text, which may be over before its chain is."""
        problem, raw, wake = self._job.problems[index], self._raw[index], self._wake
        early = raw is not None and (bool(problem.stop) or raw.ends is not None)
        if wake is None and not early:
            return None
        return Feed(
            partial(wake, index) if wake else lambda: None,
            lambda: self._end(index),
            self._traces[index],
            append_only=append_only(self._job.method),
            stops=problem.stop,
            raw=raw,
            watch=self._job.events,
        )

    def _end(self, index: int) -> None:
        self._tasks[index].cancel()


def raw_text(pair: Pair, problem: Problem) -> RawText:
    """How the text of a raw prompt is told, and whether it may end without thinking."""
    dialect = prompts.find_dialect(pair["big"].dialect)

    def close(text: str) -> str:
        return "".join(part if isinstance(part, str) else part.text for part in dialect.close(text))

    if dialect.is_thinking_open(problem.messages[0].content):
        return RawText(close, None)
    return RawText(
        close,
        {role: frozenset(map(engine.vocabulary.marker, prompts.find_dialect(engine.dialect).stop_tokens)) for role, engine in pair.items()},
    )


def fitted(problem: Problem, raw: RawText | None) -> Problem:
    """A raw text without thinking has no answer to keep tokens free for: all of its budget is the text's."""
    return problem if raw is None or raw.ends is None else structs.replace(problem, answer_tokens=0)
