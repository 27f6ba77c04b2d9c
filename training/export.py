"""Export: a trained model as a folder in Hugging Face's layout."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

from training import graph
from training import tokenizer as tokens
from training.model import Model

GENERATION = {"do_sample": True, "temperature": 0.6, "top_p": 0.95, "max_new_tokens": 1024}


def export(model: Model, tokenizer: Tokenizer, folder: Path) -> None:
    """Write the folder beside its place, then put it there."""
    part = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    tokens.save(tokenizer, part)
    ends = {"eos_token_id": tokenizer.token_to_id(tokens.END), "pad_token_id": tokenizer.token_to_id(tokens.END_OF_TEXT)}
    config = {**model.shape.config(), **ends, "bos_token_id": None, "dtype": "bfloat16"}
    write(part / "config.json", config)
    write(part / "generation_config.json", {**GENERATION, **ends})
    weights = {name: p.detach().to("cpu", torch.bfloat16).contiguous() for name, p in model.state_dict().items()}
    save_file(weights, part / "model.safetensors", metadata={"format": "pt"})
    graph.write(part)
    for path in part.iterdir():
        path.chmod(0o644)
    folder.mkdir(parents=True, exist_ok=True)
    for path in part.iterdir():
        path.replace(folder / path.name)
    part.rmdir()


def write(path: Path, content: dict[str, object]) -> None:
    """Write JSON."""
    path.write_text(json.dumps(content, indent=2) + "\n")
