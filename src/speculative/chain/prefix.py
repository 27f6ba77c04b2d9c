"""Joins the token ids of one role's prompt and chain.

Words do not stay cut where unlike vocabularies meet.
"""

from __future__ import annotations

from msgspec import Struct

from speculative.engines.base import Ids, Tokenizer

REACH = 48
"""Bytes before a boundary in which a word's beginning is looked for."""

MENDED = 64
"""Tokens of a role's own text that may have to be computed again, so that the word before them becomes whole."""


class State(Struct, frozen=True):
    """Describes the boundaries inside a prefix.

    `floor`: where the text of the phase begins; ids before it are never encoded again. `foreign`: the text ends with another
    vocabulary's. `seam`: where ids of this vocabulary follow such text; its last word may be cut there.
    """

    floor: int
    foreign: bool = False
    seam: int | None = None


class Change(Struct, frozen=True):
    """Records one addition to the ids, to undo it.

    `tail` holds the ids that stood from `start` on, `state` is the state before.
    """

    start: int
    tail: list[int]
    state: State


class Prefix:
    """Holds ids in one vocabulary.

    Text of another vocabulary is encoded together with the word that it goes on with.
    """

    def __init__(self, tokenizer: Tokenizer, ids: list[int], state: State | None = None, texts: dict[int, bytes] | None = None) -> None:
        self.ids = ids
        self._tokenizer, self._to_bytes = tokenizer, tokenizer.to_bytes
        self._state = state or State(len(ids))
        self._texts = {} if texts is None else texts  # of the tokens that were looked at: near boundaries the same few come again

    def copy(self) -> Prefix:
        return Prefix(self._tokenizer, self.ids.copy(), self._state, self._texts)

    def open_phase(self, ids: Ids) -> Change:
        """Appends what opens a phase; the text of the phase begins behind it."""
        change = Change(len(self.ids), [], self._state)
        self.ids += ids
        self._state = State(len(self.ids))
        return change

    def add_ids(self, ids: Ids) -> Change:
        """Appends ids of this vocabulary as they are."""
        change = Change(len(self.ids), [], self._state)
        if self._state.foreign and len(ids):
            self._state = State(self._state.floor, False, len(self.ids))
        self.ids += ids
        return change

    def add_text(self, text: str) -> Change:
        """Appends text of another vocabulary.

        The text of the ids never changes, but a few ids before the new text may. They are encoded anew from the beginning of the last word,
        and from that of a word that an earlier boundary has cut, if it is at most `MENDED` tokens away.
        """
        state, ids = self._state, self.ids
        if not text:
            return Change(len(ids), [], state)
        last, seam = self._word_start(len(ids)), state.seam
        first = last if seam is None or len(ids) - seam > MENDED else self._word_start(seam)
        whole = next((place for place in range(seam or 0, last) if self._is_word_start(place)), last) if first < last else last
        try:
            mended, word = (self._to_bytes(part).decode() for part in (ids[first:whole], ids[last:]))
        except UnicodeDecodeError:  # a model wrote broken characters: they stay as they are
            first = whole = last = len(ids)
            mended = word = ""
        fresh = [*self._tokenizer.encode(mended), *ids[whole:last], *self._tokenizer.encode(word + text)]
        if fresh[: last - first] == ids[first:last]:
            first, fresh = last, fresh[last - first :]
        change = Change(first, ids[first:], state)
        ids[first:] = fresh
        self._state = State(state.floor, True)
        return change

    def undo(self, change: Change) -> None:
        """Takes the last addition back."""
        self.ids[change.start :] = change.tail
        self._state = change.state

    def _word_start(self, end: int) -> int:
        """Returns where the last word of the ids before `end` begins.

        Without words it is about `REACH` bytes before `end`.
        """
        size, token, after = 0, self._token(end - 1), b""
        for place in range(end - 1, self._state.floor - 1, -1):
            if not token:  # a special token stays
                return place + 1
            size += len(token)
            before = self._token(place - 1)
            if _begins_word(before, token, after) or (size > REACH and not 0x80 <= token[0] < 0xC0):
                return place
            token, after = before, token
        return self._state.floor

    def _is_word_start(self, place: int) -> bool:
        return _begins_word(self._token(place - 1), self._token(place), self._token(place + 1))

    def _token(self, place: int) -> bytes:
        """Returns the text of a token of this phase, which is empty for other places."""
        if not self._state.floor <= place < len(self.ids):
            return b""
        token = self.ids[place]
        text = self._texts.get(token)
        if text is None:
            text = self._texts[token] = self._to_bytes((token,))
        return text


def _begins_word(before: bytes, token: bytes, after: bytes) -> bool:
    """Returns True for a token with which a token of every vocabulary begins.

    It begins with a space before a word, or it begins a line.
    """
    if token[:1] == b" ":
        first = (token + after)[1:2]
        return first.isalnum() or first >= b"\x80"
    return before[-1:] == b"\n" and not token[:1].isspace()
