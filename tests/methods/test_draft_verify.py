"""Token speculation."""

from __future__ import annotations

from typing import Any

import pytest
from solving import counts, solved, steps, texts

from speculative import Result
from speculative.testing import ScriptedEngine

WHOLE = steps("One step.", "And another.")


class Knowing(ScriptedEngine):
    """Finds likely what its script would write next, and nothing else."""

    def __init__(self, script: str, **settings: Any) -> None:
        super().__init__(script, name="big", **settings)
        self.whole = script

    async def score(self, prefixes: Any, continuations: Any, **settings: Any) -> Any:
        found = await super().score(prefixes, continuations, **settings)
        for prefix, given, scores in zip(prefixes, continuations, found, strict=True):
            thought = self._tokenizer.show(prefix).rpartition("<think>\n")[2]
            rest = self.tokenizer.encode(self.whole.partition("</think>")[0][len(thought) :])
            right = [place < len(rest) and token == rest[place] for place, token in enumerate(given)]
            scores[:] = [-0.1 if one else -5.0 for one in right]
            scores.top = tuple(((token, -0.1),) for token in given)
        return found


def verified(small: Any, whole: str = WHOLE, **settings: Any) -> Result:
    return solved("draft_verify", Knowing(whole), small, **settings)


@pytest.mark.parametrize("tokens", [1, 3, 8, 64])
@pytest.mark.parametrize(
    "small", [WHOLE, WHOLE.upper(), steps("One stop.", "And another."), "x" * 99, "", "</think>no", WHOLE[:12] + "</think>no"]
)
def test_the_text_is_that_of_big_alone(small: str, tokens: int) -> None:
    result = verified(small, draft_tokens=tokens)
    assert result.reasoning == "One step.\n\nAnd another.\n\n"
    assert result.text == "42"


def test_a_draft_that_big_agrees_with_saves_calls() -> None:
    agreed, alone = verified(WHOLE), verified("zzzzzzzzz")
    assert counts(agreed, "Wrote", "big") == 3
    assert counts(alone, "Wrote", "big") == len("One step.\n\nAnd another.\n\n") + 1
    assert texts(agreed)[0] == "s One step"


def test_only_the_agreed_tokens_stay() -> None:
    result = verified(steps("One stop.", "And another."), draft_tokens=8)
    assert texts(result)[0] == "s One st"
    assert texts(result)[1].startswith("b ep.")
    assert result.usage["small"].discarded_tokens >= 2


@pytest.mark.parametrize("settings", [{"max_tokens": 12, "answer_tokens": 4}, {"max_produced": 16}])
def test_a_budget_that_is_used_up_ends_the_rounds(settings: dict[str, int]) -> None:
    result = verified(WHOLE, draft_tokens=8, **settings)
    assert result.finish_reason == "length"
    assert "One step.\n\nAnd another.\n\n".startswith(result.reasoning)


def test_a_small_model_without_room_ends_the_rounds() -> None:
    found = [verified(ScriptedEngine(WHOLE, name="small", context=context), draft_tokens=8) for context in range(30, 60, 2)]
    assert {result.finish_reason for result in found} == {"context", "stop"}
    assert all("One step.\n\nAnd another.\n\n".startswith(result.reasoning) for result in found)
