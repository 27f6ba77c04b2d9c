"""After the answer has begun: a token that closes the thinking is text, and one that opens it begins more thinking."""

import pytest
from strategies import Verbs, chain_of, check_books, scripted_pair

import speculative
from speculative.chain.options import MAX_ANSWER_PARTS
from speculative.runner import run
from speculative.trace.events import TextDelta
from speculative.trace.replay import ReplayEngine


async def result_of(script, **settings):
    return await speculative.asolve("6*7?", "big_only", pair=scripted_pair(script), max_tokens=400, **settings)


async def test_a_closing_token_in_the_answer_is_text():
    told = []
    result = await result_of(["Hm.</think>", "Close with </think>", " when </think>", "done.<|im_end|>"], listener=told.append)
    assert (result.reasoning, result.text, result.finish_reason) == ("Hm.", "Close with </think> when </think>done.", "stop")
    answer = "".join(one.text for one in told if isinstance(one, TextDelta) and one.phase == "answer")
    assert answer == "Close with </think> when </think>done."
    assert result.usage["big"].discarded_tokens == 0


async def test_a_second_thinking_is_reasoning():
    told = []
    replies = ["Hm.</think>", "First: <think>", "Wait.</think>", "42.<|im_end|>"]
    result = await result_of(replies, listener=told.append)
    assert (result.reasoning, result.text, result.finish_reason) == ("Hm.Wait.", "First: 42.", "stop")
    by_phase = {
        phase: "".join(one.text for one in told if isinstance(one, TextDelta) and one.phase == phase) for phase in ("thinking", "answer")
    }
    assert by_phase == {"thinking": "Hm.Wait.", "answer": "First: 42."}
    usage = result.usage["big"]
    assert usage.produced_tokens == usage.kept_tokens + usage.discarded_tokens
    assert usage.discarded_tokens == 0


@pytest.mark.parametrize("width", [1, 2])
async def test_the_other_model_reads_the_thinking_of_the_answer_as_it_was(width):
    chain = chain_of(["Hm.</think>", "First: <think>", "Wait.</think>", "42.<|im_end|>"], "", widths=(1, width))
    await chain.write("big")
    await chain.answer("big")
    shown = chain.engines["small"].tokenizer.show(chain.parts.contexts.prefix("small"))
    assert shown.endswith("<think>\nHm.\n</think>\n\nFirst: <think>Wait.\n</think>\n\n42.")


async def test_thinking_in_the_answer_that_meets_its_budget_ends_the_answer():
    result = await result_of(["Hm.</think>", "First: <think>" + "and so on " * 80])
    assert result.text == "First:"
    result = await speculative.asolve("6*7?", "big_only", pair=scripted_pair(["Hm.</think>", "Or <think>", "on " * 200]), max_tokens=60)
    assert (result.text, result.finish_reason) == ("Or", "length")
    assert result.reasoning.startswith("Hm.on on")


@pytest.mark.parametrize("width", [1, 2])
@pytest.mark.parametrize(
    ("replies", "reasoning", "text"),
    [
        (["a<think>", "</think>", "\\boxed{4}"], "Hm.", "a\\boxed{4}"),
        (["</think>", "</think>", "\\boxed{4}"], "Hm.", "</think></think>\\boxed{4}"),
        (["\n</think>", "\n</think>", "\\boxed{4}"], "Hm.", "</think>\n</think>\\boxed{4}"),
        (["a</think>", "a</think>", "\\boxed{4}"], "Hm.", "a</think>a</think>\\boxed{4}"),
        (["<think>", "</think>", "<think>", "</think>", "\\boxed{4}"], "Hm.", "\\boxed{4}"),
        (["So <think>", "So </think>", "So </think>", "So </think>", "\\boxed{4}"], "Hm.So ", "So So </think>So </think>\\boxed{4}"),
    ],
)
async def test_no_answer_after_thinking_tokens_is_lost(width, replies, reasoning, text):
    pair = scripted_pair(["Hm.</think>", *replies, "never read"], "", widths=(width, width))
    result = await speculative.asolve("6*7?", "big_only", pair=pair, max_tokens=400)
    assert (result.answer, result.finish_reason) == ("4", "stop")
    assert (result.reasoning, result.text) == (reasoning, text)
    usage = result.usage["big"]
    assert usage.produced_tokens == usage.kept_tokens + usage.discarded_tokens


LONE = "Open with <think> first. \\boxed{5}"


@pytest.mark.parametrize("width", [1, 2])
async def test_an_opening_token_without_a_closing_one_is_text(width):
    told = []
    pair = scripted_pair(["a</think>", "Open with <think>", " first. \\boxed{5}<|im_end|>"], "", widths=(width, width))
    result = await speculative.asolve("6*7?", "big_only", pair=pair, max_tokens=400, listener=told.append)
    assert (result.reasoning, result.text, result.answer, result.finish_reason) == ("a", LONE, "5", "stop")
    deltas = [one for one in told if isinstance(one, TextDelta)]
    assert "".join(one.text for one in deltas if one.phase == "answer") == LONE
    assert "".join(one.text for one in deltas if one.phase == "thinking") == "a"
    check_books(result.trace, pair)


