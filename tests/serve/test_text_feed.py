"""What is streamed is what is told in the end, however the text comes in."""

import asyncio
import contextlib
import json

import pytest
from hypothesis import given as holds_for
from hypothesis import settings as runs
from hypothesis import strategies as st
from profiles import examples
from serving import ASK, TEXT, pair, serving

from speculative.methods.base import Method
from speculative.methods.registry import build
from speculative.problem import Message, Problem
from speculative.serve.chains import RunningChains, raw_text, with_raw_budget
from speculative.serve.outcome import ChainOutcome, _union_s
from speculative.serve.request import ChainRequest
from speculative.serve.stops import StopFilter
from speculative.serve.streaming import Signal

TEXTS = st.text(alphabet=st.sampled_from("ab \n€🙂\u0301.<"), max_size=40)
STOPS = st.lists(st.text(alphabet="ab \n€", min_size=1, max_size=3), max_size=3)
OPENED = "<|im_start|>user\nQ<|im_end|>\n<|im_start|>assistant\n<think>\n"
METHODS = ["big_only", "small_only", "random_switch", "logprob_subselect", "spec_rewrite", "placeholder"]


@holds_for(st.lists(st.text(alphabet="abc \n", max_size=6), max_size=12), STOPS, st.booleans())
def test_stop_strings_are_found_however_the_text_is_split(pieces, stops, strip):
    cut = StopFilter(stops, strip=strip)
    found = "".join(cut.add(piece) for piece in pieces) + cut.end()
    whole = "".join(pieces)
    assert found == StopFilter.cut(whole, stops, strip=strip)
    assert not any(stop in found for stop in stops)
    if not stops:
        assert found == (whole.strip() if strip else whole)


def test_only_a_possible_stop_string_is_held_back():
    cut = StopFilter(["END"], strip=False)
    assert [cut.add(text) for text in ("a", "b E", "N", "x", "END", "more")] == ["a", "b ", "", "ENx", "", ""]
    assert cut.done
    assert cut.end() == ""


async def streamed(engines, job):
    """All that a listener may take, and what the chain came to."""
    signal = Signal()
    work = RunningChains(job, engines, signal.set)
    taken = []
    await work.start()
    while not work.is_done(0):
        await signal.next()
        taken.append(work.feeds[0].take())
    outcome = work.outcome(0)
    taken.append(work.feeds[0].take())
    signal.close()
    return "".join(r for r, _ in taken), "".join(c for _, c in taken), outcome


@runs(max_examples=examples(60))
@holds_for(
    TEXTS,
    TEXTS,
    st.sampled_from(METHODS),
    st.booleans(),
    STOPS,
    st.integers(1, 3),
    st.sampled_from([None, OPENED, "Once "]),
    st.integers(0, 3),
    st.integers(6, 60),
)
def test_streamed_text_equals_the_outcome(thought, answer, name, voting, stops, width, prompt, seed, budget):
    engines = pair(f"{thought}</think>\n\n{answer}<|im_end|>", width=width, small_width=4 - width)
    method = build(name, {"sgen": 2} if name == "logprob_subselect" else {}, ["vote(ballots=2)"] if voting else [], paths=False)
    raw = prompt is not None
    problem = Problem(messages=(Message("user", prompt or "Q"),), stop=tuple(stops), raw=raw, seed=seed, max_tokens=budget)
    reasoning, content, outcome = asyncio.run(
        streamed(engines, ChainRequest(model="m", method=method, problems=(problem,), stream=True, raw=raw))
    )
    assert (reasoning, content) == (outcome.reasoning, outcome.content)
    assert not any(engine.running for engine in engines.values())
    assert outcome.kept <= budget


@pytest.mark.parametrize("tokens", [1, 7, 8, 9, 100, 7168, 7169, 20000])
def test_a_raw_text_gets_all_its_tokens(tokens):
    problem = Problem(messages=(Message("user", "a"),), raw=True, max_tokens=tokens)
    found = with_raw_budget(problem, raw_text(pair(), problem))
    assert found.max_tokens - found.reserve == tokens


