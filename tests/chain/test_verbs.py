"""Tests the options of the verbs: cuts, predicates, soft judgements, rewards, notes. Each decides the same at a replay."""

from __future__ import annotations

import asyncio
from math import log
from typing import Any

import pytest
from easy import EASY
from strategies import Chunked, Recorded, Verbs, chain_of, check_books, check_result, kinds, scripted_pair
from waiting import until

from speculative import STEP, Chain, Pair, Problem, Question, Result
from speculative.engines.base import MIN_LOGPROB
from speculative.engines.local import BundledEngine
from speculative.errors import ChainStateError
from speculative.runner import run
from speculative.testing import ScriptedEngine
from speculative.trace.events import Accepted, Asked, Instructed, Judgement, Noted, Rejected, Rewarded, Scored
from speculative.trace.replay import ReplayEngine
from speculative.trace.trace import Trace

STEPS = "One.\n\nTwo.\n\nThree.\n\n"


# ---- accept(upto=…) -------------------------------------------------------------------------------------------------


def whole_text(chain: Chain, ids: Any) -> str | None:
    """The text of ids, or None if they end within a character."""
    try:
        return chain.engines["big"].tokenizer.to_bytes(ids).decode()
    except UnicodeDecodeError:
        return None


@pytest.mark.parametrize("width", [1, 2, 3])
@pytest.mark.parametrize("upto", range(12))
async def test_accept_commits_the_first_tokens_and_discards_the_rest(upto: int, width: int) -> None:
    chain = chain_of("aé😀b日本cd</think>", "ab", widths=(width, 1))
    first = await chain.draft("big")
    below = await chain.draft("small", max_tokens=1)
    ids, whole = first.ids, first.text
    await chain.accept(first, upto=upto)
    kept = next(text for size in range(upto, -1, -1) if (text := whole_text(chain, ids[:size])) is not None)
    assert chain.text == first.text == kept
    assert whole.startswith(kept)
    assert (first.state, below.state) == ("accepted", "rejected")
    usage = chain.trace.usage()["big"]
    assert usage.kept_tokens == first.tokens == len(first.ids) + (upto > len(ids))
    assert chain.thinking == (upto <= len(ids))
    again = Trace(list(chain.trace.events))
    assert again.ledger.text("thinking") == chain.text
    check_books(chain.trace, chain.engines)


async def test_accept_cuts_at_a_character_and_the_chain_goes_on_from_there() -> None:
    chain = chain_of("abcdefgh</think>", "abcdefgh</think>", widths=(3, 2))
    draft = await chain.draft("big")
    await chain.accept(draft, upto_character=7)
    assert chain.text == "abcdef"  # no token is cut
    await chain.write("small")
    assert chain.text == "abcdefgh"
    whole = await chain_of("ab").draft("big")
    assert whole.text == "ab"


async def test_what_follows_a_cut_draft_is_lost() -> None:
    chain = chain_of("abcdef")
    first = await chain.draft("big", max_tokens=3)
    below = await chain.draft("big", after=first, max_tokens=1)
    await chain.accept(first, upto=2, keep_descendants=True)
    assert below.state == "rejected"
    assert (await chain.draft("big", max_tokens=2)).text == "cd"


async def test_a_place_behind_a_cut_has_its_own_seeds() -> None:
    texts = set[str]()
    for upto in (1, 2, None):
        chain = chain_of(lambda seen, seed: f"{seed}</think>", lambda seen, seed: "abc")
        await chain.accept(await chain.draft("small", max_tokens=3), upto=upto)
        texts.add((await chain.draft("big")).text)
    assert len(texts) == 3


# ---- until=, stop=[…] -----------------------------------------------------------------------------------------------


def engines(script: str, width: int = 1) -> list[ScriptedEngine]:
    """Engines that give the same tokens in other pieces, or cannot stream."""
    quiet = frozenset({"continue", "ids", "logprobs", "top", "choices", "score", "cached"})
    return [
        ScriptedEngine(script, name="big", width=width),
        Chunked(script, name="big", width=width),
        ScriptedEngine(script, name="big", width=width, abilities=quiet),
    ]


