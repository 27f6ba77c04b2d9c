"""Text that is final stays, and a child's trace tells how the child ended."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from strategies import Verbs, chain_of, check_books, scripted_pair

from speculative import Chain, MethodError, Problem, solve
from speculative.errors import ChainStateError
from speculative.runner import run
from speculative.trace.events import Child, Ended

LONG = "word " * 200


async def test_final_text_is_not_taken_back() -> None:
    chain = chain_of(LONG)
    checkpoint, child = chain.checkpoint(), chain.child()
    await chain.write("big", max_tokens=5)
    for verb in (lambda: chain.rewind(checkpoint), lambda: chain.become(child)):
        with pytest.raises(ChainStateError, match="the text of this method is final; set `append_only = False`"):
            await verb()
    assert chain.text == "word "


async def test_a_child_may_always_take_its_text_back() -> None:
    child = chain_of(LONG).child()
    start = child.checkpoint()
    await child.write("big", max_tokens=5)
    await child.rewind(start)
    inner = child.child()
    await inner.write("big", max_tokens=3)
    await child.become(inner)
    assert child.text == "wor"


@pytest.mark.parametrize("verb", ["rewind(start)", "become(chain.child())"])
def test_a_method_that_takes_text_back_must_say_so(tmp_path: Path, verb: str) -> None:
    body = "from speculative import Method\n\n\nclass Mine(Method):\n{}    async def think(self, chain):\n"
    body += f"        start = chain.checkpoint()\n        await chain.write('big')\n        await chain.{verb}\n"
    file = tmp_path / "mine.py"
    file.write_text(body.format(""))
    with pytest.raises(MethodError, match=r"set `append_only = False` in its class .*mine.py, line 8\)"):
        solve("6*7?", str(file), pair=scripted_pair("a</think>b", ""))
    file.write_text(body.format("    append_only = False\n"))
    solve("6*7?", str(file), pair=scripted_pair("a</think>b", ""))


def ends(chain: Chain) -> list[str]:
    children = [event for event in chain.trace if isinstance(event, Child)]
    return [next(event.finish_reason for event in child.events if isinstance(event, Ended)) for child in children]


async def test_a_childs_trace_ends_with_what_happened_to_it() -> None:
    chains = list[Chain]()

    async def work(chain: Chain) -> None:
        chains.append(chain)
        whole, cut, answering, _unused = (chain.child() for _ in range(4))
        await whole.write("big")
        await whole.answer("big")
        await answering.write("big")
        tasks = [asyncio.create_task(cut.write("small")), asyncio.create_task(answering.answer("small"))]
        await asyncio.sleep(0.01)
        assert not any(task.done() for task in tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await chain.become(whole)

    pair = scripted_pair("a</think>42", LONG, delay=0.001)
    method = type("Late", (Verbs,), {"append_only": False})(script=work)
    result = await run(Problem.of("6*7?", max_tokens=4000), method, pair)
    assert ends(chains[0]) == ["stop", "cancelled", "cancelled", "cancelled"]
    assert (result.finish_reason, result.text) == ("stop", "42")
    check_books(result.trace, pair)


async def test_children_that_the_deadline_ends_are_out_of_time() -> None:
    chains = list[Chain]()

    async def work(chain: Chain) -> None:
        chains.append(chain)
        await chain.child().write("big")

    result = await run(Problem.of("6*7?", max_seconds=0.5), Verbs(script=work), scripted_pair(LONG, "", delay=0.05))
    assert (result.finish_reason, ends(chains[0])) == ("time", ["time"])


async def test_many_open_drafts_are_accepted_one_after_the_other() -> None:
    chain = chain_of("abcdefgh" * 100)
    drafts = [await chain.draft("big", max_tokens=1)]
    for _ in range(300):
        drafts.append(await chain.draft("big", after=drafts[-1], max_tokens=1))
    other = await chain.draft("big", 3, max_tokens=2)
    for draft in drafts:
        await chain.accept(draft, keep_descendants=True)
    assert chain.text == ("abcdefgh" * 100)[:301]
    assert [draft.state for draft in other] == ["rejected"] * 3
    check_books(chain.trace, chain.engines)
