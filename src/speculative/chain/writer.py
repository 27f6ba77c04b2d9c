"""Commits text at the chain's end as it is written.

It does the work of `write` and `answer`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

from msgspec import structs

from speculative.chain.budget import TokenLimit
from speculative.chain.calls import EngineCall, derive_seed, kept_text
from speculative.chain.drafts import Draft, TreeNode, joined
from speculative.chain.options import MAX_ANSWER_PARTS, WriteOptions
from speculative.chain.parts import ChainParts
from speculative.chain.text_stream import completes, end_rule, tokens_within
from speculative.engines.base import Completion, Purpose
from speculative.errors import ChainStateError, EngineError
from speculative.trace.events import Accepted, Answered, Inserted, Phase, Proposal, TextDelta, Wrote


class Writer:
    """Writes at the chain's end.

    `final`: whether text is final as soon as it is written, so that a listener may show it.
    """

    def __init__(self, parts: ChainParts, *, final: bool, answer_final: bool) -> None:
        self._parts, self._requests, self._contexts = parts, parts.requests, parts.contexts
        self._final, self._answer_final = final, answer_final

    async def write(
        self,
        node: TreeNode,
        number: int,
        options: WriteOptions,
        before: Sequence[Draft],
        steps_before: int,
        is_pause: Callable[[Draft], bool],
        role: str,
    ) -> tuple[Draft, int]:
        """Writes one part, which goes on from the parts `before`.

        Returns it and how many steps it completed. `is_pause` tells whether a part ends only because watchers look.
        """
        while True:
            prefix = self._contexts.prefix(role)
            room = self._requests.thinking_limit(role, prefix)
            if self._parts.ending.finish is not None or not await self._requests.wait_for_room(options.max_tokens):
                break
        if self._parts.ending.finish is None and room.tokens < 1:
            self._parts.ending.end(room.reason)
        if self._parts.ending.finish is not None:
            await asyncio.sleep(0)  # a method that never looks at `thinking` must still meet its deadline and Ctrl-C
            return self.empty_draft(role), 0
        limit = room.tokens if options.max_tokens is None else min(room.tokens, options.max_tokens)
        resumes, most = None, room
        if before:  # only the first part may be longer, to end a character: so a write that pauses is as long as one that does not
            most = TokenLimit(limit, room.reason if limit == room.tokens else "length")
        if before and all(part.author == role for part in before):
            resumes = (before[0].node.key, 0, 0, sum(len(part.ids) for part in before))
        decoding = self._requests.decoding(
            node,
            limit,
            temperature=options.temperature,
            stop=options.stop,
            stop_ids=self._contexts.of(role).stop_ids,
            resumes=resumes,
        )
        if before:
            decoding = structs.replace(decoding, seed=derive_seed(before[0].node.key, f"part {len(before)}"))
        written = "".join(part.text for part in before)
        ends = [end_rule(options.until, self._parts.begun_stops(options.stop, written=written), written)]
        emit = self._requests.emitter(role, number, "thinking", self._final)
        make_proposal = partial(self._requests.proposal, role, number)
        with self._requests.call("write", role, [prefix], decoding, most, emit, make_proposal, ends) as call:
            try:
                (completion,), cost = await call.run()
            except EngineError as error:
                return self._continue_partial(call, error, node)
            except asyncio.CancelledError:
                if call.partial and self._final:
                    self._commit_partial(call.role, call.partial, node)
                raise
        draft = Draft(role, self._requests.proposal(role, number, completion), None, self._parts.drafts.end, node)
        self._parts.record(Wrote(call=cost, seed=decoding.seed, proposal=draft.proposal))
        goes_on = len(completion.ids) < limit and is_pause(draft)
        steps = self.commit([draft], None if goes_on else steps_before)
        used_up = draft.finish == "length" and len(completion.ids) >= room.tokens
        if self._parts.ending.finish is None and (used_up or not (draft.tokens or before)):
            self._parts.ending.end(room.reason)
        return draft, steps

    async def answer(self, node: TreeNode, number: int, cue: str, phase: Phase, told: list[str], role: str) -> Draft:
        """Writes one part of the answer.

        `told` are the cues that the listener was given by earlier attempts.
        """
        context = self._contexts.of(role)
        pieces = self._parts.ledger.pieces
        last = pieces[-1].phase if pieces else "thinking"
        opening = [] if phase == last else context.reopening if phase == "thinking" else context.dialect.close(self._contexts.last_text())
        prefix = self._contexts.prefix(role) + context.parts([*opening, cue])
        room = self._requests.answer_limit(role, prefix, cue=cue)
        if cue and not told and room.tokens < 1:  # the answer begins without a cue that leaves it no token
            cue, prefix = "", self._contexts.prefix(role) + context.parts(opening)
            room = self._requests.answer_limit(role, prefix)
        if room.tokens < 1:
            self._parts.ending.finish = room.reason
            return self.empty_draft(role, "answer")
        stop, stop_ids = (self._parts.problem.stop, context.answer_stop_ids) if phase == "answer" else ((), context.stop_ids)
        purpose: Purpose = "answer" if phase == "answer" else "text"
        decoding = self._requests.decoding(node, room.tokens, stop=stop, stop_ids=stop_ids, purpose=purpose)
        held = phase == "thinking"  # only a closing marker makes it thinking: without one, the opening marker was text
        emit = None if held else self._requests.emitter(role, number, phase, self._answer_final)
        if not told:
            self._emit_cue(cue, number)
        told.append(cue)
        make_proposal = partial(self._requests.proposal, role, number, phase=phase)
        ends = [end_rule(None, self._parts.begun_ends(cue=cue))] if stop else []
        with self._requests.call("answer", role, [prefix], decoding, room, emit, make_proposal, ends, phase=phase) as call:
            try:
                (completion,), cost = await call.run()
            except EngineError as error:
                if held:
                    raise
                return self._continue_partial(call, error, node, cue)[0]
            except asyncio.CancelledError:
                if call.partial and self._answer_final:
                    self._emit_held(held, call.role, call.partial)
                    self._commit_partial(call.role, call.partial, node, cue)
                raise
        if held and completion.end_id in context.end_ids:
            phase, cue = "answer", context.dialect.think_start
            self._emit_cue(cue, number)
        proposal = self._requests.proposal(role, number, completion, phase=phase)
        self._emit_held(held, role, proposal)
        draft = Draft(role, proposal, None, self._parts.drafts.end, node)
        if phase == "answer":
            self._parts.record(Answered(call=cost, seed=decoding.seed, cue=cue, proposal=draft.proposal))
        else:
            self._parts.record(Wrote(call=cost, seed=decoding.seed, proposal=draft.proposal))
        self.commit([draft])
        if phase == "thinking" and draft.finish in ("length", "context"):
            self._parts.ending.finish = draft.finish
        return draft

    def _emit_cue(self, cue: str, number: int) -> None:
        if cue and self._requests.listener is not None:
            self._requests.listener(TextDelta("method", cue, number, "answer", self._answer_final, self._requests.path))

    def _emit_held(self, held: bool, role: str, proposal: Proposal) -> None:
        """Passes a text to the listener whose phase its end decided."""
        emit = self._requests.emitter(role, proposal.id, proposal.phase, self._answer_final) if held else None
        if emit:
            emit(proposal.text)

    async def whole_answer(self, role: str) -> Draft:
        """Writes all parts of the answer.

        Cues an answer if a budget ended the thinking.
        """
        ending, drafts = self._parts.ending, self._parts.drafts
        if not ending.has_answer:
            return self.empty_draft(role, "answer")
        dialect = self._contexts.of(self._parts.failover.role_for(role)).dialect
        cue = dialect.answer_cue if ending.finish in ("length", "loop", "context") else ""
        parts = list[Draft]()
        following: tuple[str, Phase] | None = (cue, "answer")
        while following:
            if len(parts) == MAX_ANSWER_PARTS:
                ending.finish = "loop" if ending.finish == "stop" else ending.finish
                break
            node, number, told = drafts.end.new_child(f"answer {role}"), drafts.new_numbers(1), list[str]()
            parts.append(await self._parts.failover.run(role, partial(self.answer, node, number, *following, told)))
            following = self.following(parts[-1])
        return joined([part for part in parts if part.phase == "answer"])

    def cut(self, draft: Draft, tokens: int | None, characters: int | None) -> tuple[int, int] | None:
        """Shortens a draft to its first tokens or characters.

        Returns how many of both are left, or None if all are.
        """
        if tokens is not None and characters is not None:
            raise ChainStateError("accept: upto and upto_character cannot both be given; leave one out")
        decoder = self._contexts.of(draft.author).decoders[draft.phase]
        size = draft.tokens if tokens is None else tokens
        if characters is not None and characters < len(draft.text):
            size = min(size, tokens_within(decoder, draft.ids, characters))
        if size >= draft.tokens:
            return None
        text, dropped = kept_text(decoder, Completion(draft.ids[:size], "length"))
        draft.cut(text, size - dropped)
        return size - dropped, len(text)

    def following(self, part: Draft) -> tuple[str, Phase] | None:
        """Returns the text and the phase that go on after a part of the answer.

        Returns None if the answer is over. A token that opens the thinking again begins more of it. One that closes thinking that is not
        open is text.
        """
        if part.finish == "cut":
            return "", part.phase
        context, end = self._contexts.of(part.author), part.proposal.completion.end_id
        if end is None or end in context.end_ids:
            return None
        if end == context.think_start_id:
            return "", "thinking"
        return "" if part.phase == "thinking" else context.dialect.think_end, "answer"

    def empty_draft(self, role: str, phase: Phase = "thinking") -> Draft:
        """Returns the draft of a verb that had nothing to write, at the chain's end."""
        end = self._parts.drafts.end
        empty = Draft(
            role,
            self._requests.proposal(role, self._parts.drafts.new_numbers(1), Completion((), "no room"), None, phase),
            None,
            end,
            end,
        )
        empty.state = "accepted"
        return empty

    def _continue_partial(self, call: EngineCall, error: EngineError, node: TreeNode, cue: str = "") -> tuple[Draft, int]:
        """Commits text that was emitted as final before the server was lost.

        The survivor goes on after it. Raises the error if there is no such text or the chain cannot go on.
        """
        if call.partial is None or not self._parts.failover.take_over(call.role, error):
            raise error
        return self._commit_partial(call.role, call.partial, node, cue)

    def _commit_partial(self, role: str, proposal: Proposal, node: TreeNode, cue: str = "") -> tuple[Draft, int]:
        """Commits text that was emitted as final before its call was cut off."""
        draft = Draft(role, proposal, None, self._parts.drafts.end, node)
        if cue:
            self._parts.record(Inserted(text=cue, phase="answer"))
        self._parts.record(Accepted(drafts=(draft.id,)))
        return draft, self.commit([draft])

    def commit(self, path: Sequence[Draft], steps_before: int | None = 0) -> int:
        """Updates the chain's state after new text at its end.

        Returns how many steps it completed. `steps_before` are those of the same verb before it. It is None where the verb goes on: loops
        are looked for at its end, with watchers as without.
        """
        steps = 0
        for draft in path:
            draft.state = "accepted"
            steps += self._parts.steps.add(draft.text) if draft.phase == "thinking" else 0
        last = path[-1]
        self._parts.drafts.end = last.node
        self._parts.prefills.saw(last.author, self._parts.ledger.kept)
        if last.phase == "answer":
            if self._parts.ending.finish in (None, "stop"):
                self._parts.ending.finish = last.finish if last.finish in ("length", "context", "loop") else "stop"
        elif last.finish in ("length", "context") and any(draft.phase == "answer" for draft in path):  # thinking within an answer
            self._parts.ending.finish = last.finish
        elif last.ended:
            self._parts.ending.finish = "stop"
        elif last.finish == "context":
            self._parts.ending.end("context")
        elif last.finish == "loop":
            self._parts.ending.end("loop", "the server saw the text repeat itself")
        elif self.ends_raw_text(last):
            self._parts.ending.has_answer = False
            self._parts.ending.end("stop", "a stop string of the text")
        self._parts.ending.check_progress(sum(draft.tokens for draft in path))
        if steps_before is not None:
            self._parts.ending.check_loop(self._parts.steps, steps_before + steps)
        self._parts.ending.check_budget()
        return steps

    def ends_raw_text(self, last: Draft) -> bool:
        """Returns whether the chain's last text ends a raw text.

        A stop string of the problem does.
        """
        if not self._parts.problem.raw or last.finish != "stop":
            return False
        stops = self._parts.problem.stop
        whole = self._contexts.ending(len(last.text) + max(map(len, stops), default=0))
        return completes(whole[: len(whole) - len(last.text)], last.text, stops)

    def check_room(self, role: str) -> None:
        """Ends the thinking when a role could not write even one text at the chain's end."""
        acting = self._parts.failover.role_for(role)
        room = self._requests.thinking_limit(acting, self._contexts.prefix(acting))
        if room.tokens < 1:
            self._parts.ending.end(room.reason)
