"""The dialect of the harder bundled pair."""

from __future__ import annotations

from speculative.prompts.bundled import Bundled


class Tunnel(Bundled):
    """The dialect of the harder bundled pair.

    Its cues are those of the bundled pair, but its score is one token, `0` or `9`.
    """

    name = "tunnel"
    judges_at_once = True
