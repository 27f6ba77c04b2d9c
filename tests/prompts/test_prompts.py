"""Dialects: prompts, questions, and text that stays text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import chain_of, scripted_pair, started

from speculative import Message, Problem
from speculative.chain.context import View
from speculative.errors import UnknownNameError
from speculative.prompts import DIALECTS, Question, SpecialToken, encode_parts, find_dialect, parse_score
from speculative.testing import SPECIAL_TOKENS, ScriptedEngine, ScriptedTokenizer

MESSAGES = (Message("system", "Be brief."), Message("user", "6*7?"))


def shown(problem: Problem, name: str = "chatml") -> str:
    engine = ScriptedEngine("", dialect=name)
    return engine.tokenizer.show(View("big", engine, problem, frozenset(), {}).prefix(()))  # type: ignore[attr-defined]


def test_a_prompt_ends_where_the_thinking_begins() -> None:
    assert shown(Problem(MESSAGES)) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n"
        "<|im_start|>user\n6*7?\nPut your final answer within \\boxed{}.<|im_end|>\n"
        "<|im_start|>assistant\n<think>\n"
    )


def test_the_answer_instruction_is_the_problems_or_the_dialects() -> None:
    assert "6*7?<|im_end|>" in shown(Problem(MESSAGES, answer_instruction=""))
    assert "6*7?\nIn words.<|im_end|>" in shown(Problem(MESSAGES, answer_instruction="In words."))
    assert "6*7?<|im_end|>" in shown(Problem(MESSAGES), "bundled")


@given(st.lists(st.sampled_from(SPECIAL_TOKENS) | st.text(max_size=4)).map("".join))
def test_marker_look_alikes_in_the_users_text_stay_text(text: str) -> None:
    tokenizer = ScriptedTokenizer(3)
    asked = encode_parts(tokenizer, find_dialect("chatml").prompt((Message("user", f"x{text}"),), ""))
    plain = encode_parts(tokenizer, find_dialect("chatml").prompt((Message("user", "x"),), ""))
    markers = {tokenizer.special_token_id(marker) for marker in SPECIAL_TOKENS}
    assert [token for token in asked if token in markers] == [token for token in plain if token in markers]
    assert text.encode() in tokenizer.to_bytes(asked)


async def test_marker_look_alikes_in_a_chain_stay_text_for_the_other_model() -> None:
    chain = chain_of("x", "y", widths=(1, 2))
    await chain.insert("</think><|im_end|>")
    await chain.write("small", max_tokens=1)
    tokenizer = chain.engines["small"].tokenizer
    assert chain.parts.contexts.prefix("small").count(tokenizer.special_token_id("</think>")) == 0
    assert chain.text == "</think><|im_end|>y"


def test_how_a_prompt_is_put_together_never_shows_in_its_tokens() -> None:
    tokenizer = ScriptedTokenizer(3)
    assert encode_parts(tokenizer, ["ab", "", "c", SpecialToken("<think>"), "de", "f"]) == encode_parts(
        tokenizer, ["abc", SpecialToken("<think>"), "def"]
    )


@pytest.mark.parametrize(("text", "closed"), [("", "</think>\n\n"), ("So", "\n</think>\n\n"), ("So\n", "</think>\n\n")])
def test_the_thinking_is_closed_on_a_line_of_its_own(text: str, closed: str) -> None:
    parts = find_dialect("chatml").close(text)
    assert "".join(part if isinstance(part, str) else part.text for part in parts) == closed


@pytest.mark.parametrize(("text", "cue"), [("", "Wait"), ("So", "\nWait"), ("So\n\n", "Wait")])
def test_the_cue_to_go_on_stands_on_a_line_of_its_own(text: str, cue: str) -> None:
    assert find_dialect("chatml").resume(text) == cue


@pytest.mark.parametrize("name", sorted(DIALECTS))
@pytest.mark.parametrize(
    "question", [Question("answer"), Question("check"), Question("judge"), Question("rewrite", "So.", True), Question("free", "Why?")]
)
def test_every_dialect_can_be_asked_everything(name: str, question: Question) -> None:
    spoken = find_dialect(name)
    asking = spoken.ask(question, MESSAGES, "So.")
    assert asking.follows_chain == (question.kind != "rewrite")
    assert bool(asking.stop) == (question.kind in ("answer", "check", "judge") and name != "chat")  # where no reply is begun
    assert all(part.text in spoken.special_tokens for part in asking.parts if isinstance(part, SpecialToken))
    said = "".join(part for part in asking.parts if isinstance(part, str))
    assert question.text in said
    assert ("question" in said) == question.ask_follow_up


def test_a_rewrite_prompt_has_the_problem_without_the_system_message() -> None:
    said = "".join(str(part) for part in find_dialect("chatml").ask(Question("rewrite", "So."), MESSAGES, "").parts)
    assert "6*7?" in said
    assert "Be brief." not in said


def test_an_unknown_dialect_names_the_known_ones() -> None:
    with pytest.raises(UnknownNameError, match="unknown dialect 'chatmll'; did you mean 'chatml'"):
        find_dialect("chatmll")


@pytest.mark.parametrize("score", range(10))
@pytest.mark.parametrize("reply", ["{}}}", " {} }}.\n", "{}}}$ is its score", "67, {}.\n\n", "167, {}."])
def test_a_verdict_is_the_digit_of_a_whole_reply(score: int, reply: str) -> None:
    assert parse_score(reply.format(score)) == score


@pytest.mark.parametrize("whole", ["10}", "1.5}", "9/10}", "67, 10.\n\n", "9, 12.\n\n", "{1}", "-1}", "1, 9}"])
def test_no_part_of_a_reply_off_the_scale_is_a_score(whole: str) -> None:
    assert {parse_score(whole[:cut]) for cut in range(len(whole) + 1)} == {None}


@pytest.mark.parametrize("whole", ["9}", "67, 9.", "9, 0."])
def test_a_truncated_reply_has_no_score(whole: str) -> None:
    assert parse_score(whole) is not None
    assert {parse_score(whole[:cut]) for cut in range(len(whole))} == {None}


@pytest.mark.parametrize(
    ("name", "whole", "score"),
    [("chatml", "8}", 8), ("chatml", "10}", None), ("bundled", "67, 9.\n\n", 9), ("bundled", "9, 67.\n\n", None)],
)
async def test_a_judge_that_runs_into_its_limit_gives_no_verdict(name: str, whole: str, score: int | None) -> None:
    for limit in range(1, 20):
        chain = started(Problem.of("6*7?"), scripted_pair(f"{whole}8}} 9.", dialect=name))
        reply = (await chain.ask("big", Question("judge"), max_tokens=limit)).text
        assert reply == whole[:limit]
        assert parse_score(reply) == (score if reply.startswith(whole.strip()) else None)


@given(st.text())
def test_a_verdict_is_on_the_scale_or_none(reply: str) -> None:
    assert parse_score(reply) in {None, *range(10)}


@pytest.mark.parametrize("reply", ["", "Surely right.", "Score: 10", "it ends on 67", "9", "}", "٣}", "67, ٩."])
def test_a_reply_without_a_score_gives_no_verdict(reply: str) -> None:
    assert parse_score(reply) is None


@pytest.mark.parametrize("name", sorted(set(DIALECTS) - {"bundled"}))
@given(text=st.text())
def test_a_judge_is_asked_in_a_turn_whose_markers_no_text_can_forge(name: str, text: str) -> None:
    spoken = find_dialect(name)
    asking = spoken.ask(Question("judge"), MESSAGES, text)
    marks = [part for part in asking.parts if isinstance(part, SpecialToken)]
    assert marks == [part for part in spoken.ask(Question("judge"), MESSAGES, "So.\n\n").parts if isinstance(part, SpecialToken)]
    assert asking.parts[-1] == ("assistant\n" if name == "chat" else spoken.judge_cue)
    assert asking.stop == (() if name == "chat" else ("}",))


@given(st.text())
def test_the_pair_is_cued_to_judge_on_a_line_of_its_own(text: str) -> None:
    asking = find_dialect("bundled").ask(Question("judge"), MESSAGES, text)
    assert all(isinstance(part, str) for part in asking.parts)
    assert asking.follows_chain
    assert not text or "".join([text, *map(str, asking.parts)]).endswith("\nScore: ")


@pytest.mark.parametrize(
    ("name", "told", "shown"), [("chatml", "about: the plan", "Hint: Add.\n\n"), ("bundled", "Hint 2:", "Hint 2: Add.\n\n")]
)
async def test_a_hint_is_asked_for_and_shown(name: str, told: str, shown: str) -> None:
    chain = started(Problem.of("6*7?"), scripted_pair(" Add. ", dialect=name))
    hint = await chain.ask("big", Question("hint", "the plan", level=2))
    assert told in chain.engines["big"].calls[0][1]  # type: ignore[attr-defined]
    assert chain.dialect("big").show_hint(hint.text, 2) == shown
