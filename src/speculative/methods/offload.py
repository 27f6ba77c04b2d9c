"""A small model that marks the hard parts for the big one."""

from typing import ClassVar

from pydantic import Field

from speculative.chain.chain import Chain
from speculative.chain.steps import STEP
from speculative.methods.base import Method
from speculative.methods.families import Family
from speculative.methods.tags import CloseTag


class Offload(Method):
    """Small writes; big writes each part that small opens until small would close it.

    Small opens a part with a mark.
    After each chunk of big, which ends with a step at the latest, small drafts a few tokens; if they hold the closing tag, they stay up to
    it and small writes on. Big may write the closing tag too. A part that has `max_span` tokens is closed.

    The tags stay in the text, and both models read them. (SplitReason's own code hides them from big, and takes the part back at a
    mirrored place.)

    Cost: a call of big and a draft of small for each chunk; the drafts that do not close are thrown away.
    Needs: a small model that was trained to write the tags. Source: SplitReason (arXiv 2504.16379).
    """

    family: ClassVar[Family] = "small asks"
    training: ClassVar[bool] = True
    aliases: ClassVar[tuple[str, ...]] = ("spec_reason",)

    max_span: int = Field(default=512, ge=1, description="tokens of big in one marked part at most")
    chunk: int = Field(default=64, ge=1, description="tokens of big between two drafts of small at most")
    probe_tokens: int = Field(default=8, ge=1, description="tokens in which small may close the part")
    open_tag: str = Field(default="<bigmodel>", min_length=1, description="text that opens a marked part")
    close_tag: CloseTag = Field(default="</bigmodel>", min_length=1, description="text that closes it", validate_default=True)
    hint: str = Field(default="Mark the hard steps.", description="line behind the problem, for small alone, that makes it mark")

    @property
    def switch_unit(self) -> int:
        return self.chunk

    @property
    def instructs(self) -> bool:
        return bool(self.hint)

    async def think(self, chain: Chain) -> None:
        if self.hint and not chain.problem.raw:
            await chain.instruct("small", self.hint)
        while chain.thinking:
            written = await chain.write("small", stop=self.open_tag)
            if chain.thinking and written.finish == "stop":
                await self._write_part(chain)

    async def _write_part(self, chain: Chain) -> None:
        """Lets big write, until a model closes the part or it is long enough."""
        written = 0
        while chain.thinking and written < self.max_span:
            part = await chain.draft("big", stop=(STEP, self.close_tag), max_tokens=min(self.chunk, self.max_span - written))
            written += max(part.tokens, 1)
            if part.ended or not part.text or self.close_tag in part.text:
                await chain.accept(part)
                if self.close_tag in part.text:
                    return
                continue
            begun = self._begun(part.text)
            stops = tuple(dict.fromkeys((self.close_tag, self.close_tag.removeprefix(begun))))
            probe = await chain.draft("small", after=part, stop=stops, max_tokens=self.probe_tokens)
            if self.close_tag in begun + probe.text:
                await chain.accept(probe)
                return
            chain.reject(probe, "it does not close the part")
            await chain.accept(part)
        if chain.thinking:
            await chain.insert(self.close_tag)

    def _begun(self, text: str) -> str:
        """Returns the beginning of the closing tag in which a text ends, or an empty text."""
        sizes = range(len(self.close_tag) - 1, 0, -1)
        return next((self.close_tag[:size] for size in sizes if text.endswith(self.close_tag[:size])), "")
