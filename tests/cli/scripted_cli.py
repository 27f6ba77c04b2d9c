"""The command line on a scripted pair: `python scripted_cli.py ARGUMENTS`.

Of the environment: `DELAY` is seconds a token, `BEGUN` a file that is made when the first token is asked for.
"""

import os
from pathlib import Path

from speculative import pair
from speculative.cli import main
from speculative.testing import ScriptedEngine

STORY = "Mia has 131 beads. Later she gets 43 beads from Nora. How many beads are there at the end?"
THOUGHT = "Mia starts with 131 beads.\n\nShe gets 43, so 131 + 43 = 174.\n\nThat is the end of it."
SCRIPT = THOUGHT + "</think>\n\nThe answer is \\boxed{174}."


class Telling(ScriptedEngine):
    """Tells when it is at work."""

    def _take(self, *args):
        super()._take(*args)
        if begun := os.environ.get("BEGUN"):
            Path(begun).touch()


def scripted(spec, *_, **__):
    """Both models have the same thought in mind."""
    return Telling(SCRIPT, name=str(spec), width=2, delay=float(os.environ.get("DELAY", "0")))


if __name__ == "__main__":
    pair.engine = scripted
    main()
