"""The timeline of a chain."""

import json
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from msgspec import structs
from profiles import examples
from strategies import pairs, policies, problems

from speculative import Pair, Problem, Sampling, asolve
from speculative.report.terminal import EXCERPT, clean, lay_out
from speculative.report.timeline import REST, Span, Timeline, TraceRecorder
from speculative.result import Result
from speculative.testing import ScriptedEngine
from speculative.trace.events import AnyEvent

SCRIPT = "First this.\n\nThen that.\n\nAt last so.</think>\n\nThe answer is \\boxed{7}."
METHODS = ["big_only", "placeholder", "random_switch", "logprob_subselect", "spec_rewrite"]


async def result_of(method, wrappers=(), script=SCRIPT, **settings):
    async with Pair(ScriptedEngine(script), ScriptedEngine(script)) as pair:
        return await asolve(Problem.of("How?"), method, wrappers=wrappers, pair=pair, **settings)


@pytest.mark.parametrize("wrappers", [(), ("vote(ballots=3)",), ("early_exit",)])
@pytest.mark.parametrize("method", METHODS)
async def test_kept_spans_are_the_chain_and_its_answer(method, wrappers):
    result = await result_of(method, wrappers)
    kept = [span for span in Timeline(result.trace).spans if span.status == "kept"]
    assert "".join(span.text for span in kept if span.phase == "thinking") == result.reasoning
    assert "".join(span.text for span in kept if span.phase == "answer").strip() == result.text


@settings(max_examples=examples(30))
@given(policies(), pairs(), problems())
async def test_tokens_of_kept_spans_are_those_of_the_usage(policy, pair, problem):
    method, params, wrappers = policy
    async with pair:
        result = await asolve(problem, method, wrappers=wrappers, pair=pair, **params)
    kept = Counter()
    for span in Timeline(result.trace).spans:
        kept.update({span.author: span.tokens} if span.status == "kept" else {})
    assert all(kept[role] == cost.kept_tokens for role, cost in result.usage.items())
    assert not kept["method"]


@pytest.mark.parametrize("method", METHODS)
async def test_every_discarded_draft_is_drawn(method):
    result = await result_of(method)
    drafted = sum(len(event.proposals) for event in result.trace if hasattr(event, "proposals"))
    accepted = sum(len(event.drafts) for event in result.trace if type(event).__name__ == "Accepted")
    rewound = any(type(event).__name__ == "Rewound" for event in result.trace)
    discarded = [span for span in Timeline(result.trace).spans if span.status == "discarded"]
    assert len(discarded) == drafted - accepted + (2 if rewound else 0)


@pytest.mark.parametrize("method", METHODS)
async def test_a_listener_ends_with_the_timeline_of_the_trace(method):
    recorder = TraceRecorder()
    result = await result_of(method, listener=recorder)
    assert recorder.trace == result.trace
    assert recorder.timeline.spans == Timeline(result.trace).spans
    assert not recorder.timeline.unfinished()


@pytest.mark.parametrize("method", METHODS)
async def test_discarded_copies_of_a_greedy_draft_cost_no_more_than_the_usage(method):
    params = {"drafting_n": 3} if method == "spec_rewrite" else {}
    pair = Pair(Greedy(SCRIPT), Greedy(SCRIPT))
    result = await asolve(Problem.of("How?", sampling=Sampling(temperature=0)), method, pair=pair, **params)
    drawn = Counter()
    for span in Timeline(result.trace).spans:
        drawn[span.author] += span.tokens
    assert all(drawn[role] <= cost.produced_tokens for role, cost in result.usage.items())
    assert drawn.total() > 30


class Greedy(ScriptedEngine):
    """Copies are written once, as by the engines that ship."""

    async def complete(self, prefixes, decoding, *, key, stats):
        found = await super().complete(prefixes, structs.replace(decoding, n=1), key=key, stats=stats)
        return [several * decoding.n for several in found]


@pytest.mark.slow  # waits for a limit that a busy machine does not reach before the answer has begun
@pytest.mark.parametrize("listened", [False, True])
@pytest.mark.parametrize("script", ["So. " * 5_000, "So.</think>\n\nThe answer is" + " 7" * 5_000])
async def test_the_text_of_a_call_at_the_time_limit_is_drawn_once_as_kept(script, listened):
    async with Pair(ScriptedEngine(script, delay=0.01), ScriptedEngine(script)) as pair:  # far more than 8 s
        result = await asolve(
            Problem.of("How?", max_seconds=8, max_tokens=100_000), "big_only", pair=pair, listener=TraceRecorder() if listened else None
        )
    assert result.finish_reason == "time"
    *spans, note = Timeline(result.trace).spans
    assert (note.status, note.text, note.tokens) == ("note", "a call of big was cut off here", 0)
    assert {span.status for span in spans} == {"kept"}
    assert "".join(span.text for span in spans if span.phase == "thinking") == result.reasoning
    assert "".join(span.text for span in spans if span.phase == "answer").strip() == result.text
    assert sum(span.tokens for span in spans) == result.usage["big"].kept_tokens > 1


