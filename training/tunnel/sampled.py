"""Real slips: what the finished small model gets wrong, and which steps of right chains are hard for it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer

from speculative.files import write_file
from training.decode import score, write
from training.model import Model
from training.tunnel.dialect import prompt
from training.tunnel.documents import sampled_problem
from training.tunnel.problems import Ladder
from training.tunnel.reading import read

TEMPERATURE = 0.6
NUMBERS = 12_000
LIMIT = 900
HARD = -0.7  # a step is hard if one of its tokens has a log-probability below this


def collect(model: Model, tokenizer: Tokenizer, path: Path, numbers: int, seed: int, ladder: Ladder) -> None:
    """Beginnings of chains that end with the model's first wrong step."""
    first = 10_000_000 * (seed + 1)
    drawn = range(first, first + numbers)
    problems = [sampled_problem(number, ladder) for number in drawn]
    written = write(model, tokenizer, [prompt(p.text) for p in problems], temperature=TEMPERATURE, seed=seed, limit=LIMIT)
    rows: list[dict[str, object]] = []
    for number, problem, ids in zip(drawn, problems, written, strict=True):
        steps = read(problem, tokenizer.decode(ids, skip_special_tokens=False))
        if steps and not steps[-1].right and not steps[-1].text.startswith("So the answer"):
            rows.append({"number": number, "steps": [*steps[-1].before, steps[-1].text]})
    save(rows, path)


def measure(model: Model, tokenizer: Tokenizer, path: Path, numbers: int, seed: int, ladder: Ladder) -> None:
    """Which steps of right chains are hard for the model."""
    first = 10_000_000 * (seed + 1) + 5_000_000
    drawn = range(first, first + numbers)
    problems = [sampled_problem(number, ladder) for number in drawn]
    chains = [[step.text for _, step in problem.walk()] for problem in problems]
    least = least_likely(model, tokenizer, [prompt(p.text) for p in problems], chains)
    save([{"number": n, "hard": [int(value < HARD) for value in values]} for n, values in zip(drawn, least, strict=True)], path)


def least_likely(model: Model, tokenizer: Tokenizer, prompts: Sequence[str], chains: Sequence[Sequence[str]]) -> list[list[float]]:
    """For each step of each chain, the log-probability of its least likely token."""
    heads = [e.ids for e in tokenizer.encode_batch(list(prompts))]
    parts = [[e.ids for e in tokenizer.encode_batch(list(chain))] for chain in chains]
    found = score(model, heads, [[i for part in steps for i in part] for steps in parts])
    result: list[list[float]] = []
    for values, steps in zip(found, parts, strict=True):
        at, row = 0, list[float]()
        for part in steps:
            row.append(min(values[at : at + len(part)]))
            at += len(part)
        result.append(row)
    return result


def save(rows: Sequence[object], path: Path) -> None:
    """Write rows, beside their place first."""
    write_file(path, "".join(json.dumps(row) + "\n" for row in rows).encode())