@pytest.mark.parametrize("width", [1, 2, 3])
@pytest.mark.parametrize("listener", [False, True])
async def test_a_text_ends_at_the_first_yes_however_the_engine_cuts_its_chunks(width: int, listener: bool) -> None:
    script = "so é 😀 then wait, and wait again</think>"
    seen = list[list[str]]()
    for engine in engines(script, width):
        asked, heard = list[str](), Recorded() if listener else None
        chain = Chain(Problem.of("6*7?"), Pair(engine, ScriptedEngine("", name="small")), listener=heard)

        def until(text: str, asked: list[str] = asked) -> bool:
            asked.append(text)
            return "wait" in text

        draft = await chain.write("big", until=until)
        assert draft.finish == "until"
        assert chain.thinking
        assert "wait" in draft.text
        assert len(draft.text) <= script.index("wait") + 4 + width - 1
        assert asked[-1] == draft.text == chain.text
        if heard is not None:
            assert heard.told == draft.text
        usage = chain.trace.usage()["big"]
        assert usage.kept_tokens == len(draft.ids) <= usage.produced_tokens
        seen.append(asked)
        check_books(chain.trace, chain.engines)
    assert seen[0] == seen[1] == seen[2]


async def test_drafts_end_at_a_predicate_each_for_itself() -> None:
    chain = chain_of(lambda seen, seed: f"{'ab' * (seed % 5)}x{seed}</think>")
    drafts = await chain.draft("big", 4, until=lambda text: "x" in text, logprobs=True)
    assert all(draft.text.endswith("x") and len(draft.logprobs) == len(draft.ids) for draft in drafts)
    check_books(chain.trace, chain.engines)


async def test_a_predicate_sees_all_that_one_write_wrote_across_its_pauses() -> None:
    chain, seen = chain_of(STEPS), list[str]()

    async def watch(watched: Chain) -> None:
        seen.append(watched.text)

    chain.at_step(watch)
    await chain.write("big", until=lambda text: text.endswith("Two"))
    assert (chain.text, seen) == ("One.\n\nTwo", ["One.\n\n"])


async def test_a_predicate_must_be_a_plain_function() -> None:
    async def later(text: str) -> bool:
        return bool(text)

    with pytest.raises(ChainStateError, match="until must be a plain function of a text, got one that returns a coroutine"):
        await chain_of("abc").write("big", until=lambda text: later(text))  # type: ignore[arg-type, return-value]
    for wrong in (later, "wait"):
        with pytest.raises(ChainStateError, match="write: until must be a plain function of a text"):
            await chain_of("abc").write("big", until=wrong)  # type: ignore[arg-type]


async def test_a_text_ends_at_the_first_of_several_strings() -> None:
    chain = chain_of("one, two. three; four")
    assert (await chain.write("big", stop=[";", "."])).text == "one, two."
    assert (await chain.draft("big", stop=("!", ";"))).text == " three;"
    with pytest.raises(ChainStateError, match="write: stop must be texts, got 5"):
        await chain.write("big", stop=[".", 5])  # type: ignore[list-item]


@pytest.mark.parametrize("listener", [None, Recorded()])
async def test_a_step_that_two_calls_complete_ends_at_its_end(listener: Any) -> None:
    chain = chain_of("Five.\n\nSix.\n\n", "Five.\n\nSix.\n\n", listener=listener)
    await chain.write("big", max_tokens=6)
    assert chain.steps.partial == "Five.\n"
    draft = await chain.draft("small", stop=STEP)
    assert (draft.text, draft.finish) == ("\n", "stop")
    below = await chain.draft("small", after=draft, stop=STEP)
    assert below.text == "Six.\n\n"
    chain.reject(draft)
    await chain.write("big", stop=STEP)
    assert (chain.text, chain.steps.done) == ("Five.\n\n", ["Five.\n\n"])
    await chain.write("big", stop=STEP)
    assert chain.steps.done == ["Five.\n\n", "Six.\n\n"]


