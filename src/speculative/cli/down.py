"""`speculative down` (see `up`)."""

from __future__ import annotations

from speculative.cli.up import down

__all__ = ["down"]
