"""The pair's tokenizer: byte-level BPE of 768 tokens, one token a digit, one for the end of a step."""

from __future__ import annotations

import random

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from training.tokenizer import SPECIAL, SPLIT, THINK
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
    for marker in (*SPECIAL, *THINK):
        texts = [text.replace(marker, " ") for text in texts]
    tokenizer = Tokenizer(models.BPE())
    split = pre_tokenizers.Split(Regex(SPLIT), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(False, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=SIZE - len(THINK),
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in SPECIAL])
    tokenizer.add_tokens([AddedToken(text, special=False, normalized=False) for text in THINK])
    assert tokenizer.get_vocab_size() == SIZE
    return tokenizer
