"""The chains behind one call of lm-eval: those that are kept already come from the run folder, the others are written."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import json, structs, to_builtins

from speculative.errors import EngineError, MethodError
from speculative.evaluate.lm_eval.arguments import Arguments
from speculative.evaluate.lm_eval.requests import Posed
from speculative.evaluate.side_by_side import Sharing, side_by_side
from speculative.evaluate.work import graded, matching
from speculative.evaluate.work import posed as as_run
from speculative.methods.base import Method
from speculative.pair import Pair
from speculative.problem import Problem
from speculative.result import Result
from speculative.runner import run
from speculative.runs.folder import RunFolder
from speculative.runs.sample import Sample
from speculative.trace.usage import total_usage

UNGRADED = "ungraded"
"""The run folder, within the run folder, of the tasks that lm-eval grades: nothing counts their samples as wrong."""

Solve = Callable[[Problem, Method], Awaitable[Result]]


def solver(pair: Pair) -> Solve:
    """Chains on engines of our own."""

    async def solve(problem: Problem, method: Method) -> Result:
        result = await run(method.prepare(problem), method, pair)
        return structs.replace(result, text=_before(problem.stop, result.text))

    return solve


class Chains:
    """Writes chains and keeps their samples. `out` is a run folder; without one nothing is kept."""

    def __init__(self, arguments: Arguments, out: Path | None) -> None:
        self.arguments, self.out = arguments, out
        self.samples: list[Sample] = []
        """Of all calls so far."""
        self._folders: dict[bool, RunFolder] = {}
        if out:
            self._folders[True] = RunFolder(out)

    def close(self) -> None:
        """Lets another process write to the run folder."""
        for folder in self._folders.values():
            folder.close()

    def kept(self, work: Sequence[Posed]) -> dict[int, Sample]:
        """The samples that an earlier run of the same work left, by their place in it."""
        groups: dict[tuple[bool, bytes], list[int]] = {}
        for place, one in enumerate(work):
            groups.setdefault((bool(one.work.stated.kind), json.encode(one.settings, order="sorted")), []).append(place)
        found: dict[int, Sample] = {}
        for (ours, _), places in groups.items():
            folder = self._folder(ours)
            if folder:
                alike, settings = [work[place].work for place in places], work[places[0]].settings
                samples = matching(folder.samples, alike, [self.arguments.contender], settings, self.arguments.problem.seed)
                by_key = {sample.key: sample for sample in samples}
                found |= {place: by_key[work[place].work.key] for place in places if work[place].work.key in by_key}
        return found

    async def write(
        self, work: Sequence[Posed], solve: Solve, told: Callable[[], None], provenance: Mapping[str, Any] | None = None
    ) -> list[Sample]:
        """The samples of the work, in its order. `told` is called as each is there; `provenance` is kept with those that are new.

        Raises `EngineError` and `MethodError`: what was done until then is kept, and the error says where.
        """
        found = self.kept(work)
        for _ in found:
            told()
        left = [place for place in range(len(work)) if place not in found]
        for ours in {bool(work[place].work.stated.kind) for place in left}:
            if folder := self._folder(ours):
                folder.note(provenance or {})

        sharing = Sharing()

        async def one_more(place: int) -> None:
            one = work[place]
            with sharing.one(one.work.contender.method.chains_at_once) as at_once:
                result = await solve(as_run(one.work, one.problem), one.work.contender.method)
            sample = structs.replace(await graded(one.work, result, one.settings, at_once()), doc_id=one.doc_id)
            folder = self._folder(bool(one.work.stated.kind))
            found[place] = folder.append(sample, result.trace) if folder else sample
            told()

        try:
            await side_by_side(left, one_more, self.arguments.chains)
        except (EngineError, MethodError) as error:
            error.args = (f"{error}; {self._state(len(found), len(work))}", *error.args[1:])
            raise
        samples = [found[place] for place in range(len(work))]
        self.samples += samples
        return samples

    def totals(self) -> dict[str, Any]:
        """What all samples so far cost."""
        usage = total_usage(sample.usage for sample in self.samples)
        return {
            "chains": len(self.samples),
            "seconds": round(sum(sample.seconds for sample in self.samples), 6),
            "usage": to_builtins(usage),
            "run_folder": str(self.out) if self.out else None,
        }

    def _folder(self, ours: bool) -> RunFolder | None:
        if self.out and ours not in self._folders:
            self._folders[ours] = RunFolder(self.out / UNGRADED)
        return self._folders.get(ours)

    def _state(self, done: int, total: int) -> str:
        """How far the run came."""
        if not self.out:
            return f"{done} of {total} chains were done and are lost; keep them with --output_path or out=DIR"
        return f"{done} of {total} chains are kept in {self.out}; the same command goes on"


def _before(stops: Sequence[str], answer: str) -> str:
    """The answer without the stop string that ended it."""
    ends = [place for stop in stops if (place := answer.find(stop)) >= 0]
    return answer[: min(ends)].strip() if ends else answer
