"""Writes a folder of the shipped models' kind (Qwen2, byte-level BPE) as one GGUF file, which llama.cpp's server loads.

    PYTHONPATH=src PYTHON scripts/gguf_file.py src/speculative/bundled/big big.gguf

Every tensor is kept as it is in 32 bits: greedy text is to be the same. Needs gguf and this package's own requirements.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import gguf

from speculative.engines.local.weights import read_tensors

FAMILY = gguf.MODEL_ARCH.QWEN2
SPLIT = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
"""How Qwen2 cuts a text into words. llama.cpp knows such patterns by name only."""


def write(folder: Path, target: Path) -> None:
    """Raises `SystemExit` for a model of another kind."""
    config, tokenizer = _json(folder / "config.json"), _json(folder / "tokenizer.json")
    pattern = tokenizer["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"]
    if config["model_type"] != "qwen2" or pattern != SPLIT:
        raise SystemExit(f"{folder}: only Qwen2 models with Qwen2's way of cutting words can be written")
    writer = gguf.GGUFWriter(target, gguf.MODEL_ARCH_NAMES[FAMILY])
    writer.add_name(folder.name)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    _network(writer, config)
    _tokenizer(writer, config, tokenizer)
    writer.add_chat_template((folder / "chat_template.jinja").read_text(encoding="utf-8"))
    names = gguf.get_tensor_name_map(FAMILY, config["num_hidden_layers"])
    for name, values in read_tensors(folder / "model.safetensors").items():
        known = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if known is None:
            raise SystemExit(f"{folder}: GGUF has no name for the tensor {name}")
        writer.add_tensor(known, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _network(writer: gguf.GGUFWriter, config: dict[str, Any]) -> None:
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_theta"])


def _tokenizer(writer: gguf.GGUFWriter, config: dict[str, Any], tokenizer: dict[str, Any]) -> None:
    model, added = tokenizer["model"], tokenizer["added_tokens"]
    words = {**{number: word for word, number in model["vocab"].items()}, **{entry["id"]: entry["content"] for entry in added}}
    kinds = {
        entry["id"]: gguf.TokenType.CONTROL if entry["special"] else gguf.TokenType.USER_DEFINED for entry in added
    }  # (a user-defined token is text to llama.cpp, a control token is not)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("qwen2")
    writer.add_token_list([words[number] for number in range(config["vocab_size"])])
    writer.add_token_types([kinds.get(number, gguf.TokenType.NORMAL) for number in range(config["vocab_size"])])
    writer.add_token_merges([pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]])
    writer.add_eos_token_id(config["eos_token_id"])
    writer.add_pad_token_id(config["pad_token_id"])
    writer.add_add_bos_token(False)


def _json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("target", type=Path)
    arguments = parser.parse_args()
    if not (arguments.folder / "config.json").is_file():
        parser.error(f"{arguments.folder}: no model's folder; src/speculative/bundled/big is one")
    write(arguments.folder, arguments.target)


if __name__ == "__main__":
    main()
