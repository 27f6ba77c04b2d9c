"""A small model that calls for some tokens of the big one."""

import re
from typing import ClassVar

from pydantic import Field

from speculative.chain.chain import Chain
from speculative.methods.asking import with_hint
from speculative.methods.base import Method
from speculative.methods.families import Family
from speculative.methods.tags import CloseTag
from speculative.problem import Problem


class Relay(Method):
    """Small writes; at `<call>n</call>` big writes n tokens, and small goes on.

    Small writes the tag.
    The tag stays in the text, and both models read it. A number above `max_tokens_per_call` is taken as that; a tag without a number, and
    every tag after `max_calls` calls, is text like any other.

    Cost: two calls for each tag; nothing is thrown away. Needs: a small model that was trained to write the tag.
    Source: RelayLLM (arXiv 2601.05167).
    """

    family: ClassVar[Family] = "small asks"
    training: ClassVar[bool] = True

    max_calls: int = Field(default=5, ge=0, description="calls of big at most")
    max_tokens_per_call: int = Field(default=512, ge=1, description="tokens of one call at most")
    open_tag: str = Field(default="<call>", min_length=1, description="text before the number of tokens")
    close_tag: CloseTag = Field(default="</call>", min_length=1, description="text behind the number of tokens", validate_default=True)
    hint: str = Field(default="Call for help.", description="line behind the problem that makes small call")

    def prepare(self, problem: Problem) -> Problem:
        return with_hint(problem, self.hint)

    async def think(self, chain: Chain) -> None:
        calls, tag = 0, re.compile(rf"{re.escape(self.open_tag)}\s*(\d{{1,9}})\s*{re.escape(self.close_tag)}\s*$")
        while chain.thinking:
            before = len(chain.text)
            await chain.write("small", stop=self.close_tag)
            found = tag.search(chain.text[max(0, before - len(self.open_tag)) :])
            if found and int(found[1]) and calls < self.max_calls and chain.thinking:
                calls += 1
                await chain.write("big", max_tokens=min(int(found[1]), self.max_tokens_per_call))
