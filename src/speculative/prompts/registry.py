"""Finds dialects by name, entry point, path or special tokens."""

from __future__ import annotations

from functools import cache
from typing import Final

from speculative._plugins import FROM_FILE, installed_classes, is_path, load_class
from speculative.engines.base import Tokenizer
from speculative.errors import UnknownNameError, UsageError
from speculative.prompts.bundled import Bundled
from speculative.prompts.chat import Chat
from speculative.prompts.deepseek import DeepSeekR1
from speculative.prompts.dialect import Dialect
from speculative.prompts.nonthinking import ChatMLPlain, Gemma
from speculative.prompts.qwen3 import Qwen3
from speculative.prompts.think import Think

GROUP: Final = "speculative.dialects"

DETECTABLE: Final = (
    DeepSeekR1(),
    Qwen3(),
    Think("think", "<s>", "</s>"),
    Think("think-endoftext", "<|endoftext|>", "<|endoftext|>"),
    Think("think-end-of-text", "<|begin_of_text|>", "<|end_of_text|>"),
    ChatMLPlain(),
    Gemma(),
)
"""The dialects that a tokenizer reveals, in the order in which they are tried."""

DIALECTS: Final[dict[str, Dialect]] = {dialect.name: dialect for dialect in (Dialect(), Bundled(), Chat(), *DETECTABLE)}
"""The built-in dialects by name."""


@cache
def known_dialects() -> dict[str, Dialect]:
    """Returns the dialects of this library, of packages and of files, by name.

    Raises:
        UsageError: An installed dialect cannot be loaded, or has the name of another one.
    """
    found = dict(DIALECTS)
    for kind, origin in installed_classes(GROUP, Dialect, "dialect"):
        _add(found, _instantiate(kind, origin), origin)
    return found


def detect_dialect(tokenizer: Tokenizer) -> str:
    """Returns the name of the first dialect whose special tokens the tokenizer has.

    Raises `UsageError`.
    """
    for dialect in DETECTABLE:
        if tokenizer.special_tokens.keys() >= set(dialect.special_tokens):
            return dialect.name
    names = ", ".join(known_dialects())
    raise UsageError(f"the model's family cannot be detected by its tokens; name its dialect (known: {names}), or a file with one")


def find_dialect(name: str) -> Dialect:
    """Returns the dialect of that name. Raises `UnknownNameError`."""
    known = known_dialects()
    if name not in known:
        raise UnknownNameError("dialect", name, list(known))
    return known[name]


def load_dialect(spec: str) -> str:
    """Returns the name of a dialect, and loads it from `FILE.py:CLASS`.

    Paths are code: they come from the command line or from Python only.

    Raises:
        UnknownNameError, UsageError: There is no such dialect, or its name is taken.
    """
    if not is_path(spec):
        return find_dialect(spec).name
    dialect = _instantiate(load_class(spec, Dialect, "dialect"), spec)
    _add(known_dialects(), dialect, spec)
    return dialect.name


def _instantiate(kind: type[Dialect], origin: str) -> Dialect:
    try:
        return kind()
    except TypeError as error:
        raise UsageError(f"the dialect {kind.__name__} of {origin} must take no arguments ({error})") from None


def _add(known: dict[str, Dialect], dialect: Dialect, origin: str) -> None:
    other = known.get(dialect.name)
    if other and not type(other).__module__.startswith(FROM_FILE):  # the same file, edited
        raise UsageError(f"the dialect {dialect.name!r} of {origin} must have a unique name; rename it")
    known[dialect.name] = dialect
