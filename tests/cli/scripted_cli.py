"""The command line on a scripted pair: `python scripted_cli.py ARGUMENTS`.

Of the environment: `DELAY` is seconds a token. `STALL` is the number of tokens after which every engine waits for ever, and
`BEGUN` the file that is made then: a test that waits for that file sends its signal in the middle of the work.
"""

import asyncio
import os
from pathlib import Path

from speculative import pair
from speculative.cli import main
from speculative.testing import ScriptedEngine

STORY = """p is 49 and q is 53. Do this 5 times:
A: Add 17 to q.
B: If p is even, multiply q by 4.
C: If q is even, add 8 to p, else add 9 to q.
What is q at the end?"""
"""A bundled problem with the answer 174, so that no warning is printed. The scripted models tell a story of their own."""
THOUGHT = "Mia starts with 131 beads.\n\nShe gets 43, so 131 + 43 = 174.\n\nThat is the end of it."
SCRIPT = THOUGHT + "</think>\n\nThe answer is \\boxed{174}."


class Stalling(ScriptedEngine):
    """Waits for ever once both models have written so many tokens."""

    written = 0

    async def _pace(self, tokens, stats):
        if not (limit := int(os.environ.get("STALL", "0"))):
            return await super()._pace(tokens, stats)
        for _ in range(tokens):
            if Stalling.written >= limit:
                Path(os.environ["BEGUN"]).touch()  # noqa: ASYNC240  nothing else is at work
                await asyncio.sleep(3600)
            await super()._pace(1, stats)
            Stalling.written += 1
        return None


def scripted(spec, *_, **__):
    """Both models have the same thought in mind."""
    return Stalling(SCRIPT, name=str(spec), width=2, delay=float(os.environ.get("DELAY", "0")))


if __name__ == "__main__":
    pair.open_engine = scripted
    main()
