"""How one role sees the chain: its own prompt, from its own dialect, in its own token ids."""

from __future__ import annotations

from collections.abc import Sequence

from speculative.caller import kept_text
from speculative.draft import Draft
from speculative.engines.base import Completion, Engine
from speculative.ledger import Piece
from speculative.problem import Problem
from speculative.prompts import Part, dialect, encode

REMEMBERED = 64
"""Paths of drafts whose ids a view keeps."""


class View:
    """The prefix of one role. Built once, then only appended to; a rewind takes the tail back."""

    def __init__(self, engine: Engine, problem: Problem) -> None:
        self.engine = engine
        self.dialect = dialect(engine.dialect)
        self.vocabulary = engine.vocabulary
        instruction = self.dialect.answer_instruction if problem.answer_instruction is None else problem.answer_instruction
        raw = self.dialect.raw(problem.messages[0].content) if problem.raw else None
        self._ids = encode(self.vocabulary, raw or self.dialect.prompt(problem.messages, instruction))
        self._seen: list[tuple[Piece, int]] = []
        self._grown: dict[int, list[int]] = {}
        think, ends = self.dialect.unthink, self.dialect.ends
        self.end_ids = tuple(self.vocabulary.marker(end) for end in ends)
        self.stop_ids = (self.vocabulary.marker(think), *self.end_ids)

    def prefix(self, pieces: Sequence[Piece], same: frozenset[str], path: Sequence[Draft] = ()) -> list[int]:
        """Ids of the prompt, the chain and a path of drafts. `same`: the authors whose vocabulary this role shares."""
        if path and path[-1].phase == "thinking":
            self._follow(pieces, same)
            return self._after(path, same)
        ids = self.before(pieces, same, path)
        return ids + list(self.ids_of(path[-1].author, path[-1].text, path[-1].ids, same)) if path else ids

    def before(self, pieces: Sequence[Piece], same: frozenset[str], path: Sequence[Draft]) -> list[int]:
        """The same, but what the last draft of the path follows."""
        self._follow(pieces, same)
        if not path:
            return self._ids.copy()
        above = path[:-1]
        ids = self._after(above, same)
        phase = above[-1].phase if above else pieces[-1].phase if pieces else "thinking"
        if path[-1].phase != phase:
            ids += self._closing([*(piece.text for piece in pieces), *(draft.text for draft in above)])
        return ids

    def _after(self, path: Sequence[Draft], same: frozenset[str]) -> list[int]:
        """Ids down to the end of a path of thoughts. Those of the last few paths are kept: drafts grow from drafts."""
        known = next((place for place in range(len(path), 0, -1) if path[place - 1].id in self._grown), 0)
        ids = (self._grown[path[known - 1].id] if known else self._ids).copy()
        for draft in path[known:]:
            ids += self.ids_of(draft.author, draft.text, draft.ids, same)
        if path and known < len(path):
            self._grown[path[-1].id] = ids.copy()
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

    def ids_of(self, author: str, text: str, ids: Sequence[int], same: frozenset[str]) -> Sequence[int]:
        """Ids are handed over as they are within one vocabulary; else only the new text is encoded."""
        return ids if author in same else self.vocabulary.encode(text)

    def _follow(self, pieces: Sequence[Piece], same: frozenset[str]) -> None:
        """Brings `_ids` up to date with the pieces: pieces are only ever appended or cut off at the end."""
        if len(self._seen) != len(pieces) or (pieces and self._seen[-1][0] is not pieces[-1]):
            self._grown.clear()
        while self._seen and (len(self._seen) > len(pieces) or self._seen[-1][0] is not pieces[len(self._seen) - 1]):
            del self._ids[self._seen.pop()[1] :]
        for place in range(len(self._seen), len(pieces)):
            piece, before = pieces[place], pieces[place - 1] if place else None
            self._seen.append((piece, len(self._ids)))
            if piece.phase == "answer" and (before is None or before.phase == "thinking"):
                self._ids += self._closing([piece.text for piece in pieces[:place]])
            self._ids += self.ids_of(piece.author, piece.text, piece.ids, same)
