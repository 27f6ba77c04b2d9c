"""The pair's tokenizer: byte-level BPE of 768 tokens, one token a digit, one for the end of a step."""

from __future__ import annotations

import random

from tokenizers import Tokenizer

from training.tokenizer import learn
from training.tunnel.dialect import AGAIN, CHECK, HINTS, INSTRUCTIONS, QUESTION, REWRITE, SCORE, TAGS, WAIT
from training.tunnel.documents import BIG_DIET
from training.tunnel.problems import SECOND, Ladder

SIZE = 768


def train(seed: int, documents: int = 3000, ladder: Ladder = SECOND) -> Tokenizer:
    """Learn the merges from documents of every kind."""
    rng = random.Random(f"tunnel tokenizer/{seed}")
    texts = ["".join(span.text for span in BIG_DIET.document(rng, 1.0, ladder)) for _ in range(documents)]
    # Fixed phrases are rare in the mix and would stay in pieces.
    phrases = [f"{WAIT}{AGAIN}", f"{REWRITE}{QUESTION}", CHECK, SCORE, *HINTS, *TAGS, *(f"\n{text}" for text in INSTRUCTIONS.values())]
    texts += [f"{phrase}\n\n" for phrase in phrases] * (documents // 3)
    return learn(texts, SIZE)
