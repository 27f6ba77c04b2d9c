"""Steps and loops."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speculative.chain.steps import LOOP_PERIOD, Steps


def test_a_step_ends_with_its_blank_line() -> None:
    steps = Steps("One.\n\nTwo.\nStill two.\n\nThr")
    assert (steps.done, steps.partial) == (["One.\n\n", "Two.\nStill two.\n\n"], "Thr")


@given(st.lists(st.text("ab\n", max_size=6)))
def test_steps_do_not_depend_on_how_the_text_arrives(parts: list[str]) -> None:
    steps = Steps()
    completed = sum(steps.add(part) for part in parts)
    whole = Steps("".join(parts))
    assert (steps.done, steps.partial) == (whole.done, whole.partial)
    assert completed == len(whole.done)


@given(st.text("ab\n", max_size=9), st.text("ab\n", max_size=9))
def test_rewinding_gives_the_steps_of_before(text: str, more: str) -> None:
    steps = Steps(text)
    mark = steps.mark
    steps.add(more)
    steps.rewind(mark)
    assert (steps.done, steps.partial) == (Steps(text).done, Steps(text).partial)


@pytest.mark.parametrize("block", [["a"], ["a", "b"], [str(i) for i in range(LOOP_PERIOD)]])
def test_a_block_of_steps_three_times_over_is_a_loop(block: list[str]) -> None:
    text = "".join(f"{step}\n\n" for step in block)
    assert not Steps("start\n\n" + text * 2).looping
    assert Steps("start\n\n" + text * 3).looping
    assert not Steps("start\n\n" + text * 3 + "out of it\n\n").looping


@pytest.mark.parametrize("text", ["", "a\n\na\n\n", "a\n\nb\n\na\n\nc\n\na\n\n", "".join(f"{i}\n\n" for i in range(LOOP_PERIOD + 1)) * 3])
def test_checking_twice_and_coming_back_is_no_loop(text: str) -> None:
    assert not Steps(text).looping
