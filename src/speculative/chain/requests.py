"""Prepares the engine calls of one chain.

A prepared call has its limits, decoding, listener and place in the tree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import get_args

from speculative.chain.budget import NO_EXTRA, Budget, TokenLimit, Use
from speculative.chain.calls import EmitText, EngineCall, EngineCalls, Taken, kept_text
from speculative.chain.contexts import RoleContexts
from speculative.chain.drafts import Draft, TreeNode
from speculative.chain.failover import Failover
from speculative.chain.prefill import BackgroundPrefill
from speculative.chain.steps import STEP
from speculative.chain.text_stream import EndRule
from speculative.engines.base import Ability, Completion, Decoding, Engine, Ids, Purpose
from speculative.errors import ChainStateError
from speculative.problem import Problem
from speculative.trace.events import AnyEvent, Phase, Proposal, TextDelta

Listener = Callable[[AnyEvent | TextDelta], None]
"""Gets every text delta, and every event of the chain itself; a child's events come inside its `Child` event."""

OnIds = Callable[[str, Ids], None]
"""Gets a role and all tokens so far of a call."""

DISPLAY_TOP = 5
"""The likely tokens at each place whose entropy is shown. Most servers give so many."""

ABILITIES = frozenset[str](get_args(Ability))
"""The names of all abilities that a verb may need of an engine."""

USES: Mapping[str, Use] = {"draft": "draft", "ask": "question", "prefill": "question", "answer": "answer"}
"""The purposes of the verbs, but for `write`."""


