"""Controls: what chance, and the small model alone, come to at what a method spends. Without them no figure of a method says much.

- `random_switch` in the method's own unit, of whose kept tokens big writes the same share (within 1 point).
- `vote` on `small_only` with as many ballots as cost what the method costs, in one price view.
- `big_only` with the engine's own token speculation: that is `big_only` itself where the engine has it (`speculation`).
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence

from msgspec import Struct

from speculative.engines.base import Engine
from speculative.methods.spec import Contender, contender
from speculative.runs.sample import Sample
from speculative.stats.cost import Cost, View, costs
from speculative.stats.prices import Prices
from speculative.trace.usage import big_model_share, total_usage

BASELINES = ("big_only", "small_only", "random_switch")
"""Methods that need no control: they are what the others are held against."""

CLOSE = 0.01
"""How near the kept share of `random_switch` has to come to the method's."""

TRIES = 6
"""So many shares are tried at most, each with all problems; two or three are the rule."""

DIGITS = 3
"""Of a share."""

MOST_BALLOTS = 64

FEW = 4
"""Ballots of the vote that is run to see what one ballot more costs: less than the first one, where the problem is read once for all."""

SMALL = contender("small_only")


class Ballots(Struct, frozen=True):
    """What small's vote costs: the first ballot, and each one more."""

    first: float
    more: float

    @staticmethod
    def of(one: Cost | None, few: Cost | None) -> Ballots | None:
        """From what one ballot costs, and what `FEW` do; None if that is not known."""
        if one is None or few is None or not one.chain:
            return None
        return Ballots(one.chain, max(few.chain - one.chain, one.chain / MOST_BALLOTS) / (FEW - 1))

    def costing(self, cost: float) -> int:
        """How many cost that, at least one."""
        return max(1, 1 + round((cost - self.first) / self.more))


Samples = Mapping[str, Sequence[Sample]]
"""By label."""

Rounds = Generator[list[Contender], Samples, list[str]]

Control = Generator[Contender, Sequence[Sample], str | None]
"""Yields contenders that are to be run, and is sent their samples. Returns what went amiss."""


def controls(rivals: Sequence[Contender], samples: Samples, prices: Prices | None, view: View) -> Rounds:
    """The controls of the rivals on one task, in rounds. Baselines, and methods without the big model, need none.

    Each round is a list of contenders that are to be run on the same problems and epochs with the same seeds; their samples, by
    label, are sent in. Returns what could not be had, a line each. All is decided by the samples: whoever is sent the same ones
    again asks for the same contenders, so a run that was interrupted goes on with what is on the disk.
    """
    judged = [rival for rival in rivals if _is_judged(rival) and any("big" in sample.usage for sample in samples.get(rival.label, ()))]
    small = next((rival for rival in rivals if _is_small(rival) and samples.get(rival.label)), SMALL)
    ballots: Ballots | None = None
    if any(view in costs(samples[rival.label], prices) for rival in judged):
        few = _like(small, f"vote(ballots={FEW})*small_only")
        measured = yield [small, few] if small is SMALL else [few]
        one = costs(samples.get(small.label) or measured.get(small.label) or (), prices).get(view)
        ballots = Ballots.of(one, costs(measured.get(few.label, ()), prices).get(view))
    started = [_chance(rival, samples[rival.label]) for rival in judged]
    started += [_vote(rival, costs(samples[rival.label], prices).get(view), ballots, view) for rival in judged]
    notes: list[str] = []
    wanted = [_next(control, None, notes) for control in started]
    while asked := [one for one in wanted if one]:
        found = yield [asking for _, asking in asked]
        wanted = [_next(control, found.get(asking.label, ()), notes) for control, asking in asked]
    return notes


def speculation(big: Engine) -> str:
    """What is to be said of `big_only` with token speculation."""
    if "speculates" in big.abilities:
        return f"{big.name} speculates on tokens by itself, for all methods alike: so big_only is with it, and without it not available"
    return "big_only with the engine's own token speculation is not available here: the big model's engine reports none"


