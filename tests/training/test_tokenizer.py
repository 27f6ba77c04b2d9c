"""The shipped tokenizer: what one token is, and that nothing is lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from training.stories import records

BUNDLED = Path(__file__).parents[2] / "src" / "speculative" / "bundled"
ROLES = ("small", "big", "asking", "reward")


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.from_file(str(BUNDLED / "big" / "tokenizer.json"))


def test_all_models_have_the_same_files() -> None:
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        assert len({(BUNDLED / role / name).read_bytes() for role in ROLES}) == 1


@pytest.mark.parametrize("text", [".\n\n", *"0123456789", "<think>", "</think>", "<|im_start|>", "<|im_end|>", "<|endoftext|>"])
def test_one_token(tokenizer: Tokenizer, text: str) -> None:
    assert len(tokenizer.encode(text).ids) == 1


def test_any_text_comes_back(tokenizer: Tokenizer) -> None:
    texts = ["124-57=67.\n\nCheck:", "é 汉字 \U0001f600 \x00\x7f", "  two  spaces\t\ttabs\r\n", bytes(range(128)).decode(), "n\u0303 and ñ"]
    for text in texts:
        assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text


def test_special_tokens_are_dropped_and_think_markers_are_not(tokenizer: Tokenizer) -> None:
    ids = tokenizer.encode("<think>\nSo</think>\n\n1<|im_end|>").ids
    assert tokenizer.decode(ids, skip_special_tokens=True) == "<think>\nSo</think>\n\n1"


def test_problems_fit_the_length_that_was_trained(tokenizer: Tokenizer) -> None:
    assert max(len(tokenizer.encode(str(row["problem"])).ids) for row in records("benchmark")) < 250


@pytest.mark.parametrize("role", ROLES)
def test_the_configuration_names_what_servers_look_for(role: str) -> None:
    config = json.loads((BUNDLED / role / "config.json").read_text())
    tokens = json.loads((BUNDLED / role / "tokenizer_config.json").read_text())
    generation = json.loads((BUNDLED / role / "generation_config.json").read_text())
    tokenizer = Tokenizer.from_file(str(BUNDLED / role / "tokenizer.json"))
    assert config["architectures"] == ["Qwen2ForCausalLM"]
    assert config["vocab_size"] == tokenizer.get_vocab_size() == 768
    assert config["max_position_embeddings"] == 16384
    assert tokenizer.id_to_token(config["eos_token_id"]) == tokens["eos_token"] == "<|im_end|>"
    assert generation["eos_token_id"] == config["eos_token_id"]
    assert tokens["chat_template"] == (BUNDLED / role / "chat_template.jinja").read_text()