class Requests:
    """Prepares engine calls.

    `path` is the chain's place among its siblings; `listener` may be None.
    """

    def __init__(
        self,
        problem: Problem,
        engines: Mapping[str, Engine],
        contexts: RoleContexts,
        calls: EngineCalls,
        budget: Budget,
        failover: Failover,
        prefills: BackgroundPrefill,
        listener: Listener | None,
        path: tuple[int, ...],
    ) -> None:
        self.listener, self.path = listener, path
        self.on_ids: OnIds | None = None
        """Gets the role and all tokens so far of each `write` that is under way."""
        self.taken: Taken | None = None
        """Waits, within a tower, until the outer chain has used the tokens."""
        self.logprobs = False
        """True if every text of the chain, but no reply, comes with the log-probabilities of its tokens."""
        self.displays = False
        """True if engines are asked for log-probabilities to be shown, where they have them; methods do not see these."""
        self._sizes: dict[str, int] = {}
        self._room, self._thinking_tokens = problem.max_tokens - problem.reserve, problem.thinking_tokens
        self._problem, self._engines, self._contexts, self._calls = problem, engines, contexts, calls
        self._budget, self._failover, self._prefills = budget, failover, prefills

    def check_ability(self, verb: str, role: str, ability: Ability | None) -> None:
        """Raises `ChainStateError` if the role's engine lacks a needed ability."""
        engine = self._engines[role]
        if ability and ability not in engine.abilities:
            raise ChainStateError(
                f"{verb}: the {role} model must have the ability `{ability}`, which {engine.name} does not have; "
                f"state it in the method's `needs`"
            )

    def thinking_limit(self, role: str, prefix: Ids, after: Sequence[Draft | None] = (None,), n: int = 1) -> TokenLimit:
        """Returns the limit of each completion of one more call that thinks."""
        return TokenLimit.smallest(
            self.thinking_left(after), self._contexts.free_positions(role, prefix), self._budget.remaining(n * len(after))
        )

    def thinking_left(self, after: Sequence[Draft | None] = (None,)) -> int:
        """Returns the tokens that the thinking may still have after several drafts.

        The deepest of the drafts counts.
        """
        depth = max(draft.depth_tokens if draft else 0 for draft in after)
        return min(self._room - self._inserted(), self._thinking_tokens) - self._contexts.ledger.kept - depth

    async def wait_for_room(
        self, max_tokens: int | None, after: Sequence[Draft | None] = (None,), completions: int = 1, use: Use = "write"
    ) -> bool:
        """Waits for room in the budget for a call that thinks.

        Returns whether it waited: then ask again.
        """
        if self._budget.left is None:
            return False
        wanted = self.thinking_left(after)
        return await self._budget.wait_for_room(wanted if max_tokens is None else min(wanted, max_tokens), completions, use)

    def answer_limit(self, role: str, prefix: Ids, after: Draft | None = None, cue: str = "") -> TokenLimit:
        """Returns what the answer may write after a cue."""
        written = self._contexts.ledger.kept + self._inserted(cue) + (after.depth_tokens if after else 0)
        left = self._problem.max_tokens - written
        return TokenLimit.smallest(left, self._engines[role].context - len(prefix), self._budget.remaining(use="answer"))

    def fit_inserted(self, text: str) -> str:
        """Returns the beginning of a text whose tokens fit under `max_tokens`."""
        left = self._room - self._inserted() - self._contexts.ledger.kept
        if self._size(text) <= left:
            return text
        context = self._contexts.of(next(iter(self._engines)))
        ids = tuple(context.tokenizer.encode(text))
        for size in range(left, 0, -1):
            fitting = context.text_of(Completion(ids[:size], "length"))
            if len(context.tokenizer.encode(fitting)) <= left:
                return fitting
        return ""

    def _inserted(self, cue: str = "") -> int:
        """Counts the tokens of text that no model wrote: inserted text and cues.

        They count towards `max_tokens`, in the vocabulary of the first role. Markers in the text are a model's own tokens.
        """
        inserted = sum(self._size(text) * count for text, count in self._contexts.ledger.inserted.items())
        return inserted + (self._size(cue) if cue else 0)

    def _size(self, text: str) -> int:
        if text not in self._sizes:
            context = self._contexts.of(next(iter(self._engines)))
            markers = (context.dialect.think_start, context.dialect.think_end)
            self._sizes[text] = 0 if text in markers else len(context.tokenizer.encode(text))
        return self._sizes[text]

    def call(
        self,
        verb: str,
        role: str,
        prefixes: Sequence[Ids],
        decoding: Decoding,
        limit: TokenLimit | None = None,
        emit: EmitText | None = None,
        make_proposal: Callable[[Completion], Proposal] | None = None,
        ends: Sequence[EndRule | None] = (),
        phase: Phase = "thinking",
    ) -> EngineCall:
        """Prepares a call.

        A call that writes the chain's text starts the prefill of the idle model, if that is due.
        """
        on_tokens: Callable[[Ids], None] | None = None
        if decoding.logprobs:
            self.check_ability(verb, role, "logprobs")
        if verb in ("write", "draft", "answer"):
            self._prefills.saw(role, self._contexts.ledger.kept)
        if verb == "write" and self._prefills.wants(role):
            self._prefills.update(role)
            if emit or any(ends) or self._prefills.watches(decoding.max_tokens):
                on_tokens = partial(self._prefills.update, role)
        if verb == "write" and self.on_ids:
            on_tokens = _both(on_tokens, partial(self.on_ids, role))
        return EngineCall(
            self._calls,
            verb,
            role,
            self._engines[role],
            prefixes,
            decoding,
            limit=limit or NO_EXTRA,
            budget=self._budget,
            use=USES.get(verb, "write"),
            bounded=STEP in decoding.stop,
            ends=ends,
            has_fallback=self._failover.has_fallback(role),
            emit=emit,
            on_tokens=on_tokens,
            taken=self.taken,
            make_proposal=make_proposal,
            decoder=self._contexts.of(role).decoders[phase],
            display_top=self._display_top(verb, role),
        )

    def _display_top(self, verb: str, role: str) -> int | None:
        """Returns the number of likely tokens to ask for, for a reader.

        It is None if nothing is shown or the engine has no log-probabilities.
        """
        abilities = self._engines[role].abilities
        if not self.displays or verb not in ("write", "draft", "answer") or "logprobs" not in abilities:
            return None
        return DISPLAY_TOP if "top" in abilities else 0

    def decoding(
        self,
        node: TreeNode,
        max_tokens: int,
        *,
        temperature: float | None = None,
        n: int = 1,
        stop: tuple[str, ...] = (),
        stop_ids: tuple[int, ...] = (),
        logprobs: bool | int = False,
        choices: tuple[int, ...] = (),
        resumes: tuple[int, int, int, int] | None = None,
        purpose: Purpose = "text",
    ) -> Decoding:
        """Returns how one call decodes: with the problem's sampling, and its node's seed.

        `temperature`: in place of the problem's. `logprobs`: True for those of the tokens, K for those of the K most likely tokens at each
        place, too. `purpose`: the stop strings of a raw text do not end the reply to a question.
        """
        sampling = self._problem.sampling
        temperature = sampling.temperature if temperature is None else temperature
        if self._problem.raw and purpose != "reply":  # a raw text has no answer apart: its stop strings end any part of it
            stop = (*stop, *self._problem.stop)
        top = 0 if isinstance(logprobs, bool) else logprobs
        sampled = (max_tokens, temperature, sampling.top_p, sampling.top_k, node.key, n, stop, stop_ids)
        wanted = bool(logprobs) or (self.logprobs and purpose in ("text", "answer"))
        return Decoding(*sampled, wanted, top, choices, resumes, purpose=purpose)

    def emitter(self, role: str, number: int, phase: Phase, committed: bool = False) -> EmitText | None:
        """Returns a function that passes text of the draft `number` to the listener.

        Returns None without a listener.
        """
        listener, path = self.listener, self.path
        if listener is None:
            return None

        def emit(text: str, offset: int = 0) -> None:
            if text:
                listener(TextDelta(role, text, number + offset, phase, committed, path))

        return emit

    def proposal(self, role: str, number: int, completion: Completion, parent: Draft | None = None, phase: Phase = "thinking") -> Proposal:
        """Returns a completion as a draft's record: with its whole characters as text."""
        text, dropped = kept_text(self._contexts.of(role).decoders[phase], completion)
        return Proposal(number, parent.id if parent and parent.state != "accepted" else None, text, completion, dropped, phase)


def _both(first: Callable[[Ids], None] | None, second: Callable[[Ids], None]) -> Callable[[Ids], None]:
    """Returns a function that calls both functions, or the only one."""
    if first is None:
        return second

    def call(ids: Ids) -> None:
        first(ids)
        second(ids)

    return call
