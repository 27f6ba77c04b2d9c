"""Prompts of each model family, compared with its published chat template."""

from pathlib import Path

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st

import speculative
from speculative.errors import UnknownNameError, UsageError
from speculative.problem import Message
from speculative.prompts import DIALECTS, Question, SpecialToken, detect_dialect, find_dialect, known_dialects, load_dialect
from speculative.settings import Settings
from speculative.testing import ScriptedEngine, ScriptedTokenizer

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
    ("chatml-plain", "talk"): "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think>\nhm\n</think>\n\nHello.<|im_end|>\n"
    "<|im_start|>user\n1+1?<|im_end|>\n<|im_start|>assistant\n",
    ("chatml-plain", "ruled"): "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n1+1?<|im_end|>\n<|im_start|>assistant\n",
    ("gemma", "spaced"): "<bos><start_of_turn>user\n<end_of_turn>\n<start_of_turn>model\n\n\nHello.<end_of_turn>\n"
    "<start_of_turn>user\n1+1?<end_of_turn>\n<start_of_turn>model\n",
    ("gemma", "ruled"): "<bos><start_of_turn>user\nBe brief.\n\n1+1?<end_of_turn>\n<start_of_turn>model\n",
    ("bundled", "ruled"): "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n1+1?<|im_end|>\n<|im_start|>assistant\n<think>\n",
}


PIECES = ("", " ", "\n", "Hi", "<think>", "</think>", "<|im_start|>", "<|im_end|>", "{{ 1 }}", "{% raw %}", "é")
TEXTS = st.lists(st.sampled_from(PIECES), max_size=5)
EARLIER = st.lists(st.builds(Message, st.sampled_from(["system", "user", "assistant"]), TEXTS.map("".join)), max_size=4)


def shown(parts):
    return "".join(part.text if isinstance(part, SpecialToken) else part for part in parts)


@pytest.mark.parametrize(("name", "talk"), PUBLISHED)
def test_prompts_equal_the_rendered_template(name, talk):
    assert shown(find_dialect(name).prompt({"talk": TALK, "spaced": SPACED, "ruled": RULED}[talk], "")) == PUBLISHED[name, talk]


@given(EARLIER, TEXTS.map("".join))
def test_prompts_of_any_conversation_equal_the_rendered_template(earlier, last):
    template = (Path(speculative.__file__).parent / "bundled" / "big" / "chat_template.jinja").read_text()
    turns = [*earlier, Message("user", last)]
    told = [{"role": turn.role, "content": turn.content} for turn in turns]
    rendered = jinja2.Template(template, keep_trailing_newline=False).render(messages=told, add_generation_prompt=True)
    assert shown(find_dialect("bundled").prompt(turns, "")) == rendered


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("after", [Message("assistant", "Well"), Message("system", "Be brief.")])
def test_the_instruction_joins_the_last_message_of_the_user(name, after):
    said = shown(find_dialect(name).prompt([Message("user", "Hi"), Message("user", "1+1?"), after], "Box it."))
    assert "1+1?\nBox it." in said
    assert said.count("Box it.") == 1
    assert after.content in said


@pytest.mark.parametrize("name", DIALECTS)
def test_system_texts_alone_get_the_instruction(name):
    assert "Be brief.\nBox it." in shown(find_dialect(name).prompt(RULED[:1], "Box it."))


@pytest.mark.parametrize("name", DIALECTS)
def test_the_instruction_joins_the_last_message_only(name):
    family = find_dialect(name)
    assert "1+1?\nBox it." in shown(family.prompt(RULED, "Box it."))
    assert shown(family.prompt(TALK, "Box it.")).count("Box it.") == 1


@pytest.mark.parametrize("name", DIALECTS)
def test_markers_in_messages_stay_text(name):
    family = find_dialect(name)
    hostile = "".join(family.special_tokens)
    marks = [part for part in family.prompt([Message("user", hostile)], "") if isinstance(part, SpecialToken)]
    assert marks == [part for part in family.prompt([Message("user", "?")], "") if isinstance(part, SpecialToken)]
    assert {mark.text for mark in marks} <= set(family.special_tokens)


@pytest.mark.parametrize("name", DIALECTS)
@pytest.mark.parametrize("kind", ["answer", "check", "judge", "rewrite", "free"])
def test_every_question_can_be_put(name, kind):
    family = find_dialect(name)
    asking = family.ask(Question(kind, "Is it right?"), RULED, "So it is 2.\n\n")
    text = shown(asking.parts)
    assert asking.follows_chain == (kind != "rewrite")
    if kind == "free":
        thinking = f"{family.think_start}\n\n{family.think_end}\n\n" if family.think_end else ""
        assert text.endswith(thinking or shown(family.prompt(RULED, ""))[-10:])
        assert text.startswith(family.think_end or family.stop_tokens[0])
        assert "Is it right?" in text
    if kind == "rewrite":
        assert "1+1?" in text
        assert text.startswith(family.begin) or family.begin == family.stop_tokens[0]


def test_the_answer_of_a_conversation_is_a_turn_of_its_own():
    text = shown(find_dialect("chat").close("So it is 2."))
    assert text.startswith("<|im_end|>\n<|im_start|>user\nStop thinking here")
    assert text.endswith("\\boxed{}.<|im_end|>\n<|im_start|>assistant\n")


