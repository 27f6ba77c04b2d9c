"""Big takes over within small's stream when small doubts, after Speculative Thinking (arXiv 2504.12329)."""

import re

from pydantic import Field

from speculative import STEP, Chain, Method

RECENT = 200  # characters at the end of the text: a search of all of it after each token would be quadratic
DOUBT = r"(?i)\b(wait|hmm|hold on|alternatively|not sure)\W"


class TakeOver(Method):
    """Small writes until it says a word of doubt; big writes to the end of that step. One call for each switch."""

    doubt: str = Field(default=DOUBT, description="regular expression of a doubt")

    async def think(self, chain: Chain) -> None:
        doubt = re.compile(self.doubt)
        while chain.thinking:
            await chain.write("small", until=lambda text: doubt.search(text, len(text) - RECENT) is not None)
            if chain.thinking:
                await chain.write("big", stop=STEP)