# ---- log-probabilities and choices ----------------------------------------------------------------------------------


async def test_likely_tokens_and_their_entropy() -> None:
    chain = chain_of("ab", top=lambda seen: {"a": log(0.5), "b": log(0.25), "c": log(0.25)})
    draft = await chain.draft("big", max_tokens=2, logprobs=3)
    a, b, c = chain.engines["big"].tokenizer.encode("abc")
    assert [token for token, _ in draft.top(0)] == [a, b, c]
    assert draft.entropy(0) == pytest.approx(1.5 * log(2))
    assert (await chain.draft("big", logprobs=1)).entropy(0) == 0
    with pytest.raises(ChainStateError, match="draft it with logprobs=K"):
        (await chain.draft("big", logprobs=True)).top(0)
    scored = await chain.score("small", [draft], top=2)
    assert scored[0].top
    assert len(scored[0].top[1]) == 2
    assert draft.scores["small"] is scored[0]


async def test_choices_give_a_soft_judgement_in_one_token() -> None:
    chain = chain_of("abc", "7", top=lambda seen: {"7": log(0.6), "8": log(0.2), "x": log(0.1)})
    draft = await chain.draft("big", max_tokens=2)
    reply = await chain.ask("small", Question("judge"), after=draft, choices="0123456789")
    assert (reply.text, reply.has_text, len(reply.ids)) == ("7", True, 1)
    assert reply.choices["7"] == pytest.approx(log(0.6))
    assert reply.choices["0"] == MIN_LOGPROB
    assert reply.probabilities["7"] == pytest.approx(0.75)
    (event,) = [event for event in chain.trace if isinstance(event, Asked)]
    assert event.choices == tuple("0123456789")
    for wrong, told in ((["10"], "single tokens of the small model, got '10', which is 2"), ([5], "choices must be texts, got 5")):
        with pytest.raises(ChainStateError, match=told):
            await chain.ask("small", "?", choices=wrong)


async def test_a_reply_tells_the_likely_texts() -> None:
    chain = chain_of("", "67", top=lambda seen: {"6": -0.1, "9": -0.7})
    reply = await chain.ask("small", "?", max_tokens=2, logprobs=2)
    assert reply.top[0] == (("6", -0.1), ("9", -0.7))
    assert [len(likely) for likely in reply.top] == [2, 2]


async def test_an_ability_that_is_missing_is_named() -> None:
    chain = chain_of("abc", abilities=frozenset({"continue", "ids", "logprobs", "stream"}))
    draft = await chain.draft("big", max_tokens=1)
    for verb, ability in (
        (lambda: chain.ask("big", "?", choices="01"), "choices"),
        (lambda: chain.draft("big", logprobs=5), "top"),
        (lambda: chain.reward("big", [draft]), "reward"),
    ):
        with pytest.raises(ChainStateError, match=f"must have the ability `{ability}`, which big does not have"):
            await verb()


async def test_a_question_alone_has_neither_problem_nor_chain_in_front() -> None:
    chain = chain_of("abc", "yes<|im_end|>")
    await chain.write("big", max_tokens=3)
    assert (await chain.ask("small", Question("alone", "Is 1 a number?"))).text == "yes"
    seen = chain.engines["small"].calls[-1][1]
    assert "Is 1 a number?" in seen
    assert "6*7" not in seen
    assert "abc" not in seen


@pytest.mark.parametrize("decide", ["accept", "reject", "write"])
async def test_a_question_about_a_draft_ends_with_it(decide: str) -> None:
    chain = chain_of("abcdef", "y" * 400, delay=0.001)
    draft = await chain.draft("big", max_tokens=1)
    about, other = (asyncio.create_task(chain.ask("small", "?", after=after, max_tokens=60)) for after in (draft, None))
    await until(lambda: chain.engines["small"].running == 2)
    if decide == "accept":
        await chain.accept(draft, keep_descendants=True)
    elif decide == "reject":
        chain.reject(draft)
    else:
        await chain.write("big", max_tokens=1)
    reply = await about
    assert (reply.finish, reply.has_text) == (("cut", False) if decide != "write" else ("length", True))
    assert (await other).text == "y" * 60
    assert chain.trace.usage()["small"].produced_tokens == chain.engines["small"].produced
    check_books(chain.trace, chain.engines)


