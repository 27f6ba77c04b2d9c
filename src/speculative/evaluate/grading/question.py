"""Reads the hints of a question: percents, the number base and its nouns."""

from __future__ import annotations

import re
from functools import lru_cache

from speculative.answers import normalize_latex
from speculative.evaluate.grading.forms import QuestionHints, base_named, side_key
from speculative.evaluate.grading.units import is_comparative, is_scale, is_unit, stem

_SIGN = r"(?:percent(?:age)?s?\b|per\s+cent\b|pct\b|\\?%)"
_NUMBER = r"[0-9$\\]|(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|fifteen|hundred|half|\w+teen|\w+ty)\b"
_CLAUSE = r"(?:if|when|where|given|because|after|before|with|at|that|who|whose|which|than|and|or|but)\b"
_WORDS = rf"(?:(?!{_NUMBER}|{_CLAUSE})[^\s,.;:?!]+\s+){{0,6}}?"
_VERB = (
    r"(?:what(?:['\u2019]s)?|which|find|calculate|compute|determine|give|express|state|report|tell(?:\s+(?:me|us))?|(?:work|figure)\s+out"
    r"|estimate|approximate|evaluate|obtain|derive|deduce|write|show|name|provide|need|know|how\s+(?:big|large|high|low|great|small))"
)
_RATES = "interest|tax|inflation|discount|commission|unemployment|annual|return|pass|success|failure|survival|attendance"
_RATE = rf"(?:(?:{_RATES})\s+rate|rate\s+of\s+(?:{_RATES}))\b"
_PERCENT = re.compile(
    rf"\b{_VERB}\s+{_WORDS}(?:{_SIGN}|{_RATE})|\bhow\s+(?:many|much)\s+{_SIGN}"
    rf"|\b(?:by what|as(?: an?)?|in|of an?|nearest)\s+(?:(?!{_NUMBER})[\w'-]+\s+)?{_SIGN}"
    # a gap before the sign, and a sentence without a verb of asking: "Percentage of boys?"
    rf"|(?:_{{2,}}|\?|\\square)[\s$}}]*{_SIGN}"
    rf"|^\W*(?:(?!{_NUMBER}|{_CLAUSE}|how\b)[\w'-]+\s+){{0,3}}?{_SIGN}(?!\W*(?:[\w'-]+\W+)*?(?:how\s+many|number)\b)[^?,:0-9]*\?",
    re.IGNORECASE,
)
_PERCENT_NAME = re.compile(rf"(?<![A-Za-z\\])\$?([b-zB-Z])\$?\s*{_SIGN}|(?<![A-Za-z\\])\$([aA])\$\s*{_SIGN}")
_ASKED_NAME = re.compile(
    r"\b(?:what(?:['\u2019]s| is)|find|determine|compute|calculate|(?:value|sum) of)\s+\$?([a-zA-Z])\$?(?![\w'])", re.IGNORECASE
)
_BASE_NAME = r"base[-\s]*\$?\{?([0-9]{1,2}|[a-z]+)\b\}?\$?"
_BASE = re.compile(
    rf"\b(?:in|into|to)\s+{_BASE_NAME}(?:\s*(?:\\text\{{\s*)?([A-Za-z]+))?"
    rf"|\b(?:the|an?|its)\s+{_BASE_NAME}[-\s]+(?:equivalent|representation|expansion|form|notation|numeral|number|value|expression|system)\b",
    re.IGNORECASE,
)
_ASKED_SIDE = re.compile(
    r"\b(?:what(?:['\u2019]s| is)|find|determine|compute|calculate|evaluate|give|(?:value|sum) of)\s+(?:the\s+value\s+of\s+)?"
    r"(?:\$([^$]+)\$|\\\((.+?)\\\)|([-+*/^()0-9a-zA-Z!]+)(?=[\s.?,;:]|$))",
    re.IGNORECASE,
)
_UNKNOWN = r"(?:\\[a-z]+|[a-zA-Z])(?:_(?:\{[^{}]*\}|[a-zA-Z0-9]))?"
_ASKED_UNKNOWN = re.compile(
    r"\b(?i:what(?:['\u2019]s| is| are)?|which|find|determine|compute|calculate|evaluate|give|(?<!absolute\s)values?\s+of|for)\s+"
    r"(?i:(?:the|all|every|each|possible|real|positive|negative|integers?|numbers?|values?|of|for|which)\s+){0,8}+"
    rf"(?:\$\s*({_UNKNOWN})\s*\$|\\\(\s*({_UNKNOWN})\s*\\\)|([b-zB-HJ-Z])(?=[\s.?,;:]|$))(?!\s*(?:squared|cubed|times|plus|minus|[-+*/^!=]))"
)
_POINT = re.compile(rf"(?<![a-zA-Z])\(\s*({_UNKNOWN}(?:\s*,\s*{_UNKNOWN}){{1,9}})\s*\)")
_SOLVES = re.compile(
    r"\bsolve\b(?!\s+(?:the|this)\s+(?:problem|puzzle|riddle))"
    r"|\bfind\s+(?:(?:all|the|any|every|each|possible|real|complex|positive|negative|integer)\s+){0,8}+(?:solutions?|roots?)\b",
    re.IGNORECASE,
)
_ASKS = re.compile(
    r"\?|^\W*solve\b|\b(?:find|express|give|compute|calculate|determine|tell|work\s+out|figure\s+out|estimate|evaluate)\b", re.IGNORECASE
)
_FORMAT = re.compile(r"^\W*(?:please\s+)?(?:express|give|write|round|state|report|enter|provide|leave|simplify)\b[^?]*$", re.IGNORECASE)
_END = re.compile(r"(?<=[.?!])(?<!Mr\.)(?<!Mrs\.)(?<!Ms\.)(?<!Dr\.)\s+")
_FORMULA = re.compile(r"\$[^$]*\$|\\\(.*?\\\)|\\\[.*?\\\]", re.DOTALL)
_ASKED_SCALE = re.compile(r"\b(?:how\s+many|number\s+of|in)\s+(?:whole\s+)?([A-Za-z]+)", re.IGNORECASE)


