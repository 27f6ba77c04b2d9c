"""Methods in which big chooses among versions: `best_step`, `whole_draft`, `mentor`."""

from __future__ import annotations

from typing import Any

import pytest
from solving import authors, counts, numbered, reasons, solved, texts

from speculative import Result
from speculative.testing import ScriptedEngine


def versions(*texts: str) -> Any:
    """Each completion writes the next of these versions of every step, two steps long."""
    turn = iter(range(1 << 20))

    def script(seen: str, seed: int) -> str:
        thought = seen.rpartition("<think>\n")[2]
        if "</think>" in thought:
            return "42"
        return "</think>42" if thought.count("\n\n") >= 2 else f"{texts[next(turn) % len(texts)]}\n\nmore"

    return script


def chooser(pick: str = "", best: str = "", script: Any = None) -> ScriptedEngine:
    """A big model that replies with a number, and finds texts that hold `best` likely."""
    return ScriptedEngine(
        script or numbered("big 0.", "big 1."),
        name="big",
        scores=lambda _, text: -0.01 if best and best in text else -3.0,
        top=lambda seen: {pick: -0.01} if pick and "Reply with its number" in seen else {},
    )


# ---- best_step ------------------------------------------------------------------------------------------------------


def stepped(big: ScriptedEngine, *texts: str, **settings: Any) -> Result:
    return solved("best_step", big, versions(*texts), versions=len(texts), **settings)


def test_the_likeliest_version_stays() -> None:
    result = stepped(chooser(best="B"), "A", "B", "C")
    assert result.reasoning == "B\n\nB\n\n"
    assert [len(event.proposals) for event in result.trace if type(event).__name__ == "Drafted"] == [3, 3, 3]
    assert counts(result, "Scored", "big") == 2


def test_big_writes_the_step_where_no_version_is_likely_enough() -> None:
    result = stepped(chooser(), "A", "B")
    assert result.reasoning == "big 0.\n\nbig 1.\n\n"
    assert set(reasons(result)) == {"big took none", "another draft was accepted"}


@pytest.mark.parametrize(("pick", "kept"), [("1", "A"), ("2", "B"), ("0", "big 0.")])
def test_big_can_be_asked_for_a_number(pick: str, kept: str) -> None:
    result = stepped(chooser(pick), "A", "B", by="question")
    assert result.reasoning.startswith(kept)
    assert counts(result, "Asked", "big") == 2


def test_versions_with_the_same_text_are_shown_once() -> None:
    big = chooser("1")
    result = stepped(big, "A", "A", "B", by="question")
    asked = [seen for _, seen in big.calls if "Reply with its number" in seen]
    assert all("[2]\nB" in seen and "[3]" not in seen for seen in asked)
    assert authors(result) == "s"


def test_versions_without_letters_are_not_judged() -> None:
    result = stepped(chooser(), "---", "***")
    assert (authors(result), counts(result, "Scored")) == ("s", 0)


# ---- whole_draft ----------------------------------------------------------------------------------------------------


def whole(*texts: str) -> Any:
    turn = iter(range(1 << 20))
    return lambda seen, seed: "42" if "</think>" in seen else f"{texts[next(turn) % len(texts)]}</think>42"


@pytest.mark.parametrize(
    ("big", "by", "kept"),
    [
        (chooser(best="B"), "likelihood", "s B"),
        (chooser("2"), "question", "s B"),
        (chooser(), "likelihood", "b big 0.\n\nbig 1.\n\n"),
        (chooser("0"), "question", "b big 0.\n\nbig 1.\n\n"),
    ],
    ids=["likely", "asked", "unlikely", "none"],
)
def test_big_takes_a_whole_chain_or_thinks_for_itself(big: ScriptedEngine, by: str, kept: str) -> None:
    result = solved("whole_draft", big, whole("A", "B", "B"), by=by)
    assert texts(result) == [kept]
    assert result.usage["small"].requests == 1


def test_chains_that_are_cut_off_are_not_chosen_from() -> None:
    result = solved("whole_draft", chooser("1", best="x"), lambda seen, seed: "x" * 999, max_tokens=100, by="question")
    assert (counts(result, "Asked"), authors(result)) == (0, "b")


# ---- mentor ---------------------------------------------------------------------------------------------------------

SMALL, BIG = numbered("One is mine. Two is mine."), numbered("One is mine. Six is yours.")


def mentored(big: Any = BIG, small: Any = SMALL, pick: str = "", **settings: Any) -> Result:
    made = ScriptedEngine(small, name="small", top=lambda seen: {pick: -0.01} if pick and "Reply with its number" in seen else {})
    return solved("mentor", big, made, **{"share": 1.0, "segment": 13, **settings})


def test_without_its_share_big_writes_nothing_of_the_thinking() -> None:
    result = mentored(share=0.0)
    assert (authors(result), counts(result, "Drafted")) == ("s", 0)


def test_where_the_first_words_are_equal_smalls_segment_stays() -> None:
    result = mentored(SMALL)
    assert (authors(result), counts(result, "Asked")) == ("s", 0)
    assert counts(result, "Drafted", "big") > 0


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("wanted", ["mine", "yours"])
def test_where_they_differ_the_chooser_takes_one_whatever_the_order(wanted: str, seed: int) -> None:
    def top(seen: str) -> dict[str, float]:
        first, _, second = seen.partition("\n\n[2]\n")
        return {"1" if wanted in first.rpartition("[1]\n")[2] else "2": -0.01} if second else {}

    small = ScriptedEngine(SMALL, name="small", top=top)
    result = solved("mentor", BIG, small, share=1.0, segment=13, seed=seed)
    assert result.reasoning.startswith("One is mine. Two is mine" if wanted == "mine" else "One is mine. Six is yours")
    assert counts(result, "Asked", "small") >= 1


@pytest.mark.parametrize(("chooser", "best"), [("big", "yours"), ("judge", "yours"), ("judge", "mine")])
def test_big_or_a_judge_can_choose(chooser: str, best: str) -> None:
    judge = ScriptedEngine("", name="judge", rewards=lambda text: float(text.rstrip(" .").endswith(best)))
    big = ScriptedEngine(BIG, name="big", top=lambda seen: {"1": -0.01} if "[1]\nSix" in seen else {"2": -0.01})
    result = mentored(big, chooser=chooser, judge=judge if chooser == "judge" else None, segment=13)
    assert result.reasoning.startswith("One is mine. " + ("Six" if best == "yours" else "Two"))


def test_a_share_is_a_share() -> None:
    def same(seen: str, seed: int) -> str:
        return "42" if "</think>" in seen.rpartition("<think>\n")[2] else "a " * 99

    compared = segments = 0
    for seed in range(10):
        result = mentored(same, same, share=0.25, segment=4, seed=seed, max_tokens=300)
        compared += counts(result, "Drafted", "big")
        segments += counts(result, "Wrote", "small") + counts(result, "Drafted", "small")
    assert compared / segments == pytest.approx(0.25, abs=0.05)
