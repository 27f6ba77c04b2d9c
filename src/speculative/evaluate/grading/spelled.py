"""Reads whole numbers in English words: eighteen, two hundred and five."""

from __future__ import annotations

import re

_ONES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
_TEENS = ["thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_SMALL = {word: value for value, word in enumerate(_ONES + _TEENS)} | dict(zip(_TENS, range(20, 100, 10), strict=True))
_LARGE = {"thousand": 10**3, "million": 10**6, "billion": 10**9}


def parse_words(text: str) -> int | None:
    """Returns the whole number of some words, or None for other words."""
    total = part = 0
    words = [word for word in text.lower().replace("-", " ").replace(",", " ").split() if word != "and"]
    for word in words:
        if word in _SMALL:
            part += _SMALL[word]
        elif word == "hundred":
            part = (part or 1) * 100
        elif word in _LARGE:
            total, part = total + (part or 1) * _LARGE[word], 0
        else:
            return None
    return total + part if words else None


_NUMBER = "|".join(sorted([*_SMALL, *_LARGE, "hundred"], key=len, reverse=True))
_WORDS = rf"(?:{_NUMBER})(?:(?:[ -]|,? and )(?:{_NUMBER}))*"
_LEADING = re.compile(rf"({_WORDS})((?: [a-z]+)*)", re.IGNORECASE)
_PARTS = re.compile(
    r" (?:hal(?:f|ves)|thirds?|fourths?|quarters?|fifths?|sixths?|sevenths?|eighths?|ninths?|tenths?|dozens?|score)\b.*", re.I
)


def spell_out(text: str) -> str:
    """Writes the words of a number at the begin of words in digits: 21 apples."""
    found = _LEADING.fullmatch(text)
    if not found or _PARTS.match(found[2]) or (value := parse_words(found[1])) is None:
        return text
    return f"{value}{found[2]}"


_TWICE = re.compile(
    rf"(?P<digits>[0-9][0-9,]*) ?\((?P<words>{_WORDS})\)(?P<unit>(?: [A-Za-z]+)+)"
    rf"|(?:\\text\{{ ?)?(?P<first>{_WORDS}) ?(?:\}} ?)?\((?P<second>[0-9][0-9,]*)\)(?P<rest>(?: [A-Za-z]+)*)",
    re.IGNORECASE,
)


def merge_spelled(text: str) -> str:
    """Writes a number once that stands in digits and in words: 12 (twelve) apples.

    A text whose words are another number stays as it is.
    """
    found = _TWICE.fullmatch(text)
    if not found:
        return text
    digits, words = found["digits"] or found["second"], found["words"] or found["first"]
    return f"{digits}{found['unit'] or found['rest'] or ''}" if parse_words(words) == int(digits.replace(",", "")) else text