@lru_cache(maxsize=1024)
def read_hints(question: str) -> QuestionHints:
    """Reads the hints of a question; an empty one has none."""
    asking = _asking(question)
    return QuestionHints(
        _asks_percent(asking, question),
        _asked_base(question),
        _nouns(asking, question),
        asked=_asked_sides(asking),
        unknowns=_asked_unknowns(asking),
        point=_asked_point(asking),
    )


def _asking(question: str) -> str:
    """Returns the last sentence that asks.

    The sentences behind it that say how the answer is written belong to it.
    """
    sentences = _END.split(question.strip())
    forms: list[str] = []
    for sentence in reversed(sentences):
        if _FORMAT.match(sentence):
            forms.insert(0, sentence)
        elif _ASKS.search(sentence):
            return " ".join([sentence, *forms])
    return " ".join(forms) or sentences[-1]


def _asks_percent(asking: str, question: str) -> bool:
    if _PERCENT.search(asking):
        return True
    names = {name for found in _PERCENT_NAME.findall(question) for name in found if name}
    return any(name in names for name in _ASKED_NAME.findall(asking))


def _asked_sides(asking: str) -> frozenset[str]:
    """Returns the formulas whose values a question asks for."""
    found = ("".join(groups).strip(" .?,;:") for groups in _ASKED_SIDE.findall(asking))
    return frozenset(side_key(normalize_latex(side)) for side in found)


def _asked_unknowns(asking: str) -> frozenset[str] | None:
    """Returns the names whose values a question asks for, or None if it may be any."""
    if not asking or _SOLVES.search(asking):
        return None
    return frozenset(name for names in _ASKED_UNKNOWN.findall(asking) for name in names if name)


def _asked_point(asking: str) -> tuple[str, ...]:
    """Returns the names of the last point in a question, as of (x, y), or ()."""
    found = _POINT.findall(asking)
    return tuple("".join(found[-1].split()).split(",")) if found else ()


def _asked_base(question: str) -> int | None:
    """Returns the last number base of a question, or None.

    The base of a figure has a unit, or no such phrase.
    """
    bases = [first or second for first, following, second in _BASE.findall(question) if not is_unit(following) or following == "in"]
    return base_named(bases[-1]) if bases else None


def _nouns(asking: str, question: str) -> frozenset[str]:
    """Returns the words of a question.

    Words that change a number count only if the question asks for them.
    """
    asked = {stem(word) for word in _ASKED_SCALE.findall(asking)}
    words = re.findall("[A-Za-z]{3,}", _FORMULA.sub(" ", question))
    compared = {stem(word) for word in re.findall("[A-Za-z]+", asking)}
    return frozenset(
        stem(word) for word in words if (not is_scale(word) or stem(word) in asked) and (not is_comparative(word) or stem(word) in compared)
    )