def _is_judged(rival: Contender) -> bool:
    return not rival.control_of and rival.name not in BASELINES


def _is_small(rival: Contender) -> bool:
    return (rival.name, rival.params) == (SMALL.name, SMALL.params)


def _next(control: Control, sent: Sequence[Sample] | None, notes: list[str]) -> tuple[Control, Contender] | None:
    try:
        return control, (next(control) if sent is None else control.send(sent))
    except StopIteration as over:
        notes += [over.value] if over.value else []
        return None


def _chance(rival: Contender, samples: Sequence[Sample]) -> Control:
    """`random_switch`, its share sought where the line through what was tried crosses the method's kept share.

    The coins depend on the seeds alone, so a larger share only turns small's units into big's.
    """
    target = _kept(samples)
    if target is None or not CLOSE / 2 < target < 1 - CLOSE / 2:
        return None  # that would be small_only, or big_only
    tried = {1.0: 1.0} if rival.method.answer_by == "big" else {0.0: 0.0}  # by share, the kept share: known where one writes it all
    off, aim = 1.0, round(target, DIGITS)
    for _ in range(TRIES):
        kept = _kept((yield _switch(rival, aim)))
        if kept is None:
            return None
        tried[aim], off = kept, min(off, abs(kept - target))
        if off <= CLOSE:
            return None
        if (aim := _aimed(tried, target)) in tried:
            break  # at an end: no share comes nearer
    told = f"{rival.label}: random_switch came within {100 * off:.1f} points of its kept share, not within {100 * CLOSE:.0f}"
    return f"{told}; more problems or epochs have finer shares"


def _aimed(tried: Mapping[float, float], target: float) -> float:
    """The next share: on the line through the two that came nearest, one from each side if there are such; a new one in any case."""
    near = sorted(tried, key=lambda share: abs(tried[share] - target))
    below, above = ([share for share in near if (tried[share] < target) == under] for under in (True, False))
    one, other = sorted((below[0], above[0]) if below and above else near[:2])
    rise = tried[other] - tried[one]
    aim = one + (other - one) * (target - tried[one]) / rise if rise > 0 else (one + other) / 2
    step = 10**-DIGITS if tried[near[0]] < target else -(10**-DIGITS)
    aim = round(min(1.0, max(0.0, aim)), DIGITS)
    while aim in tried and 0 < aim < 1:
        aim = round(aim + step, DIGITS)
    return aim


def _switch(rival: Contender, big_share: float) -> Contender:
    unit = rival.method.switch_unit
    told = "unit=step" if unit == "step" else f"switch_chunk={unit}"
    answer = "" if rival.method.answer_by == "big" else f",answer_by={rival.method.answer_by}"
    return _like(rival, f"random_switch(big_share={big_share:g},{told}{answer})")


def _vote(rival: Contender, own: Cost | None, ballots_for: Ballots | None, view: View) -> Control:
    """Small's majority vote with as many ballots as cost what the method costs."""
    if own is None or ballots_for is None:
        return f"{rival.label}: no vote at equal cost, for these models have no price in the view {view}; give some with --prices"
    ballots = ballots_for.costing(own.chain)
    yield _like(rival, f"vote(ballots={min(ballots, MOST_BALLOTS)})*small_only")
    if ballots > MOST_BALLOTS:
        return f"{rival.label}: {ballots} ballots would cost the same, {MOST_BALLOTS} were cast"
    return None


def _like(rival: Contender, spec: str) -> Contender:
    """A contender that is the control of another."""
    return Contender(f"{spec} like {rival.label}", contender(spec).method, rival.label)


def _kept(samples: Sequence[Sample]) -> float | None:
    return big_model_share(total_usage(sample.usage for sample in samples), "kept_tokens")
