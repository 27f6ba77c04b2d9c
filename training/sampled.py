"""Real slips: what the finished small model gets wrong on stories of the training split."""

from __future__ import annotations

import json
import random
from pathlib import Path

from tokenizers import Tokenizer

from speculative.files import write_file
from training.decode import write
from training.documents import Sampled
from training.model import Model
from training.reading import read
from training.stories import LEVELS, Operation, Story, draw
from training.writer import prompt

TEMPERATURE = 0.6
STORIES = 24_000


def collect(model: Model, tokenizer: Tokenizer, seed: int, stories: int = STORIES) -> list[Sampled]:
    """Beginnings of chains that end with the model's first wrong step."""
    rng = random.Random(f"sampled/{seed}")
    drawn = [draw(rng, rng.choice(LEVELS)) for _ in range(stories)]
    written = write(model, tokenizer, [prompt(s.problem) for s in drawn], temperature=TEMPERATURE, seed=seed)
    found: list[Sampled] = []
    for story, ids in zip(drawn, written, strict=True):
        steps = read(story, tokenizer.decode(ids, skip_special_tokens=False))
        if steps and not steps[-1].right:
            last = steps[-1]
            found.append(Sampled(story, (*last.before, last.text), last.value))
    return found


def save(found: list[Sampled], path: Path) -> None:
    """Write them down, so that an interrupted run goes on with the same ones."""
    rows = [
        {
            "start": s.story.start, "operations": [[o.kind, o.a, o.b] for o in s.story.operations], "name": s.story.name,
            "pronoun": s.story.pronoun, "things": s.story.things, "problem": s.story.problem, "steps": s.steps,
            "value": s.value,
        }
        for s in found
    ]  # fmt: skip
    write_file(path, "".join(json.dumps(row) + "\n" for row in rows).encode())


def load(path: Path) -> list[Sampled]:
    """Read them again."""
    found: list[Sampled] = []
    for line in path.read_text().splitlines():
        row = json.loads(line)
        operations = tuple(Operation(*o) for o in row["operations"])
        story = Story(row["start"], operations, row["name"], row["pronoun"], row["things"], row["problem"])
        found.append(Sampled(story, tuple(row["steps"]), row["value"]))
    return found
