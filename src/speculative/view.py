"""How one role sees the chain: its own prompt, from its own dialect, in its own token ids."""

from __future__ import annotations

from collections.abc import Sequence

from speculative.caller import kept_text
from speculative.draft import Draft
from speculative.engines.base import Completion, Engine
from speculative.ledger import Piece
from speculative.problem import Problem
from speculative.prompts import Part, dialect, encode


class View:
    """The prefix of one role. Built once, then only appended to; a rewind takes the tail back."""

    def __init__(self, engine: Engine, problem: Problem) -> None:
        self.engine = engine
        self.dialect = dialect(engine.dialect)
        self.vocabulary = engine.vocabulary
        instruction = self.dialect.answer_instruction if problem.answer_instruction is None else problem.answer_instruction
        self._ids = encode(self.vocabulary, self.dialect.prompt(problem.messages, instruction))
        self._seen: list[tuple[Piece, int]] = []
        think, ends = self.dialect.unthink, self.dialect.ends
        self.end_ids = tuple(self.vocabulary.marker(end) for end in ends)
        self.stop_ids = (self.vocabulary.marker(think), *self.end_ids)

    def prefix(self, pieces: Sequence[Piece], same: frozenset[str], path: Sequence[Draft] = ()) -> list[int]:
        """Ids of the prompt, the chain and a path of drafts. `same`: the authors whose vocabulary this role shares."""
        self._follow(pieces, same)
        if not path:
            return self._ids.copy()
        ids, phase, text = self._ids.copy(), pieces[-1].phase if pieces else "thinking", pieces[-1].text if pieces else ""
        for draft in path:
            if draft.phase != phase:
                phase, closing = draft.phase, self.dialect.close(text)
                ids += self.parts(closing)
            ids += self.ids_of(draft.author, draft.text, draft.ids, same)
            text = draft.text or text
        return ids

    def parts(self, parts: Sequence[Part]) -> list[int]:
        return encode(self.vocabulary, parts)

    def text_of(self, completion: Completion) -> str:
        return kept_text(self.vocabulary, completion)[0]

    def ids_of(self, author: str, text: str, ids: Sequence[int], same: frozenset[str]) -> Sequence[int]:
        """Ids are handed over as they are within one vocabulary; else only the new text is encoded."""
        return ids if author in same else self.vocabulary.encode(text)

    def _follow(self, pieces: Sequence[Piece], same: frozenset[str]) -> None:
        """Brings `_ids` up to date with the pieces: pieces are only ever appended or cut off at the end."""
        while self._seen and (len(self._seen) > len(pieces) or self._seen[-1][0] is not pieces[len(self._seen) - 1]):
            del self._ids[self._seen.pop()[1] :]
        for place in range(len(self._seen), len(pieces)):
            piece, before = pieces[place], pieces[place - 1] if place else None
            self._seen.append((piece, len(self._ids)))
            if piece.phase == "answer" and (before is None or before.phase == "thinking"):
                self._ids += self.parts(self.dialect.close(before.text if before else ""))
            self._ids += self.ids_of(piece.author, piece.text, piece.ids, same)