def test_time_in_the_engines_is_counted_once():
    class Call:
        def __init__(self, seconds):
            self.seconds = seconds

    assert _union_s([(3.0, Call(2.0)), (4.0, Call(2.0)), (9.0, Call(1.0))]) == 4.0


async def test_an_outcome_of_a_chain_that_was_cut_short():
    engines = pair(delay=0.01)
    job = ChainRequest(model="m", method=build("big_only"), problems=(Problem.of("Q"),), stream=True)
    signal = Signal()
    work = RunningChains(job, engines, signal.set)
    await work.start()
    while engines["big"].produced < 5:
        await signal.next()
    await work.close()
    signal.close()
    outcome = ChainOutcome.from_trace(next(work.traces()))
    cost = outcome.usage["big"]
    assert cost.produced_tokens == cost.kept_tokens + cost.discarded_tokens > 0
    assert outcome.kept == cost.kept_tokens
    assert TEXT.startswith(outcome.reasoning)


async def test_a_raw_text_ends_at_its_limit():
    """What its chain would go on with, a cue for an answer, is no part of it."""
    problem = Problem(messages=(Message("user", "Once "),), raw=True, max_tokens=10)
    job = ChainRequest(model="m", method=build("big_only", {}, [], paths=False), problems=(problem,), stream=True, raw=True)
    _, content, outcome = await streamed(pair("word " * 40, width=1, small_width=1), job)
    assert (content, outcome.finish) == ("word " * 2, "length")
    assert content == outcome.content


@pytest.mark.slow
@pytest.mark.parametrize("phase", ["thinking", "answer"])
async def test_text_streamed_before_the_deadline_is_in_the_outcome(phase):
    """It left as final: the reply's figures count it, and its trace has it."""
    text = "word " * 4000 if phase == "thinking" else "a</think>\n\n" + "word " * 4000
    problem = Problem(messages=(Message("user", "Q"),), max_tokens=8192, max_seconds=3.0)
    job = ChainRequest(model="m", method=build("big_only", {}, [], paths=False), problems=(problem,), stream=True)
    reasoning, content, outcome = await streamed(pair(text, delay=0.001, width=1, small_width=1), job)
    assert outcome.finish == "time"
    assert "word" in (reasoning if phase == "thinking" else content)
    assert (reasoning, content.strip()) == (outcome.reasoning, outcome.content)
    assert outcome.kept > 0


async def test_a_cancelled_write_loses_no_streamed_text():
    """What it writes afterwards follows what had left already."""

    engines = pair("word " * 400, delay=0.001, width=1, small_width=1)

    class GivesUp(Method):
        async def run(self, chain):
            writing = asyncio.ensure_future(chain.write("big"))
            while engines["big"].produced < 10:  # noqa: ASYNC110  the engine has no event
                await asyncio.sleep(0)
            writing.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await writing
            await chain.insert("Enough of that.\n")
            await chain.answer("big")

    job = ChainRequest(model="m", method=GivesUp(), problems=(Problem.of("Q"),), stream=True)
    reasoning, content, outcome = await streamed(engines, job)
    assert reasoning.startswith("word ")
    assert reasoning.endswith("Enough of that.\n")
    assert (reasoning, content) == (outcome.reasoning, outcome.content)


def test_a_live_stream_has_the_means_of_each_text_and_the_same_chain_without_them():
    ask = {**ASK, "seed": 3, "stream": True}
    with serving() as served:
        told = {events: served.post(json={**ask, "events": events}).text for events in (True, "live")}
    found = {}
    for kind, text in told.items():
        chunks = [json.loads(line[6:]) for line in text.split("\n") if line.startswith("data: {")]
        events = [chunk["speculative"]["event"] for chunk in chunks if (chunk.get("speculative") or {}).get("event")]
        found[kind] = [event["proposal"] for event in events if "proposal" in event]
    means = [(one["completion"].pop("mean_logprob"), one["completion"].pop("mean_entropy")) for one in found["live"]]
    assert means == [(-0.1, 0)] * len(means)
    assert found[True] == found["live"]  # and no means