async def test_a_voted_chain_shows_the_others_as_discarded():
    spans = Timeline((await result_of("big_only", ["vote(ballots=3)"])).trace).spans
    assert [span.text for span in spans if span.status == "note"] == ["chain 2 on the same problem:", "chain 3 on the same problem:"]


async def test_the_outcome_of_a_trace_is_that_of_the_result():
    result = await result_of("spec_rewrite")
    told = Result.from_trace(result.trace)
    for field in ("text", "answer", "reasoning", "finish_reason", "method", "params", "seed", "seconds", "usage"):
        assert getattr(told, field) == getattr(result, field)


async def test_a_draft_has_its_verdict_and_its_mean_log_probability():
    discarded = [span for span in Timeline((await result_of("placeholder")).trace).spans if span.status == "discarded"]
    assert {span.verdict for span in discarded} == {"only shows that the small model answers"}
    spans = Timeline((await result_of("logprob_subselect")).trace).spans
    assert {span.verdict for span in spans if span.status == "kept"} >= {"accepted", ""}
    assert all((span.mean_logprob is not None) == (span.author == "big") for span in spans if span.depth)


async def test_a_judges_reply_stands_behind_the_step_that_it_judged():
    spans = Timeline((await result_of("step_verify")).trace).spans
    replies = [place for place, span in enumerate(spans) if "was asked (judge) and replied" in span.text]
    assert replies
    assert all(spans[place - 1].author == "small" and spans[place].author == "big" for place in replies)
    assert all(spans[place - 1].status == "kept" or spans[place - 1].verdict for place in replies)


def lines(*spans, labels=True):
    return [line.plain for line in lay_out(spans, labels)]


def test_labels_stand_where_the_author_changes():
    found = lines(Span("big", "One "), Span("small", "two."), Span("small", " Three."), Span("big", "\nFour."))
    assert found == ["[big]One [small]two. Three.", "[big]Four."]


def test_discarded_text_is_a_line_of_its_own_and_an_excerpt():
    found = lines(Span("big", "One"), Span("small", "a\n\nb\n\n", "discarded", depth=1), Span("big", " two"))
    assert found == ["[big]One", "  ✗ [small] a ↵ b", "[big] two"]
    (long,) = lines(Span("small", "x" * 500, "discarded"))
    assert long.endswith(f"… {500 - EXCERPT} characters more")


def test_equal_discarded_drafts_are_one_line():
    assert lines(*[Span("small", "same", "discarded")] * 3) == ["✗ [small] same  x 3"]


def test_the_answer_is_separated_from_the_thinking():
    assert lines(Span("big", "Thought.\n\n"), Span("big", "\n\n7.", phase="answer"), labels=False) == ["Thought.", "── answer ──", "7."]


def test_lines_that_are_done_stay_as_they_are():
    spans = [Span("big", "a\nb"), Span("small", "c\n\nd"), Span("small", "no", "discarded"), Span("big", "e\nf", phase="answer")]
    whole = lines(*spans)
    for size in range(1, len(spans)):
        part = lines(*spans[:size])
        assert part[:-1] == whole[: len(part) - 1]


def test_characters_that_steer_a_terminal_are_replaced():
    assert clean("a\x1b[2Jb\x07\x9b\u202ec\r\nd\te") == "a\ufffd[2Jb\ufffd\ufffd\ufffdc\nd\te"


def test_a_draft_that_is_accepted_in_part_is_drawn_in_two_parts():
    whole = json.loads((Path(__file__).parents[1] / "trace" / "damaged.json").read_text(encoding="utf-8"))["events"]
    drafted, scored, accepted = (msgspec.convert(event, AnyEvent) for event in whole[2:5])
    scored = structs.replace(scored, logprobs=((-1.0, -8.0, -4.0),))
    spans = Timeline([drafted, scored, structs.replace(accepted, cut=(1, 2))]).spans
    assert [(span.text, span.status, span.tokens, span.verdict, span.reading) for span in spans] == [
        ("Tw", "kept", 1, "accepted", ("big", -1.0)),
        ("o.", "discarded", 2, REST, ("big", -6.0)),
    ]
    (_, rest) = Timeline([drafted, structs.replace(accepted, cut=(0, 0))]).spans
    assert (rest.text, rest.tokens, rest.verdict, rest.reading) == ("Two.", 3, "rejected", None)
