"""Secrets of other services: read where they are needed, and not kept."""

from __future__ import annotations

import os

from speculative.errors import UsageError

ENDS = ("_KEY", "_TOKEN")
"""What the names of secrets end in."""


def secret(name: str) -> str | None:
    """One of them (`OPENAI_API_KEY`, `HF_TOKEN`): from the environment, else from `.env`. Raises `UsageError`."""
    return os.environ.get(name) or _filed().get(name) or None


def secrets() -> set[str]:
    """All that look like one, so that they can be taken out of what is told."""
    return {value for name, value in (*_filed().items(), *os.environ.items()) if value and name.endswith(ENDS)}


def _filed() -> dict[str, str | None]:
    from dotenv import dotenv_values

    try:
        return dotenv_values(".env")
    except (OSError, ValueError) as error:
        raise UsageError(f".env cannot be read: {error}") from None
