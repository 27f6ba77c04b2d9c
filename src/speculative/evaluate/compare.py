"""Methods on the same problems with the same seeds: the loop of `speculative compare`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from msgspec import json as msgjson
from msgspec import structs

from speculative.evaluate.controls import controls, speculation
from speculative.evaluate.problems import StatedProblem
from speculative.evaluate.side_by_side import Sharing, side_by_side
from speculative.evaluate.work import Work, attempt, matching, plan
from speculative.methods.spec import Contender
from speculative.pair import Pair
from speculative.problem import Problem
from speculative.runs.sample import Sample
from speculative.stats.cost import View
from speculative.stats.prices import Prices
from speculative.trace.trace import Trace

OnSample = Callable[[Sample, Trace | None], Sample]
"""Is told of each chain as it finishes, and gives the sample back as it is kept. Without a trace the sample names one that is kept."""

OnRound = Callable[[Sequence[Contender], Sequence[Sample]], None]
"""Is told of the contenders that are run next, and of the samples that there are of them."""


class Comparison:
    """Contenders on problems. `samples` are those that count: of `found` the ones that this comparison would give, and its own."""

    def __init__(
        self,
        stated: Sequence[StatedProblem],
        problem: Problem,
        settings: Mapping[str, Any],
        *,
        epochs: int = 1,
        chains: int = 1,
        found: Sequence[Sample] = (),
        on_sample: OnSample | None = None,
        on_round: OnRound | None = None,
    ) -> None:
        """`problem` carries sampling, budget and the seed that all seeds are made from. At most `chains` run at once."""
        self.samples: list[Sample] = []
        self.rivals: list[Contender] = []
        self._stated, self._problem, self._settings, self._epochs, self._chains = stated, problem, settings, epochs, chains
        self._found, self._on_sample, self._on_round = list(found), on_sample, on_round

    async def run(self, pair: Pair, rivals: Sequence[Contender]) -> dict[str, list[Sample]]:
        """Runs what there are no samples of. The samples by label. Raises `EngineError`: nothing that failed is counted as an answer.

        Two contenders that are the same method with the same parameters have the same chains, which are run once.
        """
        work = plan(rivals, self._stated, self._epochs)
        kept = matching(self._found, work, rivals, self._settings, self._problem.seed)
        done = {sample.key for sample in kept}
        self.samples += kept
        self.rivals += rivals
        if self._on_round:
            self._on_round(rivals, kept)
        first = {_identity(rival): rival.label for rival in reversed(self.rivals)}
        of = {rival.label: first[_identity(rival)] for rival in rivals}
        left = [one for one in work if one.key not in done]
        own = [one for one in left if of[one.contender.label] == one.contender.label]
        await run_all(own, pair, self._problem, self._settings, self._take, chains=self._chains)
        self._copy([one for one in left if of[one.contender.label] != one.contender.label], of)
        return self._of(rivals)

    def _take(self, sample: Sample, trace: Trace | None) -> None:
        self.samples.append(self._on_sample(sample, trace) if self._on_sample else sample)

    def _copy(self, work: Sequence[Work], of: Mapping[str, str]) -> None:
        """Takes over the chains that the same method has under another label."""
        there = {sample.key: sample for sample in self.samples}
        for one in work:
            sample = there[one.stated.task, of[one.contender.label], one.stated.id, one.epoch]
            self._take(structs.replace(sample, label=one.contender.label, control_of=one.contender.control_of), None)

    async def run_controls(self, pair: Pair, prices: Prices | None, view: View) -> list[str]:
        """Runs the controls of what was run; small's vote costs the same in that view. Says what could not be had."""
        rounds = controls(self.rivals, self._of(self.rivals), prices, view)
        found: dict[str, list[Sample]] | None = None
        while True:
            try:
                wanted = next(rounds) if found is None else rounds.send(found)
            except StopIteration as over:
                return [*over.value, speculation(pair["big"])] if found is not None else []
            found = await self.run(pair, wanted)

    def _of(self, rivals: Sequence[Contender]) -> dict[str, list[Sample]]:
        found: dict[str, list[Sample]] = {contender.label: [] for contender in rivals}
        for sample in self.samples:
            if sample.label in found:
                found[sample.label].append(sample)
        return found


def _identity(rival: Contender) -> bytes:
    return msgjson.encode([rival.name, rival.params])


async def run_all(
    work: Sequence[Work],
    pair: Pair,
    problem: Problem,
    settings: Mapping[str, Any],
    on_sample: Callable[[Sample, Trace], None],
    *,
    chains: int,
) -> None:
    """Runs the chains, at most `chains` at once; `on_sample` is told of each as it finishes. Raises `EngineError`."""
    for contender in {id(one.contender): one.contender for one in work}.values():
        pair.check(contender.method)

    sharing = Sharing()

    async def one_more(one: Work) -> None:
        on_sample(*await attempt(one, pair, problem, settings, sharing))

    await side_by_side(work, one_more, chains)