# ---- rewards, notes, children ---------------------------------------------------------------------------------------


def judged_pair() -> Pair:
    big, small = (ScriptedEngine(STEPS, name=name) for name in ("big", "small"))
    return Pair(big, small, ScriptedEngine("", name="judge", width=2, rewards=lambda text: 0.9 if "One" in text[-8:] else 0.1))


async def test_a_judge_rewards_drafts() -> None:
    pair = judged_pair()
    chain = Chain(Problem.of("6*7?"), pair)
    first = await chain.draft("small", stop=STEP)
    second = await chain.draft("small", after=first, stop=STEP)
    assert await chain.reward("judge", [first, second]) == [0.9, 0.1]
    assert (first.rewards, second.rewards) == ({"judge": 0.9}, {"judge": 0.1})
    usage = chain.trace.usage()["judge"]
    assert usage.requests == 1
    assert usage.prompt_tokens > usage.scored_tokens == 0
    (event,) = [event for event in chain.trace if isinstance(event, Rewarded)]
    assert event.rewards == (0.9, 0.1)
    assert await chain.reward("judge", []) == []
    await chain.accept(first)
    with pytest.raises(ChainStateError, match="reward it before it is accepted"):
        await chain.reward("judge", [first])


async def test_judgements_stand_with_what_they_decide() -> None:
    chain = chain_of("abcdef")
    one, other = await chain.draft("big", 2, max_tokens=1)
    judgement = Judgement(3.0, 7.0, "big")
    chain.reject(other, "low", judgement=judgement)
    await chain.accept(one, judgement=Judgement(8.0, 7.0, "big"))
    found = [event.judgement for event in chain.trace if isinstance(event, Accepted | Rejected)]
    assert found == [judgement, Judgement(8.0, 7.0, "big")]


async def test_a_note_stands_in_one_roles_prompt_and_is_no_text() -> None:
    chain = chain_of("abcdef", "abcdef", widths=(1, 2), append_only=False)
    await chain.write("big", max_tokens=2)
    start = chain.checkpoint()
    chain.note("small", " [look at the units] ")
    assert chain.text == "ab"
    await chain.draft("small", max_tokens=1)
    await chain.draft("big", max_tokens=1)
    assert chain.engines["small"].calls[-1][1].endswith("ab [look at the units] ")
    assert chain.engines["big"].calls[-1][1].endswith("<think>\nab")
    (event,) = [event for event in chain.trace if isinstance(event, Noted)]
    assert (event.role, event.tokens) == ("small", 11)
    await chain.insert("cd")
    assert chain.parts.contexts.prefix("small") == chain.engines["small"].tokenizer.parse(
        chain.engines["small"].calls[-1][1].rpartition("ab [")[0]
    ) + chain.engines["small"].tokenizer.encode("ab [look at the units] cd")
    await chain.rewind(start)
    await chain.draft("small", max_tokens=1)
    assert chain.engines["small"].calls[-1][1].endswith("<think>\nab")
    assert Trace(list(chain.trace.events)).ledger.entries == chain.trace.ledger.entries


async def test_a_child_can_have_an_instruction_of_its_own() -> None:
    chain = chain_of("a</think>42")
    plain, told = chain.child(), chain.child(instruction="Work backwards.")
    await plain.write("big")
    await told.write("big")
    prompts = [seen for _, seen in chain.engines["big"].calls]
    assert "Work backwards." not in prompts[0]
    assert "6*7?\n\nWork backwards.\n" in prompts[1]
    raw = Chain(Problem.of("6*7?", raw=True), scripted_pair("a"))
    with pytest.raises(ChainStateError, match="child: a raw prompt must stay as it is"):
        raw.child(instruction="x")


