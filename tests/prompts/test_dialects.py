"""Each family's prompts, held against what that family's published chat template renders."""

from pathlib import Path

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st

import speculative
from speculative.problem import Message
from speculative.prompts import DIALECTS, Mark, Question, dialect

TALK = [Message("user", "Hi"), Message("assistant", "<think>\nhm\n</think>\n\nHello."), Message("user", "1+1?")]
SPACED = [Message("user", ""), Message("assistant", "\n\nHello."), Message("user", "1+1?")]
RULED = [Message("system", "Be brief."), Message("user", "1+1?")]

# What transformers' apply_chat_template(…, add_generation_prompt=True) gives for these conversations (Qwen3 opens the thinking itself as
# its first token; we open it, so that budgets and hand-overs begin inside of it).
PUBLISHED = {
    ("qwen3", "talk"): "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\nHello.<|im_end|>\n<|im_start|>user\n1+1?<|im_end|>\n"
    "<|im_start|>assistant\n<think>\n",
    ("qwen3", "spaced"): "<|im_start|>user\n<|im_end|>\n<|im_start|>assistant\n\n\nHello.<|im_end|>\n<|im_start|>user\n1+1?<|im_end|>\n"
    "<|im_start|>assistant\n<think>\n",
    ("qwen3", "ruled"): "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n1+1?<|im_end|>\n<|im_start|>assistant\n<think>\n",
    (
        "deepseek-r1",
        "talk",
    ): "<｜begin▁of▁sentence｜><｜User｜>Hi<｜Assistant｜>\n\nHello.<｜end▁of▁sentence｜><｜User｜>1+1?<｜Assistant｜><think>\n",  # noqa: RUF001
    ("deepseek-r1", "ruled"): "<｜begin▁of▁sentence｜>Be brief.<｜User｜>1+1?<｜Assistant｜><think>\n",  # noqa: RUF001
    ("think", "talk"): "<s>User: Hi\n\nAssistant: <think>\nhm\n</think>\n\nHello.\n\nUser: 1+1?\n\nAssistant: <think>\n",
    ("think", "ruled"): "<s>System: Be brief.\n\nUser: 1+1?\n\nAssistant: <think>\n",
    ("think-endoftext", "ruled"): "System: Be brief.\n\nUser: 1+1?\n\nAssistant: <think>\n",
    ("bundled", "ruled"): "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n1+1?<|im_end|>\n<|im_start|>assistant\n<think>\n",
}


PIECES = ("", " ", "\n", "Hi", "<think>", "</think>", "<|im_start|>", "<|im_end|>", "{{ 1 }}", "{% raw %}", "é")
TEXTS = st.lists(st.sampled_from(PIECES), max_size=5)
EARLIER = st.lists(st.builds(Message, st.sampled_from(["system", "user", "assistant"]), TEXTS.map("".join)), max_size=4)


def shown(parts):
    return "".join(part.text if isinstance(part, Mark) else part for part in parts)


@pytest.mark.parametrize(("name", "talk"), PUBLISHED)
def test_prompts_are_what_the_template_renders(name, talk):
    assert shown(dialect(name).prompt({"talk": TALK, "spaced": SPACED, "ruled": RULED}[talk], "")) == PUBLISHED[name, talk]


@given(EARLIER, TEXTS.map("".join))
def test_whatever_was_said_the_pair_reads_what_its_own_template_renders(earlier, last):
    template = (Path(speculative.__file__).parent / "bundled" / "big" / "chat_template.jinja").read_text()
    turns = [*earlier, Message("user", last)]
    told = [{"role": turn.role, "content": turn.content} for turn in turns]
    rendered = jinja2.Template(template, keep_trailing_newline=False).render(messages=told, add_generation_prompt=True)
    assert shown(dialect("bundled").prompt(turns, "")) == rendered


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("after", [Message("assistant", "Well"), Message("system", "Be brief.")])
def test_the_instruction_joins_the_last_message_of_the_user_whoever_spoke_last(name, after):
    said = shown(dialect(name).prompt([Message("user", "Hi"), Message("user", "1+1?"), after], "Box it."))
    assert "1+1?\nBox it." in said
    assert said.count("Box it.") == 1
    assert after.content in said


@pytest.mark.parametrize("name", DIALECTS)
def test_rules_alone_are_told_with_the_instruction(name):
    assert "Be brief.\nBox it." in shown(dialect(name).prompt(RULED[:1], "Box it."))


@pytest.mark.parametrize("name", DIALECTS)
def test_the_instruction_joins_the_last_message_only(name):
    family = dialect(name)
    assert "1+1?\nBox it." in shown(family.prompt(RULED, "Box it."))
    assert shown(family.prompt(TALK, "Box it.")).count("Box it.") == 1


@pytest.mark.parametrize("name", DIALECTS)
def test_markers_in_messages_stay_text(name):
    family = dialect(name)
    hostile = "".join(family.markers)
    marks = [part for part in family.prompt([Message("user", hostile)], "") if isinstance(part, Mark)]
    assert marks == [part for part in family.prompt([Message("user", "?")], "") if isinstance(part, Mark)]
    assert {mark.text for mark in marks} <= set(family.markers)


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("kind", ["answer", "check", "judge", "rewrite", "free"])
def test_every_question_can_be_put(name, kind):
    family = dialect(name)
    asking = family.ask(Question(kind, "Is it right?"), RULED, "So it is 2.\n\n")
    text = shown(asking.parts)
    assert asking.follows_chain == (kind != "rewrite")
    if kind == "free":
        assert text.endswith(f"{family.think}\n\n{family.unthink}\n\n")
        assert text.startswith(family.unthink)
        assert "Is it right?" in text
    if kind == "rewrite":
        assert "1+1?" in text
        assert text.startswith(family.begin) or family.begin == family.ends[0]


@pytest.mark.parametrize("name", DIALECTS)
def test_the_thinking_is_closed_on_a_line_of_its_own(name):
    family = dialect(name)
    assert shown(family.close("So it is 2.\n\n")) == f"{family.unthink}\n\n"
    assert shown(family.close("So it is 2.")) == f"\n{family.unthink}\n\n"
