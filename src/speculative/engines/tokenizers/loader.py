"""Where the vocabulary of a model behind a server comes from: its tokenizer's file, which is looked for near and far."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, cast

from speculative.engines.base import Vocabulary
from speculative.errors import BadWeights, UsageError
from speculative.prompts import recognise
from speculative.secret import secret

FILE = "tokenizer.json"
SHIPPED = Path(__file__).parents[2] / "bundled" / "big" / FILE


def find(source: str) -> Path:
    """The `tokenizer.json` of a file, a folder, or a model's name: in this machine's Hugging Face cache, else fetched from the hub.

    Raises `UsageError` that says what to give instead.
    """
    path = Path(os.path.expanduser(source))  # noqa: PTH111 (pathlib's raises where there is no such user)
    if path.is_file():
        return path if path.suffix == ".json" else _missing(source, "is no tokenizer.json")
    if path.is_dir():
        return path / FILE if (path / FILE).is_file() else _missing(source, f"holds no {FILE}")
    if source.count("/") > 1 or source.startswith((".", "/", "~")) or path.suffix == ".gguf":
        return _missing(source, "is no file or folder of this machine")
    return _from_hub(source)


def read(path: Path) -> Vocabulary:
    """The vocabulary in a tokenizer's file. Raises `BadWeights`."""
    if _byte_fallback(path):
        from speculative.engines.tokenizers.sentencepiece import PieceVocabulary

        return cast("Any", PieceVocabulary(path))
    from speculative.engines.tokenizers.byte_bpe import FileVocabulary

    return cast("Any", FileVocabulary(path))  # a cached property is a property


def dialect_of(vocabulary: Vocabulary) -> str:
    """The dialect that belongs to a vocabulary: the shipped models' own, or that of a known family. Raises `UsageError`."""
    from speculative.engines.tokenizers.byte_bpe import FileVocabulary

    if SHIPPED.is_file() and FileVocabulary(SHIPPED).fingerprint == vocabulary.fingerprint:
        return "bundled"
    return recognise(vocabulary)


def _byte_fallback(path: Path) -> bool:
    """Whether it is a BPE of characters that falls back to bytes, as SentencePiece makes them."""
    try:
        spec: Any = json.loads(path.read_text(encoding="utf-8"))
        return bool(spec["model"].get("byte_fallback"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadWeights(f"{path}: not a tokenizer ({type(error).__name__}: {error}); fetch it again") from None


def _from_hub(name: str) -> Path:
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    fetch: Any = cast("Any", huggingface_hub).hf_hub_download
    try:
        try:
            return Path(fetch(name, FILE, local_files_only=True))
        except LocalEntryNotFoundError:
            return Path(fetch(name, FILE, token=secret("HF_TOKEN")))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        return _missing(name, f"was not found on the hub ({type(error).__name__})")


def _missing(source: str, why: str) -> Path:
    raise UsageError(
        f"tokenizer {source!r} {why}; give the model's folder, tokenizer.json or hub name with --big-tokenizer, --small-tokenizer"
    )
