"""Unpack what a session packed into the layout that ships.

python -m training.tunnel.unpack packed src/speculative/bundled
"""

from __future__ import annotations

import json
import sys
import tarfile
import tempfile
from pathlib import Path

from safetensors.torch import load_file
from tokenizers import Tokenizer

from training.model import Model, shape_of
from training.tunnel.export import export, export_reward

MODELS = ("big", "small", "asking", "reward")


def unpack(packed: Path, out: Path) -> list[str]:
    """Write a folder for each model that was packed, and the problem files. Returns the names of the models."""
    with tempfile.TemporaryDirectory() as scratch, tarfile.open(packed / "rest.tar.xz") as rest:
        rest.extractall(scratch, filter="data")
        (tokens,) = Path(scratch).glob("seed-*/tokenizer.json")
        tokenizer, pair = Tokenizer.from_file(str(tokens)), Path(scratch) / "pair"
        names = [name for name in MODELS if (packed / f"{name}.safetensors").exists()]
        for name in names:
            model = Model(shape_of(json.loads((pair / name / "config.json").read_text())))
            model.load_state_dict({key: w.float() for key, w in load_file(packed / f"{name}.safetensors").items()})
            (export_reward if name == "reward" else export)(model, tokenizer, out / name)
        for path in pair.glob("*.jsonl"):
            (out / path.name).write_bytes(path.read_bytes())
    return names


if __name__ == "__main__":
    print(" ".join(unpack(Path(sys.argv[1]), Path(sys.argv[2]))))
