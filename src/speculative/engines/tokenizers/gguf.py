"""The tokenizer in a GGUF file, as the contents of a `tokenizer.json`.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, cast

from speculative.errors import WeightsError

SCALARS: Final = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9
DEEPEST = 8
"""Arrays that a file may put into each other."""
PREFIX: Final = "tokenizer.ggml."
KINDS: Final = frozenset(("gpt2", "llama"))
DAMAGES: Final = (OSError, ValueError, LookupError, TypeError, AttributeError, OverflowError, MemoryError, struct.error)
"""The errors that a damaged file gives."""
NORMAL, USER_DEFINED, BYTE = 1, 4, 6
"""Kinds of tokens; all others (unknown, control, unused) stand for no text."""

GPT2: Final = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
WORDS: Final = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
CASED: Final = (
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+%s"
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*%s"
    r"|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
ENDING: Final = "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
SPLITTERS: Final[dict[tuple[str, ...], Sequence[str]]] = {
    ("gpt-2", "gpt2", "mpt", "olmo", "jais", "trillion", "exaone4", "phi-2", "roberta-bpe"): [GPT2],
    ("smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"): [r"\p{N}", GPT2],
    ("llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "smaug-bpe", "dbrx", "chatglm-bpe", "glm4"): [WORDS % "{1,3}"],
    ("qwen2", "deepseek-r1-qwen", "stablelm2", "hunyuan", "megrez", "grok-2"): [WORDS % ""],
    ("tekken",): [CASED % ("", "", "")],
    ("gpt-4o", "llama4"): [CASED % (ENDING, ENDING, "{1,3}")],
    ("deepseek-v3",): [
        r"\p{N}{1,3}",
        "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
        r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
        r"""| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+""",
    ],
}
"""The patterns by which a byte-level BPE cuts a text into words, by the names in `tokenizer.ggml.pre`."""


def read_tokenizer(path: Path) -> dict[str, Any]:
    """Returns the tokenizer of a GGUF file as a `tokenizer.json` would hold it.

    Raises:
        WeightsError: The file is damaged, or its tokenizer is neither a byte-level BPE nor SentencePiece's BPE.
    """
    try:
        return _tokenizer(path, read_metadata(path))
    except DAMAGES as error:
        raise WeightsError(f"{path}: cannot read its tokenizer ({type(error).__name__}: {error}); fetch the file again") from None


def _tokenizer(path: Path, found: Mapping[str, Any]) -> dict[str, Any]:
    kind = str(found.get("tokenizer.ggml.model"))
    if kind not in KINDS:
        raise WeightsError(f"{path}: cannot read a tokenizer of the kind {kind!r}; give the model's tokenizer.json ({OPTIONS})")
    tokens = _several(found, "tokens", str)
    kinds: Sequence[int] = _several(found, "token_type", int, len(tokens)) if found.get(f"{PREFIX}token_type") else [NORMAL] * len(tokens)
    added = [
        {"id": number, "content": token, "special": kinds[number] != USER_DEFINED, "normalized": False, "single_word": False}
        for number, token in enumerate(tokens)
        if kinds[number] not in (NORMAL, BYTE)
    ]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    if kind == "gpt2":
        splitter = _splitter(path, str(found.get("tokenizer.ggml.pre", "")))
        model = {"type": "BPE", "vocab": vocabulary, "merges": [pair.split(" ", 1) for pair in _several(found, "merges", str)]}
        return {"version": "1.0", "added_tokens": added, "pre_tokenizer": splitter, "decoder": {**BYTE_LEVEL}, "model": model}
    merges = merges_of(tokens, _several(found, "scores", (int, float), len(tokens)), kinds)
    unknown = tokens[int(found.get("tokenizer.ggml.unknown_token_id", 0))]
    model = {"type": "BPE", "vocab": vocabulary, "merges": merges, "byte_fallback": True, "fuse_unk": True, "unk_token": unknown}
    return {"version": "1.0", "added_tokens": added, "pre_tokenizer": None, "decoder": None, "model": model}


def _several(found: Mapping[str, Any], name: str, kind: type | tuple[type, ...], size: int | None = None) -> Sequence[Any]:
    """Returns a list of the file.

    Raises:
        ValueError: The list is missing, holds other values, or has another size.
    """
    values = found.get(f"{PREFIX}{name}")
    if not isinstance(values, list | tuple) or not all(isinstance(value, kind) for value in cast("Sequence[object]", values)):
        raise ValueError(f"{PREFIX}{name} is missing or has a wrong type")
    several = cast("Sequence[Any]", values)
    if size is not None and len(several) != size:
        raise ValueError(f"{PREFIX}{name} must have one value for each of {size} tokens, got {len(several)}")
    return several


OPTIONS: Final = "--big-tokenizer, --small-tokenizer"
BYTE_LEVEL: Final[dict[str, Any]] = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}


def _splitter(path: Path, name: str) -> dict[str, Any]:
    """Returns the pre-tokenizer of that name.

    Raises `WeightsError` for an unknown one.
    """
    patterns = next((patterns for names, patterns in SPLITTERS.items() if name in names), None)
    if patterns is None:
        raise WeightsError(f"{path}: cannot split words as {name!r} does; give the model's tokenizer.json ({OPTIONS})")
    splits = [{"type": "Split", "pattern": {"Regex": one}, "behavior": "Isolated", "invert": False} for one in patterns]
    return {"type": "Sequence", "pretokenizers": [*splits, BYTE_LEVEL]}


def merges_of(tokens: Sequence[str], scores: Sequence[float], kinds: Sequence[int]) -> list[tuple[str, str]]:
    """Returns the merges of SentencePiece, which joins the pair with the best score."""
    plain = {token: number for number, token in enumerate(tokens) if kinds[number] == NORMAL}
    merges: list[tuple[str, str]] = []
    for token in sorted(plain, key=lambda token: (-scores[plain[token]], plain[token])):
        known: list[tuple[int, int]] = []
        for cut in range(1, len(token)):
            left = plain.get(token[:cut])
            if left is not None and (right := plain.get(token[cut:])) is not None:
                known.append((left, right))
        merges += [(tokens[left], tokens[right]) for left, right in sorted(known)]
    return merges


def read_metadata(path: Path) -> dict[str, Any]:
    """Returns the keys and values at the beginning of a GGUF file.

    Raises:
        One of `DAMAGES`: The file is not GGUF, or cut off.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        if data[:4] != b"GGUF":
            raise ValueError("it does not begin with GGUF")
        version, _, count = struct.unpack_from("<IQQ", data, 4)
        if version not in (2, 3):
            raise ValueError(f"version {version} of the format is unknown")
        reader = _Reader(data, 24)
        return {reader.text(): reader.value(reader.number("I")) for _ in range(count)}


class _Reader:
    """Reads values one after another."""

    def __init__(self, data: mmap.mmap, place: int) -> None:
        self._data, self._place = data, place

    def number(self, code: str) -> Any:
        return self._several(code, 1)[0]

    def text(self) -> str:
        size = self.number("Q")
        begin, self._place = self._place, self._place + size
        if self._place > len(self._data):
            raise ValueError("the file is cut off")
        return self._data[begin : self._place].decode("utf-8", "replace")

    def value(self, kind: int, depth: int = 0) -> Any:
        if kind == STRING:
            return self.text()
        if kind == ARRAY:
            if depth == DEEPEST:
                raise ValueError(f"arrays must be nested at most {DEEPEST} deep")
            inner, size = self.number("I"), self.number("Q")
            return self._several(SCALARS[inner], size) if inner in SCALARS else [self.value(inner, depth + 1) for _ in range(size)]
        if kind not in SCALARS:
            raise ValueError(f"a value must be of a known type, got {kind}")
        return self.number(SCALARS[kind])

    def _several(self, code: str, size: int) -> tuple[Any, ...]:
        form = f"<{size}{code}"
        found = struct.unpack_from(form, self._data, self._place)
        self._place += struct.calcsize(form)
        return found
