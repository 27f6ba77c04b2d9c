"""Plans controls: chance, and the small model alone, at the cost of a method.

- `random_switch` in the method's own unit, with the big model's same share of kept tokens (within 1 point).
- `vote` on `small_only` with as many ballots as cost the same, in one price view.
- `big_only` with the engine's own token speculation, if the engine has it (`speculation`).
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence

from msgspec import Struct

from speculative.engines.base import Engine
from speculative.methods.spec import MethodSpec, parse_method
from speculative.runs.sample import Sample
from speculative.stats.cost import Cost, View, costs
from speculative.stats.prices import Prices
from speculative.trace.usage import big_model_share, total_usage

BASELINES = ("big_only", "small_only", "random_switch")
"""Methods without controls, since the others are compared with them."""

CLOSE = 0.01
"""The allowed difference between the kept shares of `random_switch` and of the method."""

TRIES = 6
"""The largest number of shares that are tried, each with all problems; two or three usually suffice."""

DIGITS = 3
"""The number of digits of a share."""

MOST_BALLOTS = 64

FEW = 4
"""The ballots of a vote that measures the cost of one more ballot. It is less than the first one's if the prompt is cached."""

SMALL = parse_method("small_only")


class Ballots(Struct, frozen=True):
    """The cost of a vote: of the first ballot, and of each further one."""

    first: float
    more: float

    @staticmethod
    def of(one: Cost | None, few: Cost | None) -> Ballots | None:
        """Computes the costs of ballots, or None if a cost is unknown."""
        if one is None or few is None or not one.chain:
            return None
        return Ballots(one.chain, max(few.chain - one.chain, one.chain / MOST_BALLOTS) / (FEW - 1))

    def costing(self, cost: float) -> int:
        """Returns the number of ballots that cost this much, at least one."""
        return max(1, 1 + round((cost - self.first) / self.more))


Samples = Mapping[str, Sequence[Sample]]
"""Samples by label."""

Rounds = Generator[list[MethodSpec], Samples, list[str]]

Control = Generator[MethodSpec, Sequence[Sample], str | None]
"""Yields methods to run, and receives their samples. Returns a note for the user, or None."""


def controls(rivals: Sequence[MethodSpec], samples: Samples, prices: Prices | None, view: View) -> Rounds:
    """Yields the controls of methods on one task, in rounds.

    Baselines, and methods without the big model, have none.

    Each round is a list of methods to run on the same problems, epochs and seeds; the caller sends their samples, by label.
    Returns a line for each missing control. The same samples give the same rounds, so an interrupted run can continue.
    """
    controlled = [
        rival for rival in rivals if _needs_controls(rival) and any("big" in sample.usage for sample in samples.get(rival.label, ()))
    ]
    small = next((rival for rival in rivals if _is_small(rival) and samples.get(rival.label)), SMALL)
    ballots: Ballots | None = None
    if any(view in costs(samples[rival.label], prices) for rival in controlled):
        few = _like(small, f"vote(ballots={FEW})*small_only")
        measured = yield [small, few] if small is SMALL else [few]
        one = costs(samples.get(small.label) or measured.get(small.label) or (), prices).get(view)
        ballots = Ballots.of(one, costs(measured.get(few.label, ()), prices).get(view))
    started = [_chance(rival, samples[rival.label]) for rival in controlled]
    started += [_vote(rival, costs(samples[rival.label], prices).get(view), ballots, view) for rival in controlled]
    notes: list[str] = []
    wanted = [_next(control, None, notes) for control in started]
    while running := [one for one in wanted if one]:
        found = yield [control_method for _, control_method in running]
        wanted = [_next(control, found.get(control_method.label, ()), notes) for control, control_method in running]
    return notes


def speculation(big: Engine) -> str:
    """Describes `big_only` with token speculation for the user."""
    if "speculates" in big.abilities:
        return f"{big.name} uses token speculation for all methods, so big_only has it too"
    return "big_only with token speculation is not available: the big model's engine reports none"


def _needs_controls(rival: MethodSpec) -> bool:
    return not rival.control_of and rival.name not in BASELINES


def _is_small(rival: MethodSpec) -> bool:
    return (rival.name, rival.params) == (SMALL.name, SMALL.params)


def _next(control: Control, sent: Sequence[Sample] | None, notes: list[str]) -> tuple[Control, MethodSpec] | None:
    try:
        return control, (next(control) if sent is None else control.send(sent))
    except StopIteration as over:
        notes += [over.value] if over.value else []
        return None


def _chance(rival: MethodSpec, samples: Sequence[Sample]) -> Control:
    """Searches the share of `random_switch` with the method's kept share.

    The random choices depend on the seeds alone, so a larger share only turns units of the small model into big ones.
    """
    target = _kept_share(samples)
    if target is None or not CLOSE / 2 < target < 1 - CLOSE / 2:
        return None  # that would be small_only, or big_only
    tried = {1.0: 1.0} if rival.method.answer_by == "big" else {0.0: 0.0}  # the kept share by share; known if one model writes all
    off, aim = 1.0, round(target, DIGITS)
    for _ in range(TRIES):
        kept = _kept_share((yield _switch(rival, aim)))
        if kept is None:
            return None
        tried[aim], off = kept, min(off, abs(kept - target))
        if off <= CLOSE:
            return None
        if (aim := _aimed(tried, target)) in tried:
            break  # at an end: no share comes nearer
    difference = f"{rival.label}: the closest random_switch differs by {100 * off:.1f} points in kept share, more than {100 * CLOSE:.0f}"
    return f"{difference}; use more problems or epochs"


def _aimed(tried: Mapping[float, float], target: float) -> float:
    """Interpolates the next share to try between the closest ones."""
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


def _switch(rival: MethodSpec, big_share: float) -> MethodSpec:
    unit = rival.method.switch_unit
    unit_param = "unit=step" if unit == "step" else f"switch_chunk={unit}"
    answer = "" if rival.method.answer_by == "big" else f",answer_by={rival.method.answer_by}"
    return _like(rival, f"random_switch(big_share={big_share:g},{unit_param}{answer})")


def _vote(rival: MethodSpec, own: Cost | None, ballots_for: Ballots | None, view: View) -> Control:
    """Yields the small model's majority vote at the cost of the method."""
    if own is None or ballots_for is None:
        return f"{rival.label}: no vote at equal cost, since these models have no price in the view {view}; give one with --prices"
    ballots = ballots_for.costing(own.chain)
    yield _like(rival, f"vote(ballots={min(ballots, MOST_BALLOTS)})*small_only")
    if ballots > MOST_BALLOTS:
        return f"{rival.label}: {ballots} ballots would cost the same; {MOST_BALLOTS}, the limit, were used"
    return None


def _like(rival: MethodSpec, spec: str) -> MethodSpec:
    """Makes a method that is a control of another."""
    return MethodSpec(f"{spec} like {rival.label}", parse_method(spec).method, rival.label)


def _kept_share(samples: Sequence[Sample]) -> float | None:
    return big_model_share(total_usage(sample.usage for sample in samples), "kept_tokens")
