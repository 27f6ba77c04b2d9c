"""Finds and reads the tokenizer of a model, here or on the hub."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, cast

from speculative.engines import hub
from speculative.engines.base import Tokenizer
from speculative.errors import UsageError, WeightsError
from speculative.prompts import detect_dialect
from speculative.redaction import read_secret

FILE = "tokenizer.json"
SHIPPED = Path(__file__).parents[2] / "bundled" / "big" / FILE
"""The tokenizer of all models that ship with the library."""


def find(source: str) -> Path:
    """Finds the tokenizer's file of a path, a folder or a model's name.

    A name is looked up in this machine's Hugging Face cache, then on the hub. Raises `UsageError` that says what to give instead.
    """
    path = Path(os.path.expanduser(source))  # noqa: PTH111 (pathlib's raises where there is no such user)
    if path.is_file():
        return path if path.suffix in (".json", ".gguf") else _missing(source, "is neither a tokenizer.json nor a GGUF file")
    if path.is_dir():
        return path / FILE if (path / FILE).is_file() else _missing(source, f"holds no {FILE}")
    if source.count("/") > 1 or source.startswith((".", "/", "~")) or path.suffix == ".gguf":
        return _missing(source, "is no file or folder of this machine")
    return _from_hub(source)


def read(path: Path) -> Tokenizer:
    """Reads a tokenizer.json or the tokenizer of a GGUF file. Raises `WeightsError`."""
    try:
        return _read(path)
    except (ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RecursionError) as error:
        raise WeightsError(f"{path}: not a tokenizer ({type(error).__name__}: {error}); fetch it again") from None


def _read(path: Path) -> Tokenizer:
    if path.suffix == ".gguf":
        from speculative.engines.tokenizers.gguf import read_tokenizer

        spec = read_tokenizer(path)
    else:
        spec = _json(path)
    if spec["model"].get("byte_fallback"):  # a BPE of characters, as SentencePiece makes them
        from speculative.engines.tokenizers.sentencepiece import SentencePieceTokenizer

        return SentencePieceTokenizer(path, spec)
    from speculative.engines.tokenizers.byte_bpe import ByteBpeTokenizer

    return ByteBpeTokenizer(path, spec)


def dialect_of(tokenizer: Tokenizer) -> str:
    """Returns the dialect that belongs to a tokenizer. Raises `UsageError`."""
    return "bundled" if _is_shipped(tokenizer) else detect_dialect(tokenizer)


def _is_shipped(tokenizer: Tokenizer) -> bool:
    from speculative.engines.tokenizers.byte_bpe import ByteBpeTokenizer

    return SHIPPED.is_file() and ByteBpeTokenizer(SHIPPED).fingerprint == tokenizer.fingerprint


def _json(path: Path) -> dict[str, Any]:
    try:
        spec: Any = json.loads(path.read_text(encoding="utf-8"))
        spec["model"].get("byte_fallback")
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise WeightsError(f"{path}: not a tokenizer ({type(error).__name__}: {error}); fetch it again") from None
    return spec


def _from_hub(name: str) -> Path:
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    fetch: Any = cast("Any", huggingface_hub).hf_hub_download
    try:
        try:
            return Path(fetch(name, FILE, local_files_only=True))
        except LocalEntryNotFoundError:
            if why := hub.unreachable():
                return _missing(name, f"is not in this machine's cache of the hub, and {why}")
            return Path(fetch(name, FILE, token=read_secret("HF_TOKEN")))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        return _missing(name, f"was not found on the hub ({type(error).__name__})")


def _missing(source: str, why: str) -> Path:
    step = "give the model's folder, tokenizer.json, GGUF file or hub name with --big-tokenizer, --small-tokenizer"
    raise UsageError(f"tokenizer {source!r} {why}; {step}")
