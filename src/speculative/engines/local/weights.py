"""Reads a Qwen2 model folder into the initializers of `graph.onnx`."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from speculative.errors import WeightsError

Array = NDArray[np.float32]
AGAIN = "fetch the model folder again, or reinstall"


class Shape(Struct, frozen=True):
    """Holds the sizes of the network in `config.json`."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    vocabulary: int
    positions: int
    theta: float
    tied: bool

    @property
    def head_size(self) -> int:
        return self.hidden // self.heads

    @staticmethod
    def read(folder: Path) -> Shape:
        """Reads `config.json`.

        Raises:
            WeightsError: The file is missing, damaged, or of a network that the graph does not describe.
        """
        path = folder / "config.json"
        try:
            config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
            rope = config.get("rope_parameters") or {"rope_type": "default", "rope_theta": config.get("rope_theta", 10000.0)}
            shape = Shape(
                hidden=int(config["hidden_size"]),
                layers=int(config["num_hidden_layers"]),
                heads=int(config["num_attention_heads"]),
                kv_heads=int(config["num_key_value_heads"]),
                vocabulary=int(config["vocab_size"]),
                positions=int(config["max_position_embeddings"]),
                theta=float(rope["rope_theta"]),
                tied=bool(config.get("tie_word_embeddings", False)),
            )
            known = config["model_type"] == "qwen2" and rope.get("rope_type", "default") == "default"
        except FileNotFoundError:
            raise WeightsError(f"{path}: there is no such file; name a folder that holds a model") from None
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise WeightsError(f"{path}: not a model's configuration ({type(error).__name__}: {error}); {AGAIN}") from error
        if not known or config.get("use_sliding_window"):
            raise WeightsError(f"{path}: the bundled engine runs plain Qwen2 models only; serve this one and give its URL")
        return shape


def read_tensors(path: Path) -> dict[str, Array]:
    """Returns every tensor of a safetensors file as float32.

    bfloat16 is the upper half of float32. Raises `WeightsError`."""
    tensors: dict[str, Array] = {}
    try:
        data = path.read_bytes()
        (length,) = struct.unpack_from("<Q", data)
        header: dict[str, Any] = json.loads(data[8 : 8 + length])
        header.pop("__metadata__", None)
        for name, entry in header.items():
            first, end = entry["data_offsets"]
            if entry["dtype"] not in ("BF16", "F32"):
                raise ValueError(f"{name} is {entry['dtype']}, not BF16 or F32")
            kind = np.dtype("<u2" if entry["dtype"] == "BF16" else "<f4")
            flat = np.frombuffer(data, kind, (end - first) // kind.itemsize, 8 + length + first)
            if kind.itemsize == 4:
                values = flat.astype(np.float32)
            else:
                wide = flat.astype(np.uint32)
                wide <<= 16
                values = wide.view(np.float32)
            tensors[name] = values.reshape(entry["shape"])
    except FileNotFoundError:
        raise WeightsError(f"{path}: there is no such file; {AGAIN}") from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError, struct.error) as error:
        raise WeightsError(f"{path}: damaged weights ({error}); {AGAIN}") from error
    return tensors


def initializers(folder: Path, shape: Shape) -> dict[str, Array]:
    """Returns the values by their name in the graph. Matrices are [out, in].

    Raises `WeightsError`.
    """
    path = folder / "model.safetensors"
    tensors = read_tensors(path)
    try:
        found = rename_tensors(tensors, shape)
    except (KeyError, ValueError) as error:
        raise WeightsError(f"{path}: tensor {error} is missing or has another shape than config.json says; {AGAIN}") from error
    with np.errstate(all="ignore"):
        wrong = [name for name, values in found.items() if not np.isfinite(values.sum())]
    if wrong:
        raise WeightsError(f"{path}: {wrong[0]} holds a value that is not finite; {AGAIN}")
    return {**found, **rotary(shape)}


def rename_tensors(tensors: dict[str, Array], shape: Shape) -> dict[str, Array]:
    """Renames the weights to the graph's names; joins the attention inputs."""
    found = {"embed": tensors["model.embed_tokens.weight"].reshape(shape.vocabulary, shape.hidden)}
    if not shape.tied:
        found["head"] = tensors["lm_head.weight"]
    for i in range(shape.layers):
        layer = f"model.layers.{i}"
        found[f"{i}.norm"] = tensors[f"{layer}.input_layernorm.weight"]
        for part in ("weight", "bias"):
            joined = np.concatenate([tensors[f"{layer}.self_attn.{name}_proj.{part}"] for name in "qkv"])
            found[f"{i}.qkv" if part == "weight" else f"{i}.qkv_bias"] = joined
        found[f"{i}.out"] = tensors[f"{layer}.self_attn.o_proj.weight"]
        found[f"{i}.mlp_norm"] = tensors[f"{layer}.post_attention_layernorm.weight"]
        for part in ("gate", "up", "down"):
            found[f"{i}.{part}"] = tensors[f"{layer}.mlp.{part}_proj.weight"]
    found[f"{shape.layers}.norm"] = tensors["model.norm.weight"]
    return found


def rotary(shape: Shape) -> dict[str, Array]:
    """Returns cosines and sines of the positions, [positions, head size / 2].

    They are rounded where the training code rounds.
    """
    exponents = np.arange(0, shape.head_size, 2, dtype=np.float32) / np.float32(shape.head_size)
    frequencies = (1.0 / np.float32(shape.theta) ** exponents).astype(np.float32)
    angles = np.arange(shape.positions, dtype=np.float32)[:, None] * frequencies
    return {"cos": np.cos(angles), "sin": np.sin(angles)}
