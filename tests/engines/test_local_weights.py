"""Model folders: what is wrong with one is said, and the two forms of the weights agree."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from speculative.engines.local import BundledEngine
from speculative.engines.local.engine import SHIPPED
from speculative.engines.local.model import PIECE
from speculative.errors import WeightsError


def copied(tmp_path: Path) -> Path:
    return Path(shutil.copytree(SHIPPED / "small", tmp_path / "model"))


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="no such model folder"):
        BundledEngine.open(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "graph.onnx", "tokenizer.json"])
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    folder = copied(tmp_path)
    (folder / name).unlink()
    with pytest.raises(WeightsError, match=f"{name}: there is no such file; "):
        BundledEngine.open(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "graph.onnx", "tokenizer.json"])
def test_a_damaged_file_is_named(tmp_path: Path, name: str) -> None:
    path = copied(tmp_path) / name
    for content in (b"", b"{", path.read_bytes()[:300]):
        path.write_bytes(content)
        with pytest.raises(WeightsError, match=f"{name}: .*; (fetch|name)"):
            BundledEngine.open(path.parent)


def test_weights_of_another_kind_are_refused(tmp_path: Path) -> None:
    folder = copied(tmp_path)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    for change in ({"model_type": "llama"}, {"use_sliding_window": True}):
        (folder / "config.json").write_text(json.dumps({**config, **change}), encoding="utf-8")
        with pytest.raises(WeightsError, match="plain Qwen2 models only"):
            BundledEngine.open(folder)
    (folder / "config.json").write_text(json.dumps({**config, "num_hidden_layers": 3}), encoding="utf-8")
    with pytest.raises(WeightsError, match=r"model.layers.2"):
        BundledEngine.open(folder)


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    path = copied(tmp_path) / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-2:] = b"\xff\xff"
    path.write_bytes(data)
    with pytest.raises(WeightsError, match="not finite"):
        BundledEngine.open(path.parent)
    length = int.from_bytes(data[:8], "little")
    header = data[8 : 8 + length].replace(b'"BF16"', b'"F16" ')
    path.write_bytes(data[:8] + header + data[8 + length :])
    with pytest.raises(WeightsError, match="not BF16 or F32"):
        BundledEngine.open(path.parent)


@pytest.mark.torch
@pytest.mark.parametrize("name", ["small", "big"])
async def test_the_two_forms_of_the_weights_give_the_same_logits(name: str) -> None:
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    reference = transformers.AutoModelForCausalLM.from_pretrained(SHIPPED / name, dtype=torch.float32)
    text = np.random.default_rng(0).integers(0, 512, 1500)
    with torch.no_grad():
        expected = reference(torch.tensor(text[None])).logits[0].numpy()
    engine = BundledEngine.open(name)
    model = engine._worker.model
    kv = model.buffers(1, 1502)
    starts = range(0, 1500, PIECE)
    found = np.concatenate([model.append(kv, 0, start, text[start : start + PIECE].astype(np.int32)) for start in starts])
    assert np.abs(found - expected).max() < 2e-3 * max(1.0, np.abs(expected).max() / 10)
    assert (found.argmax(axis=1) == expected.argmax(axis=1)).mean() > 0.995
    await engine.aclose()
