"""Two steps that may say the same."""

from __future__ import annotations

from typing import Literal

from speculative.chain.chain import Chain
from speculative.chain.drafts import Draft

SameBy = Literal["exact"]
"""By their text."""


async def is_same(chain: Chain, by: SameBy, first: Draft, second: Draft) -> bool:
    """Returns True if two drafts from one place say the same. White space and case say nothing."""
    return _bare(first) == _bare(second)


def _bare(draft: Draft) -> tuple[str, bool]:
    return "".join(draft.text.split()).lower(), draft.ended
