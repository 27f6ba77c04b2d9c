"""The big model leads; after its cue words the small one finishes the sentence."""

from typing import ClassVar, Literal

from pydantic import Field, field_validator

from speculative.chain.chain import Chain
from speculative.chain.steps import STEP
from speculative.methods.base import Method
from speculative.methods.families import Family
from speculative.methods.words import split_words

CUES = "Thus; Therefore; Hence; So; Now; Then; Next; In other words; Specifically; That means; This means; Similarly"

SENTENCE_ENDS = (". ", "! ", "? ", STEP)


class CueSwitch(Method):
    """Big writes up to and with a cue word, small the rest of the sentence, in turn.

    Cues are words after which a model is mostly sure of what follows. A cue within the first `min_tokens` tokens of big's turn is passed
    over. Small writes the answer unless told otherwise, as published.

    Cost: one call for each switch, and one more where a cue comes too early; nothing is thrown away.
    Needs: nothing but stop strings, so it serves models that only continue text. Source: RelayGen (arXiv 2602.06454).
    """

    family: ClassVar[Family] = "words and places"

    cues: str = Field(CUES, description="cue words of big, with semicolons between them; upper and lower case differ")
    min_tokens: int = Field(5, ge=0, description="tokens of big's turn before a cue counts")
    answer_by: Literal["big", "small"] = Field("small", description="who writes the answer")

    @field_validator("cues")
    @classmethod
    def _check_cues(cls, value: str) -> str:
        if not split_words(value):
            raise ValueError("it must hold at least one cue")
        return value

    async def think(self, chain: Chain) -> None:
        cues = split_words(self.cues)
        while chain.thinking:
            written = 0
            while chain.thinking:
                led = await chain.write("big", stop=cues)
                written += led.tokens
                if led.finish == "stop" and written >= self.min_tokens:
                    break
            await chain.write("small", stop=SENTENCE_ENDS)