@pytest.mark.parametrize("widths", [(1, 1), (1, 2)])
async def test_an_instruction_of_one_role_stands_in_its_prompt_alone(widths: tuple[int, int]) -> None:
    chain = chain_of("a</think>42", "b\n\n", widths=widths)
    await chain.instruct("small", "Mark hard steps.")
    await chain.write("small", max_tokens=1)
    await chain.write("big", max_tokens=1)
    await chain.ask("small", "why?")
    (small, question), ((_, big),) = [seen for _, seen in chain.engines["small"].calls], chain.engines["big"].calls
    assert "What is 6*7?\nMark hard steps.\n" in small
    assert "Mark hard steps." in question
    assert "Mark" not in big
    (event,) = [event for event in chain.trace if isinstance(event, Instructed)]
    tokenizer = chain.engines["small"].tokenizer
    assert (event.role, event.text) == ("small", "Mark hard steps.")
    assert abs(event.tokens - len(tokenizer.encode("\nMark hard steps."))) <= 1


async def test_children_have_the_instructions_of_their_parent() -> None:
    chain = chain_of("a</think>42", "b</think>43")
    await chain.instruct("small", "Mark.")
    child = chain.child(instruction="Backwards.")
    await child.write("small")
    await chain.child().write("big")
    assert "6*7?\n\nBackwards.\nMark.\n" in chain.engines["small"].calls[0][1]
    assert "Mark." not in chain.engines["big"].calls[0][1]


@pytest.mark.parametrize("text", ["Mark.", "Mark.\nBe kind."])
async def test_the_same_instruction_again_changes_nothing(text: str) -> None:
    chain = chain_of("a</think>42", "b")
    await chain.instruct("small", text)
    await chain.write("small", max_tokens=1)
    await chain.instruct("small", text)
    assert [event.text for event in chain.trace if isinstance(event, Instructed)] == [text]
    with pytest.raises(ChainStateError, match="it must come before any text"):
        await chain.instruct("small", "Mark more.")


async def test_an_empty_instruction_changes_nothing() -> None:
    chain = chain_of("abc")
    await chain.instruct("big", "Be brief.")
    before = chain.parts.contexts.prefix("big")
    await chain.instruct("big", "")
    assert chain.parts.contexts.prefix("big") == before
    assert kinds(chain.trace) == ["Instructed"]


async def test_instructions_of_one_role_add_up_also_at_the_same_time() -> None:
    chain = chain_of("a</think>42", "b")
    await asyncio.gather(chain.instruct("small", "Be brief."), chain.instruct("small", "Be kind."))
    await chain.write("small", max_tokens=1)
    assert "6*7?\nBe brief.\nBe kind.\n" in chain.engines["small"].calls[0][1]


async def test_wrong_arguments_are_told() -> None:
    chain = chain_of("abcdef")
    with pytest.raises(ChainStateError, match="note: text must be given, got None"):
        chain.note("small", None)  # pyright: ignore
    with pytest.raises(ChainStateError, match="the kind of a question must be a known one, got 'bogus'"):
        await chain.ask("big", Question("bogus"))  # pyright: ignore
    draft = await chain.draft("big", max_tokens=5)
    with pytest.raises(ChainStateError, match="upto and upto_character cannot both be given"):
        await chain.accept(draft, upto=2, upto_character=2)


@pytest.mark.parametrize("place", [-1, 3, 99, "a", None, True])
async def test_likely_tokens_stand_at_the_places_of_the_draft(place: Any) -> None:
    chain = chain_of("abcdef", top=lambda seen: {"a": 0.0})
    draft = await chain.draft("big", max_tokens=3, logprobs=1)
    for look in (draft.top, draft.entropy):
        with pytest.raises(ChainStateError, match="the place of a token must be from 0 to 2, got"):
            look(place)


