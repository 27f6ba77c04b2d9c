"""How one role sees the chain: its own prompt, from its own dialect, in its own token ids."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from speculative.chain.calls import kept_text
from speculative.chain.drafts import Draft
from speculative.engines.base import Completion, Engine
from speculative.problem import Problem
from speculative.prompts import Part, dialect, encode
from speculative.trace.state import Piece

Prompts = dict[tuple[str, str], list[int]]
"""The ids of one problem's prompt, by dialect and fingerprint of the vocabulary."""

REMEMBERED = 64
"""Paths of drafts whose ids a view keeps."""


class View:
    """The prefix of one role. Built once, then only appended to; a rewind takes the tail back.

    `same`: the authors whose vocabulary it shares. `prompts`: what other views of the problem have encoded already.
    """

    def __init__(self, engine: Engine, problem: Problem, same: frozenset[str], prompts: Prompts) -> None:
        self.engine = engine
        self.same = same
        self.dialect = dialect(engine.dialect)
        self.vocabulary = engine.vocabulary
        kind = (engine.dialect, self.vocabulary.fingerprint)
        if kind not in prompts:
            prompts[kind] = tokenize_prompt(engine, problem)
        self._ids = prompts[kind].copy()
        self._seen: list[tuple[Piece, int]] = []
        self._grown: dict[int, list[int]] = {}
        think, ends = self.dialect.unthink, self.dialect.ends
        self.end_ids = tuple(self.vocabulary.marker(end) for end in ends)
        self.stop_ids = (self.vocabulary.marker(think), *self.end_ids)

    def prefix(self, pieces: Sequence[Piece], after: Draft | None = None) -> list[int]:
        """Ids of the prompt, the chain and the drafts down to one that is not committed yet."""
        if after and after.phase == "answer":
            return [*self.before(pieces, after), *self.ids_of(after)]
        self._follow(pieces)
        return self._after(after)

    def before(self, pieces: Sequence[Piece], draft: Draft) -> list[int]:
        """Ids of all that the draft follows."""
        self._follow(pieces)
        ids = self._after(draft.above)
        if draft.phase == "thinking" or (pieces and pieces[-1].phase == "answer"):
            return ids
        return ids + self._closing([*(piece.text for piece in pieces), *(above.text for above in draft.path()[:-1])])

    def _after(self, draft: Draft | None) -> list[int]:
        """Ids down to the end of a thought, to be read only. Those of the last few are kept: drafts grow from drafts."""
        new: list[Draft] = []
        while draft and draft.id not in self._grown:
            new.append(draft)
            draft = draft.above
        if draft and not new:
            return self._grown[draft.id]
        ids = (self._grown[draft.id] if draft else self._ids).copy()
        for fresh in reversed(new):
            ids += self.ids_of(fresh)
        if new:
            self._grown[new[0].id] = ids
            if len(self._grown) > REMEMBERED:
                del self._grown[next(iter(self._grown))]
        return ids

    def _closing(self, texts: Sequence[str]) -> list[int]:
        """What closes the thinking after these texts."""
        return self.parts(self.dialect.close(next((text for text in reversed(texts) if text), "")))

    def parts(self, parts: Sequence[Part]) -> list[int]:
        return encode(self.vocabulary, parts)

    def text_of(self, completion: Completion) -> str:
        return kept_text(self.vocabulary, completion)[0]

    def ids_of(self, written: Draft | Piece) -> Sequence[int]:
        """Ids are handed over as they are within one vocabulary; else only the new text is encoded."""
        return written.ids if written.author in self.same else self.vocabulary.encode(written.text)

    def _follow(self, pieces: Sequence[Piece]) -> None:
        """Brings `_ids` up to date with the pieces: pieces are only ever appended or cut off at the end."""
        if len(self._seen) == len(pieces) and (not pieces or self._seen[-1][0] is pieces[-1]):
            return
        self._grown.clear()
        while self._seen and (len(self._seen) > len(pieces) or self._seen[-1][0] is not pieces[len(self._seen) - 1]):
            del self._ids[self._seen.pop()[1] :]
        for place in range(len(self._seen), len(pieces)):
            piece, before = pieces[place], pieces[place - 1] if place else None
            self._seen.append((piece, len(self._ids)))
            if piece.phase == "answer" and (before is None or before.phase == "thinking"):
                self._ids += self._closing([piece.text for piece in pieces[:place]])
            self._ids += self.ids_of(piece)


def tokenize_prompt(engine: Engine, problem: Problem) -> list[int]:
    """Encodes a problem as the engine's own dialect puts it."""
    speaks = dialect(engine.dialect)
    if problem.raw:
        return encode(engine.vocabulary, speaks.raw(problem.messages[0].content))
    instruction = speaks.answer_instruction if problem.answer_instruction is None else problem.answer_instruction
    return encode(engine.vocabulary, speaks.prompt(problem.messages, instruction))


def tokenize_prompts(engines: Iterable[Engine], problem: Problem) -> Prompts:
    """Encodes a problem for all engines, once for each dialect and vocabulary. It may run in a thread."""
    prompts: Prompts = {}
    for engine in engines:
        kind = (engine.dialect, engine.vocabulary.fingerprint)
        if kind not in prompts:
            prompts[kind] = tokenize_prompt(engine, problem)
    return prompts
