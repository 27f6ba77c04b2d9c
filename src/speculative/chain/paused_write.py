"""One `write` in parts: it pauses after each step at which watchers look."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from msgspec import structs

from speculative.chain.drafts import Draft, Limit, joined
from speculative.chain.options import WriteOptions
from speculative.chain.parts import ChainParts
from speculative.chain.steps import STEP
from speculative.chain.text_stream import completes
from speculative.chain.verb import ExclusiveVerbs
from speculative.chain.writer import Writer


class PausedWrite:
    """Writes parts until the text ends.

    `watch` is called with the steps that each part completed; without watchers only a lost server makes parts. `rewinds` are the sizes that
    the chain was rewound to. A watcher that rewinds ends the write.
    """

    def __init__(
        self,
        parts: ChainParts,
        writer: Writer,
        exclusive: ExclusiveVerbs,
        watch: Callable[[int], Awaitable[None]] | None,
        rewinds: Sequence[int],
    ) -> None:
        self._parts, self._writer, self._exclusive, self._watch, self._rewinds = parts, writer, exclusive, watch, rewinds

    async def write(self, role: str, options: WriteOptions) -> Draft:
        """Returns all parts that stand in the chain as one draft."""
        stops, first_rewind = options.stop, len(self._rewinds)
        pauses = self._watch is not None and STEP not in stops
        if pauses:
            options = structs.replace(options, stop=(*stops, STEP))
        drafts, found, sizes, text, done = self._parts.drafts, list[Draft](), list[int](), "", 0

        def is_pause(part: Draft) -> bool:
            return pauses and part.finish == "stop" and not completes(text, part.text, stops) and not self._writer.ends_raw_text(part)

        node = drafts.end.new_child(f"write {role}")
        while True:
            with self._exclusive("write"):
                place, number = node.moved() if found else node, drafts.new_numbers(1)
                write = partial(self._writer.write, place, number, options, tuple(found), done, is_pause)
                part, steps = await self._parts.failover.run(role, write)
            found.append(part)
            sizes.append(len(self._parts.ledger.pieces))
            paused, done = is_pause(part), done + steps
            if self._watch:
                await self._watch(steps)
            if len(self._rewinds) > first_rewind:
                size = min(self._rewinds[first_rewind:])
                left = [one for one, end in zip(found, sizes, strict=True) if end <= size]
                return joined(left) if left else self._writer.empty_draft(role)
            if not (paused or part.no_room or part.finish == "cut"):  # nearly always
                return joined(found)
            if options.max_tokens is not None:
                options = structs.replace(options, max_tokens=options.max_tokens - part.tokens)
            if part.no_room and len(found) > 1:
                return joined(found[:-1], self._limit(role, options.max_tokens))
            if not (paused or part.finish == "cut"):
                return joined(found)
            if self._parts.ending.finish is not None or options.max_tokens == 0:
                return joined(found, self._limit(part.author, options.max_tokens) if paused else None)
            text += part.text

    def _limit(self, role: str, left: int | None) -> Limit | None:
        """Returns the reason why a text cannot go on behind a pause.

        It is None where a watcher ended the thinking. A pause alone ends no text: without watchers it would go on up to its limit.
        """
        room, ending = self._parts.requests.thinking_limit(role, self._parts.contexts.prefix(role)), self._parts.ending
        if room.tokens < 1 and ending.finish is None:
            ending.end(room.reason)
        if room.tokens < 1 or left == 0:
            return "length" if room.tokens > 0 else room.reason
        return None
