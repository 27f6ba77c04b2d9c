"""A limit on the tokens of the thinking: the answer follows, and nothing else changes."""

import pytest

from speculative import Pair, Problem, asolve
from speculative.errors import UsageError
from speculative.testing import ScriptedEngine

METHODS = ("big_only", "small_only", "random_switch", "logprob_subselect", "spec_rewrite", "placeholder")


def aloud(seen, seed):
    """Thinks in steps for longer than it may, and answers when it is asked to."""
    _, closed, answer = seen.partition("</think>\n\n")
    if closed:
        return "The answer is \\boxed{4}.<|im_end|>"[len(answer) :]
    return "".join(f"{number:03d}" + "\n\n" * (number % 10 == 0) for number in range(len(seen), len(seen) + 900))


def pair():
    return Pair(ScriptedEngine(aloud, name="B", width=3), ScriptedEngine(aloud, name="S", width=3))


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("limit", [1, 10, 100])
async def test_no_method_thinks_for_longer(name, limit):
    result = await asolve(Problem.of("6*7?", max_thinking=limit, max_tokens=1000), name, pair=pair())
    thought = sum(piece.kept for piece in result.trace.ledger.pieces if piece.phase == "thinking")
    assert thought <= limit
    assert (result.finish_reason, result.text) == ("stop", "The answer is \\boxed{4}.")


async def test_the_limit_is_used_up():
    result = await asolve(Problem.of("6*7?", max_thinking=37, max_tokens=1000), "random_switch", pair=pair())
    assert sum(piece.kept for piece in result.trace.ledger.pieces if piece.phase == "thinking") == 37


async def test_a_limit_that_is_not_reached_changes_nothing():
    text = "Four.\n\n</think>\n\nThe answer is \\boxed{4}.<|im_end|>"
    results = []
    for limit in (None, 500):
        engines = Pair(ScriptedEngine(text, name="B"), ScriptedEngine(text, name="S"))
        results.append(await asolve(Problem.of("6*7?", max_thinking=limit), "random_switch", pair=engines))
    assert results[0].trace.timeless()[1:] == results[1].trace.timeless()[1:]


async def test_max_tokens_still_holds():
    result = await asolve(Problem.of("6*7?", max_thinking=5000, max_tokens=80), "big_only", pair=pair())
    assert result.finish_reason == "length"
    assert sum(piece.kept for piece in result.trace.ledger.pieces if piece.phase == "thinking") == 70


@pytest.mark.parametrize("limit", [0, -1, 1.5, True])
def test_a_limit_is_a_positive_integer(limit):
    with pytest.raises(UsageError, match="max_thinking"):
        Problem.of("6*7?", max_thinking=limit)
