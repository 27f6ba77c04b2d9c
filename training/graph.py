"""The network of a Qwen2-architecture folder as `graph.onnx`: its operators only. The weights stay in `model.safetensors`.

Every initializer is declared as external data that the engine hands over when it opens the folder, so the two forms of the
model cannot drift apart. `onnx` is needed to write the file, not to run it.

Inputs, for B rows of S new tokens each over key and value buffers that hold M positions:

    ids     [B, S] int64    the new tokens
    last    [B]    int32    tokens in the row after this call, less one (repeats included)
    total   []     int32    an upper bound of last + 1
    lengths [B]    int32    how many of the spread tokens are valid; 0 leaves the row alone
    spread  [W]    int64    which of the S tokens attention sees, in order
    keep    [S]    int64    which of the W attended tokens go on
    key.i, value.i          [B, kv heads, M, head size] float32, updated in place as next_key.i, next_value.i

and the output `logits` [B, S, vocabulary] float32.

Attention over a single query takes another path through the matrix kernels than over two or more, and rounds differently. With
`spread` = [0, 0] and `keep` = [0] a lone token is attended twice (the repeat is overwritten by the token that follows), and
decoding gives bit for bit what a prefill of the same tokens gives. A longer append has spread = keep = 0..S-1, S <= 128: queries
are taken by the 128, and a 129th would be alone.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from onnx import ModelProto, NodeProto, TensorProto, helper, save_model

FUSED = {"FusedMatMul", "GroupQueryAttention", "QuickGelu", "SkipSimplifiedLayerNormalization"}


class Graph:
    """Nodes and declarations, collected in order."""

    def __init__(self) -> None:
        self.nodes: list[NodeProto] = []
        self.initializers: list[TensorProto] = []

    def weight(self, name: str, *shape: int) -> str:
        """Declare an initializer without its data."""
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=shape, data_location=TensorProto.EXTERNAL)
        tensor.external_data.add(key="location", value="model.safetensors")
        self.initializers.append(tensor)
        return name

    def node(self, kind: str, inputs: list[str], *outputs: str, **attributes: Any) -> str:
        """Add a node; returns its first output."""
        domain = "com.microsoft" if kind in FUSED else ""
        self.nodes.append(helper.make_node(kind, inputs, list(outputs), domain=domain, **attributes))
        return outputs[0]

    def linear(self, x: str, weight: str, output: str) -> str:
        """x times a weight that is stored as [out, in], as the folder has it."""
        return self.node("FusedMatMul", [x, weight], output, transB=1)


def build(config: dict[str, Any]) -> ModelProto:
    """The graph for a `config.json` of model_type qwen2."""
    hidden, layers, vocabulary = config["hidden_size"], config["num_hidden_layers"], config["vocab_size"]
    heads, kv_heads, inner = config["num_attention_heads"], config["num_key_value_heads"], config["intermediate_size"]
    size, positions, epsilon = hidden // heads, config["max_position_embeddings"], config["rms_norm_eps"]
    g = Graph()
    g.weight("cos", positions, size // 2)
    g.weight("sin", positions, size // 2)
    x = g.node("Gather", [g.weight("embed", vocabulary, hidden), "ids"], "embedded")
    y = g.node("SimplifiedLayerNormalization", [x, g.weight("0.norm", hidden)], "0.in", epsilon=epsilon, axis=-1, stash_type=1)
    for i in range(layers):
        width = (heads + 2 * kv_heads) * size
        q = g.linear(y, g.weight(f"{i}.qkv", width, hidden), f"{i}.product")
        q = g.node("Add", [q, g.weight(f"{i}.qkv_bias", width)], f"{i}.biased")
        q = g.node("Gather", [q, "spread"], f"{i}.spread", axis=1)
        caches = [f"key.{i}", f"value.{i}", "last", "total", "cos", "sin"]
        outputs = [f"{i}.attended", f"next_key.{i}", f"next_value.{i}"]
        shape = {"num_heads": heads, "kv_num_heads": kv_heads, "do_rotary": 1, "rotary_interleaved": 0}
        a = g.node("GroupQueryAttention", [q, "", "", *caches, *[""] * 7, "lengths"], *outputs, **shape)
        a = g.node("Gather", [a, "keep"], f"{i}.kept", axis=1)
        a = g.linear(a, g.weight(f"{i}.out", hidden, hidden), f"{i}.out_product")
        norm = [f"{i}.mid", "", "", f"{i}.mid_sum"]
        y = g.node("SkipSimplifiedLayerNormalization", [x, a, g.weight(f"{i}.mlp_norm", hidden)], *norm, epsilon=epsilon)
        gate = g.linear(y, g.weight(f"{i}.gate", inner, hidden), f"{i}.gate_product")
        up = g.linear(y, g.weight(f"{i}.up", inner, hidden), f"{i}.up_product")
        m = g.node("Mul", [g.node("QuickGelu", [gate], f"{i}.silu", alpha=1.0), up], f"{i}.gated")
        down = g.linear(m, g.weight(f"{i}.down", hidden, inner), f"{i}.down_product")
        norm = [f"{i + 1}.in", "", "", f"{i + 1}.sum"] if i + 1 < layers else [f"{i + 1}.in"]
        y = g.node("SkipSimplifiedLayerNormalization", [f"{i}.mid_sum", down, g.weight(f"{i + 1}.norm", hidden)], *norm, epsilon=epsilon)
        x = f"{i + 1}.sum"
    g.linear(y, "embed" if config.get("tie_word_embeddings") else g.weight("head", vocabulary, hidden), "logits")
    return model(g, layers, vocabulary, (kv_heads, size))


def model(g: Graph, layers: int, vocabulary: int, cache: tuple[int, int]) -> ModelProto:
    """The nodes with their inputs and outputs declared."""
    info, int32, int64, real = helper.make_tensor_value_info, TensorProto.INT32, TensorProto.INT64, TensorProto.FLOAT
    inputs = [info("ids", int64, ["B", "S"]), info("last", int32, ["B"]), info("total", int32, []), info("lengths", int32, ["B"])]
    inputs += [info("spread", int64, ["W"]), info("keep", int64, ["S"])]
    outputs = [info("logits", real, ["B", "S", vocabulary])]
    for i in range(layers):
        for name in (f"key.{i}", f"value.{i}"):
            inputs.append(info(name, real, ["B", cache[0], "M", cache[1]]))
            outputs.append(info(f"next_{name}", real, ["B", cache[0], "M", cache[1]]))
    graph = helper.make_graph(g.nodes, "qwen2", inputs, outputs, g.initializers)
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=9, producer_name="speculative")


def write(folder: Path) -> Path:
    """Write `graph.onnx` into a Hugging Face folder of the Qwen2 architecture."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    path = folder / "graph.onnx"
    save_model(build(config), str(path))
    return path
