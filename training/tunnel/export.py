"""Export: a trained model as a folder in Hugging Face's layout."""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import Tokenizer

from training import export as first
from training.model import Model
from training.tunnel.dialect import RIGHT, WRONG
from training.tunnel.problems import Ladder, records


def export(model: Model, tokenizer: Tokenizer, folder: Path) -> None:
    """Write the folder beside its place, then put it there."""
    first.export(model, tokenizer, folder)


def export_reward(model: Model, tokenizer: Tokenizer, folder: Path) -> None:
    """Write the folder of a reward model: its configuration names the tokens whose likelihoods are the reward."""
    export(model, tokenizer, folder)
    path = folder / "config.json"
    config = json.loads(path.read_text())
    first.write(path, {**config, "reward_ids": [tokenizer.token_to_id(mark) for mark in (WRONG, RIGHT)]})


def export_problems(folder: Path, ladder: Ladder) -> None:
    """Write the two problem files."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, split in (("problems", "benchmark"), ("tuning", "tuning")):
        part = folder / f".{name}.part"
        part.write_text("".join(json.dumps(row) + "\n" for row in records(split, ladder)))  # type: ignore[arg-type]
        part.replace(folder / f"{name}.jsonl")