async def test_an_opening_token_after_a_whole_pair_is_text():
    replies = ["a</think>", "b<think>", "c</think>", "d <think>"]
    result = await result_of([*replies, " e \\boxed{5}<|im_end|>"])
    assert (result.reasoning, result.text) == ("ac", "bd <think> e \\boxed{5}")
    result = await result_of([*replies, " e</think>", " \\boxed{5}<|im_end|>"])
    assert (result.reasoning, result.text) == ("ac e", "bd  \\boxed{5}")


async def test_an_opening_token_without_a_closing_one_is_text_in_a_drafted_answer():
    chain, answer, told = await drafted(["Hm.</think>", "Open with <think>", " first. \\boxed{5}<|im_end|>"])
    assert "".join(one.text for one in told if isinstance(one, TextDelta) and one.phase == "answer") == LONE
    await chain.accept(answer)
    assert (chain.text, chain.answer_text, chain.boxed, chain.finish) == ("Hm.", LONE, "5", "stop")
    check_books(chain.trace)


@pytest.mark.parametrize("again", [["So.</think>"], ["</think>"], ["<think>", "</think>"], ["Hm, <think>", "so </think>"]])
async def test_an_answer_that_gets_nowhere_ends_as_a_loop(again):
    result = await speculative.asolve("6*7?", "big_only", pair=scripted_pair(["Hm.</think>", *again * 400], ""), max_tokens=4000)
    assert result.finish_reason == "loop"
    assert result.usage["big"].requests == 1 + MAX_ANSWER_PARTS


async def drafted(replies, **settings):
    """A chain with a thought that is no more than a draft, and the answer after it, which is one too."""
    told = []
    chain = chain_of(replies, "", listener=told.append, **settings)
    thought = await chain.draft("big")
    return chain, await chain.answer("big", after=thought), told


async def test_a_closing_token_in_a_drafted_answer_is_text():
    chain, answer, told = await drafted(["Hm.</think>", "Close with </think> when </think>done.<|im_end|>"])
    assert answer.text == "Close with </think> when </think>done."
    assert "".join(one.text for one in told if isinstance(one, TextDelta) and one.phase == "answer") == answer.text
    await chain.accept(answer)
    assert (chain.text, chain.answer_text, chain.finish) == ("Hm.", answer.text, "stop")
    check_books(chain.trace)


@pytest.mark.parametrize("width", [1, 2])
async def test_a_second_thinking_in_a_drafted_answer_is_reasoning(width):
    replies = ["Hm.</think>", "First: <think>", "Wait.</think>", "42</think>.<|im_end|>"]
    chain, answer, told = await drafted(replies, widths=(1, width))
    assert (answer.text, answer.phase, answer.answer_start.text) == ("42</think>.", "answer", "First: ")
    by_phase = {
        phase: "".join(one.text for one in told if isinstance(one, TextDelta) and one.phase == phase) for phase in ("thinking", "answer")
    }
    assert by_phase == {"thinking": "Hm.Wait.", "answer": "First: 42</think>."}
    prefix = chain.parts.contexts.prefix("small", answer)
    await chain.accept(answer)
    assert (chain.text, chain.answer_text, chain.finish) == ("Hm.Wait.", "First: 42</think>.", "stop")
    shown = chain.engines["small"].tokenizer.show(chain.parts.contexts.prefix("small"))
    assert shown.endswith("<think>\nHm.\n</think>\n\nFirst: <think>Wait.\n</think>\n\n42</think>.")
    assert chain.engines["small"].tokenizer.show(prefix) == shown
    check_books(chain.trace)
    usage = chain.trace.usage()["big"]
    assert (usage.discarded_tokens, usage.requests) == (0, 4)


async def test_rejecting_a_drafted_answer_rejects_its_parts():
    chain, answer, _ = await drafted(["Hm.</think>", "First: <think>", "Wait.</think>", "42.<|im_end|>"])
    thought = answer.answer_start.parent
    chain.reject(answer, "no")
    assert [draft.id for draft in chain.parts.drafts.open.values()] == [thought.id]
    await chain.accept(thought)
    check_books(chain.trace)


async def test_thinking_in_a_drafted_answer_that_meets_its_budget_ends_the_answer():
    chain, answer, _ = await drafted(["Hm.</think>", "Or <think>", "on " * 200], max_tokens=60)
    assert (answer.phase, answer.finish) == ("thinking", "length")
    await chain.accept(answer)
    assert (chain.answer_text, chain.finish) == ("Or ", "length")
    check_books(chain.trace)


async def test_a_drafted_answer_that_gets_nowhere_ends():
    chain, answer, _ = await drafted(["Hm.</think>", *["<think>", "</think>"] * 400])
    assert chain.trace.usage()["big"].requests == 1 + MAX_ANSWER_PARTS
    await chain.accept(answer)
    check_books(chain.trace)


async def test_the_parts_of_a_drafted_answer_replay():
    async def script(chain):
        await chain.accept(await chain.answer("big", after=await chain.draft("big")))

    method = Verbs(script=script)
    pair = scripted_pair(["Hm.</think>", "First: <think>", "Wait.</think>", "42.<|im_end|>"], "")
    problem = speculative.Problem.of("6*7?", max_tokens=400)
    result = await run(problem, method, pair)
    again = await run(problem, method, speculative.Pair(**{role: ReplayEngine(result.trace, role, like) for role, like in pair.items()}))
    assert again.trace.timeless() == result.trace.timeless()
    assert (again.reasoning, again.text) == ("Hm.Wait.", "First: 42.")
