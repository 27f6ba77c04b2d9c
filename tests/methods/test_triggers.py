"""Methods that look at words and places: `lead`, `trigger`, `takeover`."""

from __future__ import annotations

from math import log
from typing import Any

import pytest
from solving import authors, by, counts, numbered, reasons, solved, steps, texts

from speculative import UsageError
from speculative.engines.base import Completion, Decoding, Ids
from speculative.methods.registry import build
from speculative.testing import ScriptedEngine

# ---- lead -----------------------------------------------------------------------------------------------------------


def test_big_writes_the_first_tokens_of_each_step_and_small_the_rest() -> None:
    whole = steps("First step", "Second step")
    result = solved("lead", whole, whole, lead_tokens=3)
    assert texts(result) == ["b Fir", "s st step\n\n", "b Sec", "s ond step\n\n"]
    assert sum(cost.discarded_tokens for cost in result.usage.values()) == 0


def test_a_step_that_ends_with_bigs_tokens_is_bigs_alone() -> None:
    whole = steps("a", "b", "longer than eight")
    result = solved("lead", whole, whole)
    assert texts(result) == ["b a\n\nb\n\nlonger t", "s han eight\n\n"]


@pytest.mark.parametrize(("share", "kept"), [(0.0, "s"), (1.0, "bs" * 5)])
def test_a_coin_decides_whether_big_leads(share: float, kept: str) -> None:
    whole = steps(*(f"This is step {i}" for i in range(5)))
    assert authors(solved("lead", whole, whole, share=share)) == kept
    halves = {authors(solved("lead", whole, whole, share=0.5, seed=seed)) for seed in range(6)}
    assert len(halves) > 2


# ---- trigger --------------------------------------------------------------------------------------------------------


class Sure(ScriptedEngine):
    """As sure of the tokens of a step as its script says: 99 % behind an exclamation mark, else 50 %."""

    def _completion(self, prefix: Ids, decoding: Decoding, seed: int) -> Completion:
        done = super()._completion(prefix, decoding, seed)
        sure = b"!" in self._tokenizer.to_bytes(done.ids)
        logprobs = tuple(log(0.99 if sure else 0.5) for _ in done.ids)
        return Completion(done.ids, done.finish, done.end_id, logprobs if decoding.logprobs else None)


WHOLE = steps("One", "Two!", "Three", "Four!", "Five")


def test_big_primes_and_then_small_writes() -> None:
    result = solved("trigger", WHOLE, Sure(WHOLE), prime=2, rho=1.0)
    assert texts(result) == ["b One\n\nTwo!\n\n", "s Three\n\nFour!\n\nFive\n\n"]


@pytest.mark.parametrize(
    ("direction", "expected"),
    [
        ("over", ["s One\n\n", "b Two!\n\n", "s Three\n\n", "b Four!\n\n", "s Five\n\n"]),
        ("under", ["b One\n\n", "s Two!\n\n", "b Three\n\n", "s Four!\n\n", "b Five\n\n"]),
    ],
)
def test_a_step_whose_tokens_are_too_sure_or_too_unsure_is_bigs(direction: str, expected: list[str]) -> None:
    result = solved("trigger", WHOLE, Sure(WHOLE), prime=0, direction=direction)
    assert texts(result) == expected
    assert set(reasons(result)) == {f"small was too {'sure' if direction == 'over' else 'unsure'} of its tokens"}


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"hesitate": 2}, ["s Wait, a\n\nhmm b\n\n", "b c\n\n", "s Perhaps d\n\ne\n\n"]),
        ({"hesitate": 2, "steps": 2}, ["s Wait, a\n\nhmm b\n\n", "b c\n\nPerhaps d\n\n", "s e\n\n"]),
        ({"hesitate": 0}, ["s Wait, a\n\nhmm b\n\nc\n\nPerhaps d\n\ne\n\n"]),
        ({"hesitate": 1, "words": "c ; e"}, ["s Wait, a\n\nhmm b\n\nc\n\n", "b Perhaps d\n\n", "s e\n\n"]),
        ({"hesitate": 3}, ["s Wait, a\n\nhmm b\n\nc\n\nPerhaps d\n\ne\n\n"]),
    ],
)
def test_hesitation_in_a_row_calls_big(settings: dict[str, Any], expected: list[str]) -> None:
    whole = steps("Wait, a", "hmm b", "c", "Perhaps d", "e")
    assert texts(solved("trigger", whole, Sure(whole), prime=0, **settings)) == expected


def test_a_step_without_letters_is_never_thrown_away() -> None:
    whole = steps("---!", "Done")
    assert texts(solved("trigger", by("big"), Sure(whole), prime=0))[0].startswith("s ---!")


