"""Controls: their choice, and their distance from the method."""

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from samples import sample

from speculative.evaluate.controls import CLOSE, MOST_BALLOTS, SMALL, TRIES, controls, speculation
from speculative.methods import Method, build
from speculative.methods.spec import parse_methods
from speculative.stats.prices import Prices
from speculative.testing import ScriptedEngine
from speculative.trace.usage import Usage

PRICES = Prices.model_validate({"flops": {"parameters": {"big": 10.0, "small": 1.0}}})
TOKENS = 100_000


def chains(label, kept, produced=TOKENS, **more):
    """One chain that kept so large a share of big's tokens, and produced so many in all."""
    big, small = round(TOKENS * kept), round(TOKENS * (1 - kept))
    waste = produced - TOKENS
    usage = {"big": Usage(produced_tokens=big + waste, kept_tokens=big, discarded_tokens=waste)} if big or waste else {}
    return [sample(label=label, usage=usage | {"small": Usage(produced_tokens=small, kept_tokens=small)}, **more)]


def run(spec, samples, kept_at=lambda share: share, prices=PRICES, small=TOKENS):
    """Drives the rounds; `kept_at` is the kept share of `random_switch` at a share. What was asked for, and the notes."""
    rounds = controls(parse_methods(spec), samples, prices, "flops")
    asked, sent = [], None
    while True:
        try:
            wanted = next(rounds) if sent is None else rounds.send(sent)
        except StopIteration as over:
            return asked, over.value
        asked.append(wanted)
        sent = {one.label: answer(one, kept_at, small) for one in wanted}


def answer(one, kept_at, small):
    if one.name == "random_switch":
        return chains(one.label, kept_at(one.params["big_share"]))
    ballots = 1 if one is SMALL else one.params["vote"]["ballots"]
    read = small // 5  # the problem, which is read once for all ballots
    usage = {"small": Usage(prompt_tokens=read, produced_tokens=small * ballots, kept_tokens=small)}
    return [sample(label=one.label, usage=usage)]


def shares(asked):
    return [one.params["big_share"] for wanted in asked for one in wanted if one.name == "random_switch"]


@given(st.floats(0.01, 0.99), st.floats(0, 0.3), st.floats(0.6, 1.6), st.sampled_from(["big", "small"]))
def test_the_kept_share_is_matched_within_a_point(target, answers, bend, answer_by):
    def kept_at(share):
        thinking = (1 - answers) * share**bend
        return thinking + (answers if answer_by == "big" else 0)

    reachable = kept_at(0) <= target <= kept_at(1)
    asked, notes = run(f"spec_rewrite(answer_by={answer_by})", {f"spec_rewrite(answer_by={answer_by})": chains("x", target)}, kept_at)
    tried = shares(asked)
    assert len(set(tried)) == len(tried) <= TRIES
    off = min((abs(kept_at(share) - target) for share in tried), default=0)
    if reachable:
        assert off <= CLOSE + 1e-4
        assert not [note for note in notes if "random_switch" in note]
    elif off > CLOSE + 1e-4:
        assert any(f"differs by {100 * off:.1f} points" in note for note in notes)


def test_a_share_without_a_match_gives_a_note():
    asked, (note, *_) = run("spec_rewrite", {"spec_rewrite": chains("x", 0.5)}, lambda share: 0.47 if share < 0.52 else 0.54)
    assert len(set(shares(asked))) == TRIES
    assert note.startswith("spec_rewrite: the closest random_switch differs by 3.0 points in kept share, more than 1")


def test_labels_of_controls_name_their_method():
    asked, _ = run("logprob_subselect(stok=8,ltok=24)", {"logprob_subselect(stok=8,ltok=24)": chains("x", 0.5)})
    (small, few), (switch, vote) = asked
    assert small is SMALL
    assert (few.label, few.control_of) == ("vote(ballots=4)*small_only like small_only", "small_only")
    assert switch.label == "random_switch(big_share=0.5,switch_chunk=16) like logprob_subselect(stok=8,ltok=24)"
    assert switch.control_of == vote.control_of == "logprob_subselect(stok=8,ltok=24)"
    assert (switch.params["switch_chunk"], switch.params["unit"], switch.params["answer_by"]) == (16, "chunk", "big")
    assert vote.name == "vote*small_only"


class Mine(Method):
    """A method that says nothing of its unit."""


class Paragraphs(Mine):
    """One that does."""

    every: int = 40

    @property
    def switch_unit(self) -> int | Literal["step"]:
        return self.every


@pytest.mark.parametrize(
    ("method", "unit"),
    [
        (Mine(), "step"),
        (Paragraphs(every=7), 7),
        (build("spec_rewrite"), "step"),
        (build("random_switch", {"unit": "step"}), "step"),
        (build("random_switch", {"switch_chunk": 3}, ["early_exit"]), 3),
    ],
)
def test_a_method_states_its_own_unit(method, unit):
    assert method.switch_unit == unit


@pytest.mark.parametrize("spec", ["big_only", "small_only", "random_switch(big_share=0.2)", "vote(ballots=3)*small_only"])
def test_baselines_have_no_controls(spec):
    label = parse_methods(spec)[0].label
    assert run(spec, {label: chains("x", 0.0 if "small" in spec else 0.4)}) == ([], [])


def test_a_wrapped_baseline_is_a_method():
    asked, _ = run("early_exit*random_switch", {"early_exit*random_switch": chains("x", 0.4)})
    assert len(asked[1]) == 2


def test_where_one_model_keeps_all_chance_is_a_baseline():
    asked, _ = run("placeholder", {"placeholder": chains("x", 1.0)})
    assert [[one.name for one in wanted] for wanted in asked] == [["small_only", "vote*small_only"], ["vote*small_only"]]


@pytest.mark.parametrize(("produced", "ballots"), [(TOKENS, 10), (2 * TOKENS, 20), (20 * TOKENS, MOST_BALLOTS)])
def test_small_casts_as_many_ballots_as_cost_the_same(produced, ballots):
    asked, notes = run("placeholder", {"placeholder": chains("x", 1.0, produced)})
    assert asked[-1][-1].params["vote"]["ballots"] == ballots
    assert any("ballots would cost the same; 64, the limit, were used" in note for note in notes) == (ballots == MOST_BALLOTS)


def test_small_is_not_run_again_if_it_is_there():
    asked, _ = run("placeholder,small_model_only", {"placeholder": chains("x", 1.0), "small_model_only": answer(SMALL, None, TOKENS)})
    assert [[one.label.split("*")[0] for one in wanted] for wanted in asked] == [["vote(ballots=4)"], ["vote(ballots=10)"]]
    assert asked[0][0].control_of == "small_model_only"


def test_without_prices_there_is_no_equal_cost():
    asked, (note,) = run("placeholder", {"placeholder": chains("x", 1.0)}, prices=Prices())
    assert asked == []
    assert note.startswith("placeholder: no vote at equal cost")
    assert "--prices" in note


def test_the_same_samples_ask_for_the_same_controls():
    known = {"spec_rewrite": chains("x", 0.37), "placeholder": chains("y", 1.0)}
    first, second = (run("spec_rewrite,placeholder", known, lambda share: 0.1 + 0.8 * share)[0] for _ in range(2))
    assert [[one.label for one in wanted] for wanted in first] == [[one.label for one in wanted] for wanted in second]


def test_the_note_on_token_speculation():
    assert "is not available" in speculation(ScriptedEngine("x"))
    assert "uses token speculation" in speculation(ScriptedEngine("x", abilities=frozenset({"speculates"})))
