"""Small models that ask for help by tags or get hints: `handoff`, `relay`, `offload`, `advisor`, `guide`."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs
from solving import authors, counts, reasons, solved, texts

from speculative import Pair, Result, solve
from speculative.methods.registry import build
from speculative.testing import ScriptedEngine

# ---- handoff --------------------------------------------------------------------------------------------------------


def test_big_finishes_from_the_tag_on() -> None:
    whole = "Easy. <handoff>Hard. <handoff>Done.</think>42"
    result = solved("handoff", whole, whole)
    assert texts(result) == ["s Easy. <handoff>", "b Hard. <handoff>Done."]
    assert sum(cost.discarded_tokens for cost in result.usage.values()) == 0


def test_without_the_tag_small_writes_alone() -> None:
    result = solved("handoff", "no", "Easy.</think>42", answer_by="small")
    assert (authors(result), result.usage["big"].requests) == ("s", 0)


@pytest.mark.parametrize(("method", "hint"), [("handoff", "Hand off"), ("relay", "Call for help"), ("offload", "Mark the hard steps")])
def test_the_hint_stands_behind_the_problem_and_can_be_left_out(method: str, hint: str) -> None:
    for settings, told in (({}, True), ({"hint": ""}, False)):
        small = ScriptedEngine("a</think>42", name="small")
        solve("Six?", method, pair=Pair(ScriptedEngine("", name="big"), small), answer_instruction="", **settings)
        assert (f"Six?\n{hint}" in small.calls[0][1]) == told


def test_the_hint_of_offload_is_for_small_alone() -> None:
    big = ScriptedEngine("<bigmodel>b", name="big")
    solve("Six?", "offload", pair=Pair(big, ScriptedEngine("a<bigmodel>b</bigmodel></think>42", name="small")), answer_instruction="")
    assert big.calls
    assert not any("Mark the hard steps" in seen for _, seen in big.calls)


# ---- relay ----------------------------------------------------------------------------------------------------------


def relayed(whole: str, **settings: Any) -> Result:
    return solved("relay", whole, whole, **settings)


def test_big_writes_as_many_tokens_as_small_calls_for() -> None:
    result = relayed("One <call>5</call>12345 two <call> 3 </call>123 end</think>42")
    assert texts(result) == ["s One <call>5</call>", "b 12345", "s  two <call> 3 </call>", "b 123", "s  end"]


def test_calls_and_their_tokens_have_a_most() -> None:
    whole = "<call>999</call>abcdef<call>4</call>ghij<call>2</call>kl</think>42"
    result = relayed(whole, max_calls=2, max_tokens_per_call=6)
    assert texts(result) == ["s <call>999</call>", "b abcdef", "s <call>4</call>", "b ghij", "s <call>2</call>kl"]


@pytest.mark.parametrize("tag", ["<call></call>", "<call>many</call>", "<call>0</call>", "<call>3</ca", "5</call>"])
def test_a_tag_without_a_number_is_text(tag: str) -> None:
    result = relayed(f"a {tag} b</think>42")
    assert (authors(result), result.reasoning) == ("s", f"a {tag} b")


# ---- offload --------------------------------------------------------------------------------------------------------


def offloaded(whole: str, big: str | None = None, **settings: Any) -> Result:
    return solved("offload", big or whole, whole, **settings)


def test_big_writes_the_marked_part_until_small_closes_it() -> None:
    result = offloaded("Easy. <bigmodel>Hard.\n\nHarder.\n\n</bigmodel>Easy.</think>42", chunk=64, probe_tokens=15)
    assert texts(result) == ["s Easy. <bigmodel>", "b Hard.\n\nHarder.\n\n", "s </bigmodel>Easy."]
    assert reasons(result) == ["it does not close the part"]
    assert counts(result, "Drafted", "big") == counts(result, "Drafted", "small") == 2


def test_what_small_writes_before_the_closing_tag_stays() -> None:
    result = offloaded("<bigmodel>Hard. So.</bigmodel>Easy.</think>42", chunk=5, probe_tokens=16)
    assert texts(result) == ["s <bigmodel>", "b Hard.", "s  So.</bigmodel>Easy."]


@pytest.mark.parametrize("chunk", [6, 7, 16])
def test_big_may_begin_the_closing_tag_or_write_it(chunk: int) -> None:
    result = offloaded("<bigmodel>Hard.</bigmodel>Easy.</think>42", chunk=chunk, probe_tokens=20)
    assert result.reasoning == "<bigmodel>Hard.</bigmodel>Easy."
    assert texts(result)[1] == f"b {'Hard.</bigmodel>'[:chunk]}"
    assert not reasons(result)


def test_a_beginning_of_the_tag_that_is_none_closes_nothing() -> None:
    result = offloaded("<bigmodel>a <b /bigmodel> c</bigmodel>d</think>42", chunk=3, probe_tokens=12)
    assert texts(result)[-1] == "s /bigmodel>d"
    assert result.reasoning == "<bigmodel>a <b /bigmodel> c</bigmodel>d"


def test_a_part_that_is_long_enough_is_closed() -> None:
    whole = "<bigmodel>abcdefghij</bigmodel>"
    small = ScriptedEngine(
        lambda seen, seed: "<bigmodel>" if seen.endswith("<think>\n") else "on</think>42" if seen.endswith(">") else "zz", name="small"
    )
    result = solved("offload", whole, small, max_span=6, chunk=4)
    assert texts(result) == ["s <bigmodel>", "b abcdef", "m </bigmodel>", "s on"]


def test_big_may_end_the_thinking_within_a_part() -> None:
    result = offloaded("<bigmodel>no", "<bigmodel>Hard.</think>42")
    assert (texts(result), result.text) == (["s <bigmodel>", "b Hard."], "42")


def test_the_mode_of_the_published_code_is_an_alias() -> None:
    assert solved("spec_reason", "", "a</think>42").method == "offload"


# ---- advisor --------------------------------------------------------------------------------------------------------


def adviser(*advice: str) -> ScriptedEngine:
    left = list(advice)
    return ScriptedEngine(lambda seen, seed: left.pop(0) if "Write a hint" in seen else "never", name="big")


def advised(whole: str, big: ScriptedEngine, **settings: Any) -> tuple[Result, list[str]]:
    def script(seen: str, seed: int) -> str:
        thought = seen.rpartition("<think>\n")[2]
        for advice in ("Hint: One.\n\n", "Hint: Two.\n\n"):
            thought = thought.replace(advice, "")
        return "42" if "</think>" in thought else whole[len(thought) :]

    small = ScriptedEngine(script, name="small")
    result = solved("advisor", big, small, **settings)
    return result, [seen for _, seen in small.calls]


def test_small_asks_by_its_tag_and_only_small_reads_the_advice() -> None:
    big = adviser(" One. ", "Two.")
    result, seen = advised("a <advice>b <advice>c</think>", big)
    assert (result.reasoning, result.text, authors(result)) == ("a <advice>b <advice>c", "42", "s")
    assert seen[1].endswith("a <advice>Hint: One.\n\n")
    assert not any("Hint: One" in read for _, read in big.calls)
    assert (counts(result, "Asked", "big"), counts(result, "Noted")) == (2, 2)
    assert result.usage["big"].kept_tokens == 0


@pytest.mark.parametrize(("most", "asked"), [(0, 0), (1, 1), (3, 2)])
def test_after_the_last_call_small_goes_on_without(most: int, asked: int) -> None:
    result, _ = advised("a <advice>b <advice>c</think>", adviser("One.", "Two."), max_calls=most)
    assert counts(result, "Asked", "big") == asked
    assert result.reasoning == "a <advice>b <advice>c"


def test_small_may_ask_by_hesitating() -> None:
    settings = {"trigger": "hesitation", "hesitate": 2}
    result, seen = advised("Wait.\n\nHmm.\n\nSo.\n\nWait.\n\n</think>", adviser("One."), **settings)
    assert counts(result, "Asked", "big") == 1
    assert seen[2].endswith("Hmm.\n\nHint: One.\n\n")
    assert "Ask for advice" not in seen[0]


def test_small_may_ask_by_its_tag_or_by_hesitating() -> None:
    settings = {"trigger": "either", "hesitate": 2}
    result, seen = advised("Wait.\n\nSo <advice>I do.\n\nWait.\n\nHmm.\n\n</think>", adviser("One.", "Two."), **settings)
    assert counts(result, "Asked", "big") == 2
    assert seen[2].endswith("So <advice>Hint: One.\n\n")
    assert seen[5].endswith("Hmm.\n\nHint: Two.\n\n")
    assert "Ask for advice" in seen[0]


@pytest.mark.parametrize(("most", "asked"), [(0, 0), (1, 1), (2, 2)])
def test_small_may_ask_before_its_first_step(most: int, asked: int) -> None:
    result, seen = advised("a <advice>b</think>", adviser("One.", "Two."), ask_first=True, max_calls=most)
    assert counts(result, "Asked", "big") == asked
    assert seen[0].endswith("Hint: One.\n\n") == (most > 0)
    assert result.reasoning == "a <advice>b"


def test_the_advice_speaks_of_the_given_fields() -> None:
    big = adviser("One.")
    advised("a <advice>b</think>", big, fields="the units")
    assert "about: the units." in big.calls[0][1]


@pytest.mark.parametrize("answer_by", ["small", "big"])
def test_big_continues_no_text_whoever_writes_the_answer(answer_by: str) -> None:
    for name in ("advisor", "guide", "cascade", "whole_draft"):
        assert build(name, {"answer_by": answer_by}).only_asked == {"big"}
    assert build("cascade", {}, ["early_exit"]).only_asked == frozenset()  # it pauses at steps, and goes on


def test_advice_that_says_nothing_is_not_noted() -> None:
    assert counts(advised("a <advice>b</think>", adviser(" "))[0], "Noted") == 0


# ---- guide ----------------------------------------------------------------------------------------------------------


class Doubtful(ScriptedEngine):
    """Sure of its tokens after so many hints."""

    needed = 1

    def _completion(self, prefix: Any, decoding: Any, seed: int) -> Any:
        done = super()._completion(prefix, decoding, seed)
        sure = self._tokenizer.show(prefix).count("Hint: ") >= self.needed
        return structs.replace(done, logprobs=tuple(-0.01 if sure else -1.0 for _ in done.ids) if decoding.logprobs else None)


@pytest.mark.parametrize(("needed", "levels", "hints"), [(1, 3, 1), (2, 3, 2), (3, 3, 3), (9, 3, 3), (9, 1, 1)])
def test_hints_come_until_small_is_sure(needed: int, levels: int, hints: int) -> None:
    small = Doubtful(lambda seen, seed: "42" if "</think>" in seen else "Step.\n\nEnd.</think>", name="small")
    small.needed = needed
    big = ScriptedEngine(lambda seen, seed: "Think.", name="big")
    result = solved("guide", big, small, levels=levels)
    assert (counts(result, "Asked", "big"), counts(result, "Noted")) == (hints, hints)
    assert counts(result, "Rejected") == min(needed - 1, levels - 1, hints)
    assert authors(result) == "s"
    asked = [seen for _, seen in big.calls]
    assert ["the plan" in seen for seen in asked] == [False, True, True][:hints]


def test_without_a_hint_small_solves_alone() -> None:
    result = solved("guide", "", "a</think>42")
    assert (result.reasoning, counts(result, "Noted")) == ("a", 0)
