"""Secrets of other services: read where they are needed, and not kept."""

from __future__ import annotations

import os

from speculative.errors import UsageError


def secret(name: str) -> str | None:
    """One of them (`OPENAI_API_KEY`, `HF_TOKEN`): from the environment, else from `.env`. Raises `UsageError`."""
    from dotenv import dotenv_values

    try:
        return os.environ.get(name) or dotenv_values(".env").get(name) or None
    except (OSError, ValueError) as error:
        raise UsageError(f".env cannot be read: {error}") from None
