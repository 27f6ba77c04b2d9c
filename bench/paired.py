"""Simulates comparisons of two methods, and counts false and true positives of the paired tests.

    python bench/paired.py [--runs 2000] [--seed 1]

Each comparison has problems whose expected difference is drawn from a population with mean `shift`, and several tries of each problem.
"similar problems" is `stats.ProblemSample`, "sign flip" the test that assumes symmetric differences, "t test" Student's. The interval's
column is the share of intervals that contain the population's mean.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from speculative.stats.intervals import ProblemSample

Floats = NDArray[np.float64]
Population = Callable[[np.random.Generator, int], Floats]

PATTERNS = 400
"""Sign patterns that are drawn for a sign-flip test."""
STUDENT = {6: 2.571, 10: 2.262, 20: 2.093, 30: 2.045, 100: 1.984, 500: 1.965}
"""97.5 % quantiles of Student's t, by the number of problems."""


def rare(share: float, gain: float) -> Population:
    """Makes a population in which `share` of the problems gain much and all others lose a little; its mean is 0."""
    return lambda random, size: np.where(random.random(size) < share, gain, -gain * share / (1 - share))


def exponential(random: np.random.Generator, size: int) -> Floats:
    return 0.15 * (random.exponential(1, size) - 1)


def lognormal(random: np.random.Generator, size: int) -> Floats:
    return 0.05 * (random.lognormal(0, 1, size) - np.exp(0.5))


def symmetric(random: np.random.Generator, size: int) -> Floats:
    return 0.2 * random.standard_normal(size)


NULLS: dict[str, Population] = {
    "equal on every problem": lambda random, size: np.zeros(size),
    "normal, 20 points": symmetric,
    "exponential": exponential,
    "lognormal": lognormal,
    "1 in 20 gains 90": rare(0.05, 0.9),
    "1 in 10 gains 90": rare(0.1, 0.9),
    "1 in 10 gains 40": rare(0.1, 0.4),
    "1 in 7 gains 90": rare(0.15, 0.9),
    "1 in 5 gains 40": rare(0.2, 0.4),
}


def leads(random: np.random.Generator, differences: Floats, tries: int) -> NDArray[np.int64]:
    """Draws by how many tries the one method is right more often, for each problem."""
    half = np.clip(differences, -1, 1) / 2
    return random.binomial(tries, 0.5 + half) - random.binomial(tries, 0.5 - half)


def sign_flip(random: np.random.Generator, lead: NDArray[np.int64]) -> float:
    patterns = random.choice([-1, 1], (PATTERNS, len(lead)))
    return (1 + int((abs(patterns @ lead) >= abs(lead.sum())).sum())) / (1 + PATTERNS)


def t_test(lead: NDArray[np.int64]) -> bool:
    error = lead.std(ddof=1) / np.sqrt(len(lead))
    return bool(abs(lead.mean()) > STUDENT[len(lead)] * error)


def rates(population: Population, problems: int, tries: int, shift: float, runs: int, seed: int) -> tuple[float, float, float, float]:
    """Returns how often, in per cent, each test finds a difference at p <= 0.05, and the interval holds the shift."""
    random = np.random.default_rng(seed)
    found = np.zeros(4)
    for _ in range(runs):
        lead = leads(random, population(random, problems) + shift, tries)
        sample = ProblemSample.of(lead, np.full(problems, tries), -1, 1)
        held = sample.p_value(shift) > 0.05  # so the interval holds it
        found += [sample.p_value() <= 0.05, sign_flip(random, lead) <= 0.05, t_test(lead), held]
    ours, flip, student, holds = (float(100 * part) for part in found / runs)
    return ours, flip, student, holds


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    asked = parser.parse_args()
    print("| no difference | problems x tries | similar problems | sign flip | t test | interval holds |\n|---|---|---|---|---|---|")
    for name, population in NULLS.items():
        for problems in (10, 20, 30):
            line = rates(population, problems, 64, 0.0, asked.runs, asked.seed)
            print(f"| {name} | {problems} x 64 |", " | ".join(f"{rate:.1f}" for rate in line), "|", flush=True)
    print("\n| difference | problems x tries | similar problems | sign flip | t test | interval holds |\n|---|---|---|---|---|---|")
    for shift, problems, tries in [(0.1, 30, 64), (0.15, 30, 64), (0.2, 30, 8), (0.1, 100, 4), (0.05, 500, 4), (0.1, 500, 1)]:
        line = rates(lambda random, size: 0.1 * random.standard_normal(size), problems, tries, shift, asked.runs // 4, asked.seed)
        print(f"| {100 * shift:.0f} points | {problems} x {tries} |", " | ".join(f"{rate:.1f}" for rate in line), "|", flush=True)


if __name__ == "__main__":
    main()