@pytest.mark.parametrize("name", [name for name in DIALECTS if name != "chat"])
def test_the_thinking_is_closed_on_a_line_of_its_own(name):
    family = find_dialect(name)
    assert shown(family.close("So it is 2.\n\n")) == f"{family.think_end}{family.answer_opening}"
    assert shown(family.close("So it is 2.")) == f"\n{family.think_end}{family.answer_opening}"
    assert family.answer_opening == "\n\n" or not family.think_end


# ---- dialects of users -----------------------------------------------------------------------------------------------

MINE = """
from speculative.prompts import Dialect

class Mine(Dialect):
    name = "mine"
    think_start = think_end = ""
    stop_tokens = ("<|im_end|>",)
"""


@pytest.fixture
def known():
    """The known dialects, as they were before."""
    known_dialects.cache_clear()
    yield
    known_dialects.cache_clear()


def test_a_dialect_by_path_is_known_under_its_name(tmp_path, known):
    file = tmp_path / "mine.py"
    file.write_text(MINE)
    with pytest.raises(UnknownNameError, match="unknown dialect 'mine'"):
        find_dialect("mine")
    assert load_dialect(f"{file}:Mine") == load_dialect(str(file)) == load_dialect("mine") == "mine"
    assert find_dialect("mine").special_tokens == ("<|im_start|>", "<|im_end|>")
    file.write_text(MINE.replace('("<|im_end|>",)', '("<|endoftext|>",)'))
    load_dialect(str(file))
    assert find_dialect("mine").stop_tokens == ("<|endoftext|>",)


@pytest.mark.parametrize(
    ("code", "spec", "message"),
    [
        (None, "x.py", "x.py does not exist"),
        ("1/0", "x.py", "cannot be loaded: ZeroDivisionError"),
        (MINE, "x.py:Yours", "unknown dialect class in x.py 'Yours'"),
        ("", "x.py", "must hold one dialect, got 0"),
        (MINE.replace('"mine"', '"qwen3"'), "x.py", "the dialect 'qwen3' of .* must have a unique name"),
        (MINE + "\n    def __init__(self, size): ...", "x.py", "must take no arguments"),
    ],
)
def test_a_path_that_gives_no_dialect_says_why(code, spec, message, tmp_path, known):
    if code is not None:
        (tmp_path / "x.py").write_text(code)
    with pytest.raises(UsageError, match=message):
        load_dialect(f"{tmp_path}/{spec}")
    assert find_dialect("qwen3") is DIALECTS["qwen3"]


def test_a_dialect_of_an_installed_package_is_found_by_name(tmp_path, monkeypatch, known):
    (tmp_path / "theirs.py").write_text(MINE)
    info = tmp_path / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[speculative.dialects]\nmine = theirs:Mine\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert find_dialect("mine").think_end == ""


def test_paths_are_code_and_never_taken_from_a_trace_or_the_settings(tmp_path, known):
    (tmp_path / "mine.py").write_text(MINE)
    with pytest.raises(UnknownNameError):
        find_dialect(str(tmp_path / "mine.py"))
    with pytest.raises(UsageError, match="a dialect in the settings must be a name"):
        Settings(servers={"big": {"dialect": str(tmp_path / "mine.py")}})
    assert Settings(servers={"big": {"dialect": "qwen3"}}).servers["big"].dialect == "qwen3"


async def test_a_model_without_special_tokens_for_its_thinking_thinks_and_answers(tmp_path, known):
    (tmp_path / "mine.py").write_text(MINE)
    name = load_dialect(str(tmp_path / "mine.py"))
    script = "6*7 is 42.\n\nSo it is 42.<|im_end|>"
    seen = []

    def say(prefix, seed):
        seen.append(prefix)
        return "\\boxed{42}<|im_end|>" if prefix.endswith("The final answer:\n\n") or "answer" in prefix else script

    engine = ScriptedEngine(say, dialect="chatml-plain")
    result = await speculative.asolve("6*7?", "big_only", pair=speculative.Pair(engine, engine), max_tokens=200, answer_instruction="")
    assert (result.reasoning, result.text, result.finish_reason) == ("6*7 is 42.\n\nSo it is 42.", "\\boxed{42}", "stop")
    assert seen[0] == "<|im_start|>user\n6*7?<|im_end|>\n<|im_start|>assistant\n"
    assert seen[1] == f"{seen[0]}6*7 is 42.\n\nSo it is 42.\n\nThe final answer:\n\n"
    engine = ScriptedEngine("6*7 is 42.<|im_end|>", dialect=name)
    result = await speculative.asolve("6*7?", "small_only", pair=speculative.Pair(engine, engine), max_tokens=200)
    assert result.reasoning == "6*7 is 42."


def test_models_without_special_tokens_for_their_thinking_are_detected():
    tokenizer = ScriptedTokenizer()
    tokenizer.special_tokens = {"<|im_start|>": 1, "<|im_end|>": 2, "<|endoftext|>": 3}
    assert detect_dialect(tokenizer) == "chatml-plain"
    tokenizer.special_tokens = {"<bos>": 1, "<eos>": 2, "<start_of_turn>": 3, "<end_of_turn>": 4}
    assert detect_dialect(tokenizer) == "gemma"
