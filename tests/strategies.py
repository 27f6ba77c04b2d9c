"""What the tests of the core share: scripted pairs, every method with its parameters, and what must hold of every trace."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from zlib import crc32

from hypothesis import strategies as st
from pydantic import Field

from speculative import Pair, Problem, Result
from speculative.chain.chain import Chain
from speculative.errors import EngineError, EngineUnreachableError
from speculative.methods.base import Method
from speculative.testing import Script, ScriptedEngine
from speculative.trace.check import find_damage
from speculative.trace.events import AnyEvent, TextDelta
from speculative.trace.state import Ledger
from speculative.trace.trace import Trace
from speculative.trace.usage import Usage

FRAGMENTS = (
    "so ",
    "7*6=42",
    "\n\n",
    "é",
    "日本",
    "😀",
    "👩‍👧",
    "\n",
    "Wait",
    "} ",
    "\\boxed{4",
    "2}",
    "</think>",
    "<|im_end|>",
    "the same.\n\n" * 3,
)
"""What babbling models say: characters of every length, endings, loops, boxes."""


def scripted_pair(big: Any = "", small: Any = "", *, widths: tuple[int, int] = (1, 1), **settings: Any) -> Pair:
    """A pair whose engines write what the scripts say."""
    first, second = widths
    return Pair(ScriptedEngine(big, name="big", width=first, **settings), ScriptedEngine(small, name="small", width=second, **settings))


def started(problem: Problem, pair: Mapping[str, Any], **settings: Any) -> Chain:
    """A chain without a method, for the verbs alone."""
    return Chain(problem, pair, **settings)


def chain_of(big: Any = "", small: Any = "", *, widths: tuple[int, int] = (1, 1), listener: Any = None, **problem: Any) -> Chain:
    engines = {key: value for key, value in problem.items() if key in ("delay", "context", "abilities", "scores", "top", "rewards")}
    chain = {key: value for key, value in problem.items() if key in ("append_only", "max_drafts")}
    rest = {key: value for key, value in problem.items() if key not in engines | chain}
    return started(Problem.of("What is 6*7?", **rest), scripted_pair(big, small, widths=widths, **engines), listener=listener, **chain)


def babble(salt: int, fragments: Sequence[str] = FRAGMENTS) -> Script:
    """A model that says something else after every prefix, and the same after the same."""

    def script(seen: str, seed: int) -> str:
        chance = random.Random(f"{salt}/{seen}/{seed}")
        return "".join(chance.choice(fragments) for _ in range(chance.randrange(1, 30)))

    return script


POLICIES: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "big_only": st.fixed_dictionaries({"sequential_scale": st.integers(0, 2)}),
    "small_only": st.fixed_dictionaries({"sequential_scale": st.integers(0, 1)}),
    "placeholder": st.just({}),
    "random_switch": st.fixed_dictionaries({"switch_chunk": st.integers(1, 9), "unit": st.sampled_from(["chunk", "step"])}),
    "logprob_subselect": st.fixed_dictionaries(
        {
            "sgen": st.integers(1, 5),
            "stok": st.integers(1, 9),
            "ltok": st.integers(1, 9),
            "lbound": st.integers(0, 3),
            "max_iterations": st.integers(1, 3),
        }
    ),
    "spec_rewrite": st.fixed_dictionaries(
        {
            "thinking_n_ignore": st.integers(0, 2),
            "drafting_n": st.integers(0, 2),
            "full_rewrite": st.booleans(),
            "draft_propose_ignore_str": st.booleans(),
            "small_first": st.booleans(),
            "bloat_tokens": st.sampled_from([0, 100]),
        }
    ),
}
POLICIES |= {
    "cascade": st.fixed_dictionaries({"samples": st.integers(1, 3), "agree": st.sampled_from([0.3, 1.0])}),
    "chunk_gate": st.fixed_dictionaries(
        {
            "chunk": st.integers(1, 9),
            "turns": st.integers(1, 9),
            "percentile": st.sampled_from([0.0, 0.5]),
            "calibration": st.sampled_from(["", "1"]),
        }
    ),
    "best_step": st.fixed_dictionaries(
        {"versions": st.integers(1, 3), "by": st.sampled_from(["likelihood", "question"]), "step_tokens": st.integers(1, 40)}
    ),
    "confidence_route": st.fixed_dictionaries({"threshold": st.sampled_from([0.0, 0.5]), "tokens": st.sampled_from(["math", "all"])}),
    "cue_switch": st.fixed_dictionaries({"cues": st.just("so;7;Wait"), "min_tokens": st.integers(0, 5)}),
    "draft_verify": st.fixed_dictionaries({"draft_tokens": st.integers(1, 9)}),
    "entropy_switch": st.fixed_dictionaries(
        {"threshold": st.sampled_from([0.0, 0.5]), "ahead": st.booleans(), "step_tokens": st.integers(1, 40)}
    ),
    "advisor": st.fixed_dictionaries(
        {
            "trigger": st.sampled_from(["tag", "hesitation"]),
            "tag": st.just("so"),
            "words": st.just("so;7"),
            "hesitate": st.integers(1, 2),
            "max_calls": st.integers(0, 3),
            "advice_tokens": st.integers(1, 20),
        }
    ),
    "guide": st.fixed_dictionaries({"levels": st.integers(1, 3), "sure": st.sampled_from([0.5, 0.95]), "hint_tokens": st.integers(1, 20)}),
    "handoff": st.fixed_dictionaries({"tag": st.sampled_from(["so", "7*6"])}),
    "offload": st.fixed_dictionaries(
        {
            "open_tag": st.sampled_from(["so", "7"]),
            "close_tag": st.sampled_from(["Wait", "4"]),
            "max_span": st.integers(1, 20),
            "chunk": st.integers(1, 9),
            "probe_tokens": st.integers(1, 20),
        }
    ),
    "relay": st.fixed_dictionaries({"open_tag": st.just("*"), "close_tag": st.just("="), "max_calls": st.integers(0, 3)}),
    "lead": st.fixed_dictionaries({"lead_tokens": st.integers(1, 9), "share": st.sampled_from([0.0, 0.5, 1.0])}),
    "likelihood_verify": st.fixed_dictionaries(
        {
            "threshold": st.sampled_from([0.0, -0.1]),
            "first_big_steps": st.integers(0, 2),
            "step_tokens": st.integers(1, 40),
        }
    ),
    "policy": st.fixed_dictionaries(
        {
            "price": st.sampled_from([0.0, 1e-3, 1.0]),
            "explore": st.sampled_from([0.0, 0.5, 1.0]),
            "first_big_steps": st.integers(0, 2),
            "step_tokens": st.integers(1, 40),
        }
    ),
    "step_verify": st.fixed_dictionaries(
        {
            "threshold": st.sampled_from([0, 7]),
            "score": st.sampled_from(["greedy", "expected"]),
            "gate": st.sampled_from(["none", "small"]),
            "step_tokens": st.integers(1, 40),
        }
    ),
    "stitch": st.fixed_dictionaries(
        {
            "tau_up": st.sampled_from([0.0, 0.3]),
            "tau_down": st.sampled_from([0.0, 0.3]),
            "chunk": st.integers(1, 9),
            "big_chunk": st.integers(1, 9),
        }
    ),
    "takeover": st.fixed_dictionaries(
        {
            "begin_tokens": st.integers(0, 5),
            "look": st.integers(1, 20),
            "choose": st.sampled_from(["big", "agree"]),
            "check_tokens": st.integers(0, 5),
            "doubts": st.integers(0, 2),
            "doubt": st.just("wait; so"),
            "checking": st.just("7"),
        }
    ),
    "whole_draft": st.fixed_dictionaries(
        {"samples": st.integers(1, 3), "by": st.sampled_from(["likelihood", "question"]), "threshold": st.sampled_from([0.0, -0.1])}
    ),
    "trigger": st.fixed_dictionaries(
        {
            "prime": st.integers(0, 2),
            "direction": st.sampled_from(["over", "under"]),
            "tau": st.sampled_from([0.5, 0.95]),
            "hesitate": st.integers(0, 2),
            "words": st.just("wait; so"),
        }
    ),
}
PIPELINES = st.fixed_dictionaries({"pipeline": st.sampled_from(["accept", "both"]), "step_tokens": st.integers(1, 40)})
CONCURRENT: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "auto": st.fixed_dictionaries(
        {
            "optimize": st.sampled_from(["latency", "throughput", "batch"]),
            "check": st.sampled_from(["ask", "score"]),
            "allow": st.sampled_from(["checked", "small", "cascade"]),
            "step_tokens": st.integers(1, 40),
        }
    ),
    "likelihood_verify": PIPELINES,
    "lookahead": st.fixed_dictionaries(
        {"depth": st.integers(1, 4), "step_tokens": st.integers(1, 40), "same": st.sampled_from(["exact", "big"])}
    ),
    "mentor": st.fixed_dictionaries(
        {"share": st.sampled_from([0.3, 1.0]), "segment": st.integers(1, 16), "chooser": st.sampled_from(["small", "big"])}
    ),
    "step_verify": PIPELINES,
}
"""Methods with several calls of one chain under way: the order of their events depends on the speed of the engines."""

JUDGED: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "advantage": st.fixed_dictionaries({"mode": st.sampled_from(["router", "oracle"]), "step_tokens": st.integers(1, 40)}),
    "reward_guided": PIPELINES,
    "tilted_best": st.fixed_dictionaries(
        {"versions": st.integers(1, 3), "beta": st.sampled_from([0.1, 20.0]), "step_tokens": st.integers(1, 40)}
    ),
}
"""Methods that need a judge."""

LIMITS = (0.1, 1.0, 10.0, 60.0)
"""Seconds of `max_seconds`, one after the other, until one of them was enough for a busy machine to begin."""

WRAPPERS = ("vote(ballots=2)", "early_exit(agree=2)", "budget_forcing(most=40)")
MANY_CHAINS = ("cascade",)
"""Methods of several chains, which cannot be forced to think on."""


@st.composite
def policies(draw: st.DrawFn, known: Mapping[str, st.SearchStrategy[dict[str, Any]]] = POLICIES) -> tuple[str, dict[str, Any], list[str]]:
    """A method, its parameters, and wrappers around it."""
    name = draw(st.sampled_from(sorted(known)))
    wrappers = [wrapper for wrapper in WRAPPERS if name not in MANY_CHAINS or "forcing" not in wrapper]
    return name, draw(known[name]), draw(st.lists(st.sampled_from(wrappers), max_size=2))


def pairs(**settings: Any) -> st.SearchStrategy[Pair]:
    """Pairs of babbling models whose tokens are 1 to 3 bytes, alike or unlike."""
    width, salt = st.integers(1, 3), st.integers(0, 1 << 30)
    return st.builds(lambda a, b, w, v: scripted_pair(babble(a), babble(b), widths=(w, v), **settings), salt, salt, width, width)


def problems() -> st.SearchStrategy[Problem]:
    return st.builds(
        lambda tokens, produced, seed: Problem.of("6*7? <think> 😀", max_tokens=tokens, max_produced=produced, seed=seed),
        st.integers(1, 300),
        st.none() | st.integers(1, 400),
        st.integers(0, 1 << 40),
    )


class Recorded(list[AnyEvent | TextDelta]):
    """A listener that remembers."""

    def __call__(self, happened: AnyEvent | TextDelta) -> None:
        self.append(happened)

    @property
    def trace(self) -> Trace:
        return Trace([event for event in self if not isinstance(event, TextDelta)])

    @property
    def drafted(self) -> str:
        """All text that was told as a proposal."""
        return "".join(delta.text for delta in self if isinstance(delta, TextDelta) and not delta.committed)

    @property
    def told(self) -> str:
        """All text that was told as final."""
        return "".join(delta.text for delta in self if isinstance(delta, TextDelta) and delta.committed and delta.role != "method")


def kinds(trace: Trace) -> list[str]:
    return [type(event).__name__ for event in trace]


def kept_by_author(trace: Trace) -> dict[str, str]:
    """The text of each author."""
    texts: dict[str, str] = {}
    for segment in trace.segments():
        texts[segment.author] = texts.get(segment.author, "") + segment.text
    return texts


def check_books(trace: Trace, pair: Mapping[str, Any] | None = None) -> None:
    """produced = kept + discarded for every role, and nothing that an engine wrote is missing."""
    usage, ledger = Ledger.of(trace.events).usage(), Ledger.of(trace.events)
    assert find_damage(trace.events) is None
    assert usage == trace.usage()
    calls = [event.call for event in trace.walk() if hasattr(event, "call")]
    produced = Counter[str]()
    for call in calls:
        produced[call.role] += call.produced_tokens
    for role, cost in usage.items():
        assert cost.produced_tokens == cost.kept_tokens + cost.discarded_tokens == produced[role]
        assert 0 <= cost.kept_tokens <= cost.produced_tokens
        assert cost.kept_tokens == sum(piece.kept for piece in ledger.pieces if piece.author == role)
    assert ledger.kept == sum(cost.kept_tokens for cost in usage.values())
    for role, engine in (pair or {}).items():
        assert engine.produced == usage.get(role, Usage()).produced_tokens
        assert engine.running == 0


def check_result(result: Result, problem: Problem, pair: Pair) -> None:
    """What holds of every result, whatever the method and the models."""
    check_books(result.trace, pair)
    again = Trace(list(result.trace.events))  # as a saved trace is read: nothing of the ledger that grew with the chain
    segments = again.segments()
    assert result.trace.segments() == segments
    assert result.usage == result.trace.usage() == again.usage()
    assert result.reasoning == "".join(s.text for s in segments if s.phase == "thinking")
    assert result.text == "".join(s.text for s in segments if s.phase == "answer").strip()
    assert sum(s.tokens for s in segments) <= problem.max_tokens
    if problem.max_produced is not None:
        assert sum(cost.produced_tokens for cost in result.usage.values()) <= problem.max_produced
    tokenizers = {role: engine.tokenizer for role, engine in pair.items()}
    for piece in result.trace.ledger.pieces:
        if piece.author in tokenizers:
            assert tokenizers[piece.author].to_bytes(piece.ids).decode("utf-8", "replace") == piece.text


class Verbs(Method):
    """A method that a test writes: runs the coroutine function it is given."""

    script: Any = Field(None, exclude=True)

    async def run(self, chain: Chain) -> None:
        await self.script(chain)


GONE = "http://small:8001: nothing listens there"


class Mortal(ScriptedEngine):
    """Dies over the token after its last one, and is dead from then on."""

    def __init__(self, *args: Any, lives: int = 0, error: type[EngineError] = EngineUnreachableError, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self.lives, self.error, self.dead = lives, error, lives < 0

    async def _pace(self, tokens: int, stats: Any) -> None:
        if self.dead or self.produced + tokens > self.lives:
            if not self.dead:
                self._count(max(0, self.lives - self.produced), stats)
            self.dead = True
            await asyncio.sleep(0)
            raise self.error(GONE)
        await super()._pace(tokens, stats)


SCRIPTS: tuple[Script, ...] = (
    lambda seen, seed: "",
    lambda seen, seed: "</think>",
    lambda seen, seed: "<|im_end|>",
    lambda seen, seed: "</think>so<think>no</think>yes",
    lambda seen, seed: "never ends " * 60,
    lambda seen, seed: "\n\n" * 90,
    lambda seen, seed: f"Step {seed % 7}.\n\n" * 40,
    lambda seen, seed: "😀é" * 90,
)
"""Models that end at once, never end, write nothing, or open the thinking again."""


def digit_odds(seen: str) -> dict[str, float]:
    """Log-probabilities of the digits, the same behind the same text."""
    return {digit: -float(crc32(f"{digit}{seen[-30:]}".encode()) % 90) / 10 for digit in "0123456789"}


WORK_AHEAD = ("lookahead", "step_check", "step_verify")
"""Methods of the edges that draft while a call of the same chain is under way, and cancel drafts."""


def check_any_speed(attempt: Callable[[int, random.Random | None], Result], number: int) -> None:
    """Runs an edge at two speeds: the tokens are the same.

    With a cap on what is produced, a method that works ahead is left out: what a cancelled draft had cost by then leaves it less.
    """
    steady, hasty = attempt(number, None), attempt(number, random.Random(number))
    started = steady.trace.started
    works_ahead = any(name in words for name in WORK_AHEAD for words in (started.method, *(card.name for card in started.engines.values())))
    if started.problem.max_produced is None or not works_ahead:
        assert [piece.ids for piece in hasty.trace.ledger.pieces] == [piece.ids for piece in steady.trace.ledger.pieces]
        assert hasty.finish_reason == steady.finish_reason


class Chunked(ScriptedEngine):
    """Streams several tokens at a time, as a server does."""

    size = 7

    async def stream(self, *args: Any, **kwargs: Any) -> Any:
        held: list[Any] = []
        async for delta in super().stream(*args, **kwargs):
            held.append(delta)
            if delta.completion or len(held) == self.size:
                yield type(delta)(tuple(token for each in held for token in each.ids), delta.completion)
                held = []


class Jittery(ScriptedEngine):
    """Takes a random number of turns for everything."""

    def __init__(self, *args: Any, chance: random.Random | None = None, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._chance = chance

    async def _pace(self, tokens: int, stats: Any) -> None:
        for _ in range(self._chance.choice((0, 0, 1, 7, 30)) if self._chance else 0):
            await asyncio.sleep(0)
        await super()._pace(tokens, stats)