# ---- takeover -------------------------------------------------------------------------------------------------------


def taken(big: Any, small: Any, **settings: Any) -> Any:
    return solved("takeover", big, small, **{"begin_tokens": 0, "check_tokens": 0, "doubts": 0, **settings})


def test_big_begins_and_small_ends_the_step() -> None:
    whole = steps("A first step", "A second one")
    result = taken(whole, whole, begin_tokens=3)
    assert texts(result) == ["b A f", "s irst step\n\nA second one\n\n"]


def test_without_words_of_either_kind_small_writes_alone_and_nothing_is_lost() -> None:
    whole = steps("A first step of more than twenty tokens", "A second one")
    result = taken(whole, whole)
    assert authors(result) == "s"
    assert result.usage["small"].discarded_tokens == 0


@pytest.mark.parametrize("word", ["Wait, no", "Alternatively", "Yes, it is", "I verify it", "Yes, but wait"])
def test_big_takes_over_where_small_doubts_affirms_or_checks(word: str) -> None:
    result = taken(numbered("Plain", "Bigs", "No"), numbered("Plain", word, "Plain again"), look=4 + len(word))
    assert texts(result) == ["s Plain\n\n", "b Bigs\n\n", "s Plain again\n\n"]
    assert counts(result, "Drafted", "big") == 1


@pytest.mark.parametrize(
    ("big", "choose", "kept"), [("Hold on", "agree", "s"), ("Hold on", "big", "b"), ("Yes, so", "agree", "b"), ("Plain", "agree", "b")]
)
def test_smalls_tokens_may_stay_where_both_lean_to_the_same_side(big: str, choose: str, kept: str) -> None:
    assert authors(taken(numbered(big), numbered("Wait, a"), choose=choose, look=9))[0] == kept


def test_checking_words_give_big_more_tokens() -> None:
    result = taken(numbered("Check it", "More", "And more"), numbered("Wait, a", "b", "c"), check_tokens=6)
    assert texts(result)[0] == "b Check it\n\nMore\n\n"


def test_many_doubts_lead_to_a_recap_by_big() -> None:
    doubts = numbered("Wait, a", "Wait, b", "Back: c", "Wait, d", "Wait, e", "f")
    result = taken(doubts, doubts, doubts=2, check_tokens=2, recap="Back:")
    assert result.reasoning == "Wait, a\n\nWait, b\n\nBack: c\n\nWait, d\n\nWait, e\n\nf\n\n"
    assert "m Back:" in texts(result)
    assert authors(result) == "bmbsbs"


def test_words_are_found_at_their_beginning_only() -> None:
    assert authors(taken(by("big"), steps("eyes and paycheck", "await"), look=30)) == "s"


# ---- cue_switch -----------------------------------------------------------------------------------------------------

SAID = "It is seven. So it is even? No! Thus odd.\n\nNow what. End.</think>42"


def cued(whole: str = SAID, **settings: Any) -> Any:
    return solved("cue_switch", whole, whole, **settings)


def test_after_a_cue_small_ends_the_sentence() -> None:
    result = cued(min_tokens=0)
    assert texts(result) == ["b It is seven. So ", "s it is even? ", "b No! Thus ", "s odd.\n\n", "b Now ", "s what. ", "b End."]
    assert sum(cost.discarded_tokens for cost in result.usage.values()) == 0
    assert [segment.author for segment in result.trace.segments() if segment.phase == "answer"] == ["small"]


def test_a_cue_that_comes_too_early_is_passed_over() -> None:
    result = cued("So it is seven. Thus, it is odd. Fine.</think>42", min_tokens=5)
    assert texts(result) == ["b So it is seven. Thus,", "s  it is odd. ", "b Fine."]


def test_a_cue_is_a_whole_word() -> None:
    result = cued("Let us see. Some people. Nowhere is MoNow one. Now so. Also it.</think>42", cues="So;Now;so", min_tokens=0)
    assert texts(result) == ["b Let us see. Some people. Nowhere is MoNow one. Now ", "s so. ", "b Also it."]


def test_a_language_without_spaces_has_cues_inside_its_text() -> None:
    assert texts(cued("甲是七。所以它是奇数</think>42", cues="所以", min_tokens=0)) == ["b 甲是七。所以", "s 它是奇数"]


def test_the_cues_and_the_author_of_the_answer_can_be_told() -> None:
    result = cued(cues="No! ;End", min_tokens=0, answer_by="big")
    assert texts(result) == ["b It is seven. So it is even? No!", "s  Thus odd.\n\n", "b Now what. End."]
    with pytest.raises(UsageError, match=r"cue_switch: cues: .*at least one cue"):
        build("cue_switch", {"cues": " ; "})
