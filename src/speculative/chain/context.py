"""Shows the chain to one role: its own prompt, dialect and token ids."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from speculative.chain.calls import kept_text
from speculative.chain.drafts import Draft
from speculative.chain.marker_text import MarkerText
from speculative.chain.prefix import Change, Prefix
from speculative.engines.base import Completion, Engine, TextDecoder
from speculative.problem import Problem
from speculative.prompts import Part, SpecialToken, encode_parts, find_dialect
from speculative.trace.events import Phase
from speculative.trace.state import Piece

Prompts = dict[tuple[str, str], list[int]]
"""The ids of one problem's prompt, by dialect and fingerprint of the vocabulary."""

REMEMBERED = 1 << 20
"""Tokens of drafts' paths that a view keeps, so that a draft that follows another one does not begin at the chain's end."""


class View:
    """Holds the prefix of one role.

    The prefix is built once, then only appended to; a rewind takes the tail back. `same`: the authors whose vocabulary the role shares.
    `prompts`: the prompts that other views of the problem have encoded already. The entries given to a view are the ledger's entries:
    text of the chain, and notes, of which the view uses its role's own.
    """

    def __init__(self, role: str, engine: Engine, problem: Problem, same: frozenset[str], prompts: Prompts) -> None:
        self.role, self.engine = role, engine
        self.same = same
        self.dialect = find_dialect(engine.dialect)
        self.tokenizer = engine.tokenizer
        kind = (engine.dialect, self.tokenizer.fingerprint)
        if kind not in prompts:
            prompts[kind] = tokenize_prompt(engine, problem)
        self._prefix = Prefix(self.tokenizer, prompts[kind].copy())
        self._seen: list[tuple[Piece, list[Change]]] = []
        self._grown: dict[int, Prefix] = {}
        self._grown_tokens = 0
        marker, dialect = self.tokenizer.special_token_id, self.dialect
        self.end_ids = tuple(marker(token) for token in dialect.stop_tokens)
        self.think_start_id = marker(dialect.think_start) if dialect.think_start else None
        thinking = [marker(token) for token in (dialect.think_end, dialect.think_start) if token]
        self.stop_ids = (*thinking[:1], *self.end_ids)
        self.answer_stop_ids = (*thinking, *self.end_ids)
        self.answer_draft_stop_ids = (*thinking[1:], *self.end_ids)
        self.reopening: list[Part] = [SpecialToken(dialect.think_start)] if dialect.think_start else []
        closing = MarkerText(self.tokenizer, dict(zip(thinking[:1], [dialect.think_end], strict=False)))
        opening = MarkerText(self.tokenizer, {self.think_start_id: dialect.think_start}) if self.think_start_id is not None else None
        self.decoders: dict[Phase, TextDecoder] = {"answer": closing, "thinking": (problem.raw and opening) or self.tokenizer}
        """Makes the text of each phase: no marker that a model writes where it marks nothing may be lost."""

    def prefix(self, entries: Sequence[Piece], after: Draft | None = None) -> list[int]:
        """Returns the ids of the prompt, the chain and the drafts down to `after`.

        `after` is not committed yet.
        """
        self._follow(entries)
        return self._after(entries, after)

    def before(self, entries: Sequence[Piece], draft: Draft) -> list[int]:
        """Ids of all that the draft follows."""
        self._follow(entries)
        return [*self._after(entries, draft.parent_draft), *self.opening(entries, draft.parent_draft, draft.phase)]

    def opening(self, entries: Sequence[Piece], after: Draft | None, phase: Phase) -> list[int]:
        """Returns the tokens that open a phase at the end of the drafts down to `after`.

        The list is empty if that end is in this phase already.
        """
        last = after.phase if after else entries[-1].phase if entries else "thinking"
        if phase == last:
            return []
        if phase == "thinking":
            return self.parts(self.reopening)
        return self._closing([*_texts(entries), *(draft.text for draft in (after.path() if after else ()))])

    def _after(self, entries: Sequence[Piece], draft: Draft | None) -> list[int]:
        """Returns the ids down to the end of a draft, for reading only.

        The ids of the last few drafts are kept, because drafts grow from drafts.
        """
        new: list[Draft] = []
        while draft and draft.id not in self._grown:
            new.append(draft)
            draft = draft.parent_draft
        prefix = self._grown[draft.id] if draft else self._prefix
        if not new:
            return prefix.ids if draft else prefix.ids.copy()
        prefix = prefix.copy()
        for fresh in reversed(new):
            if opening := self.opening(entries, fresh.parent_draft, fresh.phase):
                prefix.open_phase(opening)
            self._extend(prefix, fresh)
        self._grown[new[0].id] = prefix
        self._grown_tokens += len(prefix.ids)
        while self._grown_tokens > REMEMBERED and len(self._grown) > 1:
            self._grown_tokens -= len(self._grown.pop(next(iter(self._grown))).ids)
        return prefix.ids

    def _closing(self, texts: Sequence[str]) -> list[int]:
        """Returns the tokens that close the thinking after these texts."""
        return self.parts(self.dialect.close(next((text for text in reversed(texts) if text), "")))

    def parts(self, parts: Sequence[Part]) -> list[int]:
        return encode_parts(self.tokenizer, parts)

    def text_of(self, completion: Completion) -> str:
        return kept_text(self.tokenizer, completion)[0]

    def ids_of(self, written: Draft | Piece) -> Sequence[int]:
        """Returns the ids of a text in this vocabulary.

        Within one vocabulary they are handed over as they are; else only the new text is encoded.
        """
        return written.ids if written.author in self.same else self.tokenizer.encode(written.text)

    def extended(self, entries: Sequence[Piece], text: str) -> list[int]:
        """Returns the ids of the prompt, the chain, and text still being written.

        Another model writes that text.
        """
        self._follow(entries)
        prefix = self._prefix.copy()
        prefix.add_text(text)
        return prefix.ids

    def _extend(self, prefix: Prefix, written: Draft | Piece) -> Change:
        return prefix.add_ids(written.ids) if written.author in self.same else prefix.add_text(written.text)

    def _follow(self, entries: Sequence[Piece]) -> None:
        """Brings the prefix up to date with the entries.

        Pieces are only ever appended or cut off at the end.
        """
        if len(self._seen) == len(entries) and (not entries or self._seen[-1][0] is entries[-1]):
            return
        self._grown.clear()
        self._grown_tokens = 0
        while self._seen and (len(self._seen) > len(entries) or self._seen[-1][0] is not entries[len(self._seen) - 1]):
            for change in reversed(self._seen.pop()[1]):
                self._prefix.undo(change)
        for place in range(len(self._seen), len(entries)):
            entry, before = entries[place], entries[place - 1] if place else None
            changes: list[Change] = []
            if entry.note_for:
                if entry.note_for == self.role:
                    changes.append(self._prefix.add_text(entry.text))
                self._seen.append((entry, changes))
                continue
            if entry.phase == "answer" and (before is None or before.phase == "thinking"):
                changes.append(self._prefix.open_phase(self._closing(_texts(entries[:place]))))
            elif entry.phase == "thinking" and before and before.phase == "answer":
                changes.append(self._prefix.open_phase(self.parts(self.reopening)))
            changes.append(self._extend(self._prefix, entry))
            self._seen.append((entry, changes))


def _texts(entries: Sequence[Piece]) -> list[str]:
    return [entry.text for entry in entries if not entry.note_for]


def tokenize_prompt(engine: Engine, problem: Problem) -> list[int]:
    """Encodes a problem as the engine's own dialect puts it."""
    dialect = find_dialect(engine.dialect)
    if problem.raw:
        return encode_parts(engine.tokenizer, dialect.raw(problem.messages[0].content))
    instruction = dialect.answer_instruction if problem.answer_instruction is None else problem.answer_instruction
    return encode_parts(engine.tokenizer, dialect.prompt(problem.messages, instruction))


def tokenize_prompts(engines: Iterable[Engine], problem: Problem) -> Prompts:
    """Encodes a problem for all engines, once for each dialect and vocabulary.

    It may run in a thread.
    """
    prompts: Prompts = {}
    for engine in engines:
        kind = (engine.dialect, engine.tokenizer.fingerprint)
        if kind not in prompts:
            prompts[kind] = tokenize_prompt(engine, problem)
    return prompts