async def test_a_draft_that_only_ends_the_thinking_has_no_place_of_a_token() -> None:
    draft = await chain_of("</think>", top=lambda seen: {"a": 0.0}).draft("big", logprobs=1)
    assert (draft.tokens, draft.ids, draft.logprobs) == (1, (), ())
    with pytest.raises(ChainStateError, match="the place of a token cannot be given for a draft without text, got 0"):
        draft.entropy(0)


async def test_a_set_has_no_order_and_cannot_be_stop_strings() -> None:
    with pytest.raises(ChainStateError, match="stop must be a text or a list of texts, got a set"):
        await chain_of("abc").draft("big", stop={"a"})  # pyright: ignore


async def test_more_tokens_than_a_draft_has_are_all_of_it() -> None:
    chain = chain_of("abcdef")
    for limits in ({"upto": 99}, {"upto_character": 99}):
        draft = await chain.draft("big", max_tokens=2)
        await chain.accept(draft, **limits)
        assert (draft.state, draft.tokens) == ("accepted", 2)


async def test_a_cut_draft_has_no_scores_of_its_whole_text() -> None:
    chain = chain_of("abcdef", scores=lambda prefix, text: -1.0)
    draft = await chain.draft("big", max_tokens=5, logprobs=2)
    await chain.score("small", [draft])
    with pytest.raises(ChainStateError, match="place of a token must be from 0 to 4, got -1"):
        draft.top(-1)
    await chain.accept(draft, upto=2)
    assert draft.scores == {}
    with pytest.raises(ChainStateError, match="child: instruction must be given, got None"):
        chain.child(instruction=None)  # pyright: ignore


async def test_log_probabilities_need_their_ability() -> None:
    chain = chain_of("abc", abilities=frozenset({"continue", "ids", "stream"}))
    with pytest.raises(ChainStateError, match="must have the ability `logprobs`"):
        await chain.draft("big", logprobs=True)
    with pytest.raises(ChainStateError, match="must have the ability `top`"):
        await chain.ask("big", "?", logprobs=1)
    with pytest.raises(ChainStateError, match="ask: the big model must have the ability `logprobs`"):
        await chain.ask("big", "?", logprobs=True)
    child = chain.child(logprobs=True)
    assert (await child.ask("big", "?")).text
    with pytest.raises(ChainStateError, match="write: the big model must have the ability `logprobs`"):
        await child.write("big")


@pytest.mark.parametrize(
    ("good", "wrong"),
    [
        ({"max_tokens": 1}, {"max_tokens": True}),
        ({"max_tokens": 1}, {"max_tokens": 1.0}),
        ({"max_tokens": 1, "temperature": 1}, {"max_tokens": 1, "temperature": True}),
        ({"max_tokens": 1}, {"max_tokens": [1]}),
        ({"max_tokens": 1, "stop": "a"}, {"max_tokens": 1, "stop": ""}),
    ],
)
async def test_options_that_were_good_once_do_not_let_equal_ones_of_another_type_pass(good: dict[str, Any], wrong: dict[str, Any]) -> None:
    chain = chain_of("One two three.")
    for _ in range(2):
        await chain.write("big", **good)
        with pytest.raises(ChainStateError, match=r"^write: "):
            await chain.write("big", **wrong)


@pytest.mark.parametrize("wrong", [None, "a", [1], -3, 0, 1.5])
async def test_a_wrong_number_of_likely_tokens_is_named_before_an_engine_is_called(wrong: Any) -> None:
    chain = chain_of("abc")
    for verb in (chain.draft("big", logprobs=wrong), chain.ask("big", "?", logprobs=wrong)):
        with pytest.raises(ChainStateError, match="logprobs must be"):
            await verb


@pytest.mark.parametrize(
    ("choices", "said"),
    [(["\ud800"], "ask: choices must be valid Unicode"), ("11", "ask: choices must differ, got '1' twice"), (["", "1"], "single tokens")],
)
async def test_choices_are_different_texts_of_one_token(choices: Any, said: str) -> None:
    with pytest.raises(ChainStateError, match=said):
        await chain_of("abc").ask("big", "?", choices=choices)


