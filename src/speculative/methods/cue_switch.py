"""The big model leads; after its cue words the small one finishes the sentence."""

import re
from typing import ClassVar, Literal
from unicodedata import east_asian_width

from pydantic import Field, field_validator

from speculative.chain.chain import Chain
from speculative.chain.steps import STEP
from speculative.methods.base import Method
from speculative.methods.families import Family
from speculative.methods.words import split_words

CUES = "Thus; Therefore; Hence; So; Now; Then; Next; In other words; Specifically; That means; This means; Similarly"

SENTENCE_ENDS = (". ", "! ", "? ", STEP)

WORD_ENDS = (" ", ",")
"""The characters behind a cue that end its word."""


class CueSwitch(Method):
    """Big writes up to and with a cue word, small the rest of the sentence, in turn.

    Cues are words after which a model is mostly sure of what follows. A cue counts as a whole word, with a blank or a comma behind it,
    since `So` also begins `Some`. A colon or a line's end does not count: it would be one more stop string for every cue. A cue within
    the first `min_tokens` tokens of big's turn is passed over. Small writes the answer unless told otherwise, as published.

    Cost: one call for each switch, and one more where a cue comes too early or inside a word; nothing is thrown away.
    Needs: nothing but stop strings, so it serves models that only continue text. Source: RelayGen (arXiv 2602.06454).
    """

    family: ClassVar[Family] = "words and places"

    cues: str = Field(default=CUES, description="cue words of big, with semicolons between them; upper and lower case differ")
    min_tokens: int = Field(default=5, ge=0, description="tokens of big's turn before a cue counts")
    answer_by: Literal["big", "small"] = Field(default="small", description="who writes the answer")

    @field_validator("cues")
    @classmethod
    def _check_cues(cls, value: str) -> str:
        if not split_words(value):
            raise ValueError("it must hold at least one cue")
        return value

    async def think(self, chain: Chain) -> None:
        cues = split_words(self.cues)
        stops = tuple(stop for cue in cues for stop in _stops(cue))
        whole = re.compile("|".join(rf"{_boundary(cue)}(?:{'|'.join(map(re.escape, _stops(cue)))})" for cue in cues))
        longest = max(map(len, stops))
        while chain.thinking:
            written = 0
            while chain.thinking:
                before = len(chain.text)
                led = await chain.write("big", stop=stops)
                written += led.tokens
                begin = max(0, before - longest)
                found = any(begin + match.end() > before for match in whole.finditer(chain.text[begin:]))
                if led.finish == "stop" and written >= self.min_tokens and found:
                    break
            await chain.write("small", stop=SENTENCE_ENDS)


def _stops(cue: str) -> tuple[str, ...]:
    """Returns the strings that end with a cue.

    A cue that ends with a letter or digit is over with the character behind it, since `So` also begins `Some`.
    """
    return tuple(cue + behind for behind in WORD_ENDS) if _is_spaced(cue[-1]) else (cue,)


def _boundary(cue: str) -> str:
    """Returns the pattern of the place where a cue may begin."""
    return r"(?<!\w)" if _is_spaced(cue[0]) else ""


def _is_spaced(character: str) -> bool:
    """Returns whether a character is of a word that spaces end, unlike Chinese."""
    return character.isalnum() and east_asian_width(character) not in "WF"
