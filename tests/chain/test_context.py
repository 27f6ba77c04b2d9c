"""How a role sees the chain: what it remembers never differs from what it would build anew."""

from __future__ import annotations

import random

import pytest
from strategies import babble, chain_of

from speculative.chain import context
from speculative.chain.context import View
from speculative.chain.drafts import Draft

WORDS = ("so ", "é", "😀", "\n\n", "42 ")


@pytest.mark.parametrize("seed", range(4))
async def test_a_prefix_that_was_remembered_is_the_one_that_would_be_built(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(context, "REMEMBERED", 3000)  # some ten paths
    chance, script = random.Random(seed), babble(seed, WORDS * 9)
    chain = chain_of(script, script, widths=(1, 1 + seed % 3), max_tokens=100_000, append_only=False)
    drafts: list[Draft] = []
    for turn in range(104):
        role, mark = chance.choice(["big", "small"]), chain.checkpoint()
        if turn % 30 == 29:
            await chain.accept(chance.choice(drafts), keep_descendants=turn % 60 == 29)
            drafts = [draft for draft in drafts if draft.state == "open"]
        elif turn % 30 == 14 and not drafts:
            await chain.write(role, max_tokens=3)
            await chain.rewind(mark)
        above = chance.choice([*drafts[-3:], None])
        drafts += [draft for draft in await chain.draft(role, 1, after=above, max_tokens=4) if not draft.ended]
        assert [draft.depth_tokens for draft in drafts] == [sum(each.tokens for each in draft.path()) for draft in drafts]
        for reader in ("big", "small"):
            seen = chain.parts.contexts.of(reader)
            fresh = View(reader, seen.engine, chain.problem, seen.same, {})
            place = (chain.trace.ledger.entries, drafts[-1] if drafts else None)
            assert seen.prefix(*place) == fresh.prefix(*place)


async def test_an_answer_that_hangs_off_drafts_is_closed_once() -> None:
    chain = chain_of("abc</think>42", "abc</think>42", widths=(1, 2))
    thought = await chain.draft("small")
    answer = await chain.answer("small", after=thought)
    shown = chain.engines["big"].tokenizer.show(chain.parts.contexts.prefix("big", answer))
    assert shown.endswith("<think>\nabc\n</think>\n\n42")
    await chain.accept(answer)
    assert chain.engines["big"].tokenizer.show(chain.parts.contexts.prefix("big")) == shown
    assert repr(answer) == "Draft(1, small, accepted, '42')"
