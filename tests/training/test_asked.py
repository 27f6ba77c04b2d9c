"""What methods ask the pair is, word for word, what it has learnt to be asked."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest

from speculative.problem import Message
from speculative.prompts import Question, find_dialect, render
from training.documents import BIG_DIET, QUESTION, SMALL_DIET, begin
from training.stories import LEVELS, Story, draw
from training.writer import CHECK, CLOSE, SCORE, WAIT, DeadEndError, Spans

SPOKEN = find_dialect("bundled")
KINDS = {kind.__name__: kind for kind in BIG_DIET.mix}


def documents(kind: str) -> list[tuple[Story, Spans]]:
    """Some documents of a kind, with their stories."""
    found: list[tuple[Story, Spans]] = []
    for seed in range(150):
        rng = random.Random(seed)
        story, diet = draw(rng, rng.choice(LEVELS)), (BIG_DIET, SMALL_DIET)[seed % 2]
        with suppress(DeadEndError):
            found.append((story, KINDS[kind](begin(rng, story, diet.watchful))))
    return found


def asked(question: Question, story: Story, chain: str) -> str:
    asking = SPOKEN.ask(question, [Message("user", story.problem)], chain)
    head = render(SPOKEN.prompt([Message("user", story.problem)], SPOKEN.answer_instruction)) + chain if asking.follows_chain else ""
    return head + render(asking.parts)


@pytest.mark.parametrize(
    ("kind", "cue", "question"),
    [("check", CHECK, Question("check")), ("judge", SCORE, Question("judge")), ("close", CLOSE, Question("answer"))],
)
def test_a_question_about_a_chain_is_one_that_was_learnt(kind: str, cue: str, question: Question) -> None:
    seen = 0
    for story, spans in documents(kind):
        for place, (text, learn) in enumerate(spans):
            chain = "".join(piece for piece, _ in spans[1:place])
            if text == cue and not learn and chain.endswith("\n"):
                assert asked(question, story, chain) == "".join(piece for piece, _ in spans[: place + 1])
                seen += 1
    assert seen > 20


def test_going_on_is_cued_as_it_was_learnt() -> None:
    for _, spans in documents("again"):
        place = [text for text, _ in spans].index(WAIT)
        assert SPOKEN.resume("".join(piece for piece, _ in spans[1:place])) == WAIT


def test_a_rewrite_is_asked_for_as_it_was_learnt_however_the_chain_ends() -> None:
    for story, spans in documents("rewrite"):
        learnt = "".join(text for text, learn in spans if not learn).removesuffix("<|im_end|>")
        chain = learnt.partition("Reasoning so far:\n\n")[2].partition("\n\nRewrite")[0]
        question = Question("rewrite", f"{chain}\n\n", QUESTION in learnt)  # a chain ends in the blank line of its last step
        assert asked(question, story, "") == learnt
