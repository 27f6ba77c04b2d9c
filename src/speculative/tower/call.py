"""One completion that a tower writes."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct

from speculative.chain.calls import Taken
from speculative.engines.base import Decoding, Ids

OnIds = Callable[[Ids], None]
"""Gets the new tokens of a completion, which are final."""


class TowerCall(Struct, frozen=True):
    """Describes a completion.

    Attributes:
        prefix: The tokens that it follows.
        decoding: Its settings. The seed is that of the chain of the pair.
        key: Names the outer chain for engines with replicas.
        alone: True if it is the only one of its call, whose text is kept also if the call is cut off.
        on_ids: A listener for its tokens.
        taken: Waits until they are used, if the listener may end the completion after any of them.
    """

    prefix: Ids
    decoding: Decoding
    key: str
    alone: bool = True
    on_ids: OnIds | None = None
    taken: Taken | None = None
