"""Real tokenizers that are unlike: a second byte-level BPE and one of characters that falls back to bytes, both trained here."""

import json

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

CORPUS = [
    "The quick brown fox jumps over the lazy dog. " * 4,
    "So we have 3 boxes of 12, that is 36.\n\nWait, let me check: 3 * 12 = 36. Yes.\n\nThe answer is \\boxed{36}.",
    "naïve café, straße, Ελλάδα, мир, 中文字符, 日本語 テキスト, 🦊🦊 👩‍👩‍👧 e\u0301",
] * 8
MARKERS = ["<s>", "</s>", "<think>", "</think>"]


def byte_level(folder):
    """Byte-level BPE with other merges, and markers at its end."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=420, initial_alphabet=alphabet, show_progress=False))
    tokenizer.add_special_tokens(["<|im_start|>", "<|im_end|>", "<|endoftext|>"])
    tokenizer.add_tokens(["<think>", "</think>"])
    return saved(tokenizer, folder)


def byte_fallback(folder):
    """As SentencePiece makes them: ▁ for a space, one put before each text, and bytes for what has no token."""
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, fuse_unk=True, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    special = ["<unk>", *MARKERS, *(f"<0x{byte:02X}>" for byte in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=600, special_tokens=special, limit_alphabet=80, show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    path = saved(tokenizer, folder)
    spec = json.loads(path.read_text())
    spec["added_tokens"] = [token for token in spec["added_tokens"] if not token["content"].startswith("<0x")]
    path.write_text(json.dumps(spec))
    return path


def saved(tokenizer, folder):
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder / "tokenizer.json"
