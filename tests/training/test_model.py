"""Our model is Hugging Face's Qwen2, in training and in batched decoding."""

from __future__ import annotations

from pathlib import Path

import pytest

pytestmark = pytest.mark.torch

BUNDLED = Path(__file__).parents[2] / "src" / "speculative" / "bundled"
TEXT = "<|im_start|>user\nMia has 8 apples.<|im_end|>\n<|im_start|>assistant\n<think>\nMia starts with 8 apples.\n\n"


@pytest.mark.parametrize("role", ["small", "big"])
def test_the_exported_folder_gives_the_same_logits_in_transformers(role: str) -> None:
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    from training.decode import load
    from training.model import Rows

    model, tokenizer = load(BUNDLED / role)
    theirs = transformers.AutoModelForCausalLM.from_pretrained(BUNDLED / role, dtype=torch.float32).eval()
    ids = torch.tensor(tokenizer.encode(TEXT).ids)
    with torch.no_grad():
        ours = model.logits(model(ids, torch.arange(len(ids)), Rows(((1, len(ids)),))))
        assert torch.allclose(ours, theirs(ids[None]).logits[0], atol=1e-3)


def test_transformers_loads_the_tokenizer_and_its_template() -> None:
    transformers = pytest.importorskip("transformers")
    tokenizer = transformers.AutoTokenizer.from_pretrained(BUNDLED / "big")
    turns = [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": "<think>\nx\n\n</think>\n\nb"},
        {"role": "user", "content": "c"},
    ]
    text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    turn = "<|im_start|>{}\n{}<|im_end|>\n"
    told = turn.format("system", "s") + turn.format("user", "a") + turn.format("assistant", "b") + turn.format("user", "c")
    assert text == told + "<|im_start|>assistant\n<think>\n"


@pytest.mark.parametrize("role", ["small", "big"])
def test_decoding_in_a_batch_is_decoding_alone(role: str) -> None:
    pytest.importorskip("torch")
    from training.decode import load, write

    model, tokenizer = load(BUNDLED / role)
    prefixes = [TEXT, TEXT.replace("8", "17"), TEXT + "She gets 5: 8+5="]
    assert write(model, tokenizer, prefixes, limit=12) == [write(model, tokenizer, [p], limit=12)[0] for p in prefixes]


def test_the_fast_gradient_is_the_gradient() -> None:
    torch = pytest.importorskip("torch")
    from training.model import causal

    torch.manual_seed(0)
    heads = [torch.randn(2, 3, 64, 64, dtype=torch.bfloat16).requires_grad_() for _ in range(3)]
    wide = [x.detach().float().requires_grad_() for x in heads]
    above = torch.randn(2, 3, 64, 64)
    causal(*heads).backward(above.bfloat16())
    torch.nn.functional.scaled_dot_product_attention(*wide, is_causal=True).backward(above)
    for ours, theirs in zip(heads, wide, strict=True):
        assert (ours.grad.float() - theirs.grad).norm() < 0.02 * theirs.grad.norm()