async def test_a_child_is_no_text_before_an_instruction() -> None:
    chain = chain_of("abc")
    chain.child()
    await chain.instruct("big", "Be brief.")
    assert kinds(chain.trace) == ["Child", "Instructed"]


async def test_an_instruction_comes_before_any_text_and_never_into_a_raw_prompt() -> None:
    chain = chain_of("a\n\nb</think>42")
    await chain.ask("big", "why?")
    with pytest.raises(ChainStateError, match="instruct: it must come before any text"):
        await chain.instruct("small", "x")
    with pytest.raises(ChainStateError, match="instruct: a raw prompt must stay as it is"):
        await Chain(Problem.of("6*7?", raw=True), scripted_pair("a")).instruct("big", "x")
    with pytest.raises(ChainStateError, match="instruct: text must be given, got None"):
        await chain_of("a").instruct("big", None)  # pyright: ignore
    with pytest.raises(ChainStateError, match="no engine has the role 'huge'"):
        await chain_of("a").instruct("huge", "x")  # pyright: ignore


async def test_an_instructed_prompt_must_leave_room_to_write() -> None:
    chain = chain_of("a", context=120)
    await chain.instruct("small", "x" * 200)
    draft = await chain.write("small")
    assert (draft.text, chain.finish) == ("", "context")


# ---- replay, and the bundled pair -----------------------------------------------------------------------------------


async def everything(chain: Chain) -> None:
    """Uses the verbs together."""
    await chain.instruct("small", "Think in short steps.")
    await chain.write("small", until=lambda text: text.count(" ") >= 4)
    chain.note("big", " (be brief) ")
    draft = await chain.draft("big", stop=[STEP, "="], max_tokens=30, logprobs=4)
    reply = await chain.ask("big", Question("judge"), after=draft, choices=("0", "1"), temperature=0)
    assert 0 <= reply.probabilities["1"] <= 1
    await chain.score("small", [draft], top=2)
    await chain.accept(draft, upto=max(1, draft.tokens // 2), judgement=Judgement(reply.probabilities["1"]))
    await chain.child(instruction="Twice.").write("small", max_tokens=5)
    await chain.write("small", stop=STEP)
    await chain.answer("big")


async def replayed(result: Result, pair: Pair) -> Result:
    again = Pair(*(ReplayEngine(result.trace, role, like) for role, like in pair.items()))
    return await run(result.trace.started.problem, Verbs(script=everything), again)


@pytest.mark.parametrize("listener", [None, Recorded()])
async def test_all_of_it_replays_and_reads_back(listener: Any, tmp_path: Any) -> None:
    text = "We have 6 times 7 = 42.\n\nDone.</think>42"
    pair = scripted_pair(text, text, widths=(1, 2), top=lambda seen: {"a": -1.0, "b": -2.0})
    problem = Problem.of("6*7?", max_tokens=400)
    result = await run(problem, Verbs(script=everything), pair, listener)
    check_result(result, problem, pair)
    assert (await replayed(result, pair)).trace.timeless() == result.trace.timeless()
    result.trace.save(tmp_path / "chain.jsonl")
    assert Trace.load(tmp_path / "chain.jsonl") == result.trace
    assert {"Noted", "Asked", "Scored", "Accepted", "Child"} <= set(kinds(result.trace))
    (scored,) = [event for event in result.trace if isinstance(event, Scored)]
    assert len(scored.tops[0][0]) == 2


async def test_all_of_it_runs_on_the_bundled_pair_and_replays() -> None:
    problem = Problem.of(EASY, max_tokens=200, seed=3)
    async with Pair(BundledEngine.open("big"), BundledEngine.open("small")) as pair:
        result = await run(problem, Verbs(script=everything), pair)
        check_books(result.trace)
        assert (await replayed(result, pair)).trace.timeless() == result.trace.timeless()
