"""Reads choices, shuffles options, and boxes the answers of reference solutions."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

from speculative.answers import WINDOW, extract_boxed, plain_signs, strip_tags

Kind = Literal["math", "integer", "letter"]

_CHOICE = re.compile(
    r"(?:(?:option|choice|answer|letter)\b[\s:]*)?"
    r"(?:\(([a-z])\)|([a-z])(?=[.):]|\s+[-\u2013\u2014]\s|,?\s+(?:because|since)\b|\s+as\b(?!\s+well)|,\s*(?:as\b|which\b)"
    r"|,\s+(?!(?:not|may|perhaps|possib|prob|uns|but|if)[a-z]*)(?:[a-z]{2,}|[-0-9\\])|\s+\([^()]*\)$|$)[.):]?)(.*)",
    re.IGNORECASE | re.DOTALL,
)
_REASON = re.compile(r",?\s*(?:because|since)\b|,\s*(?:as|which)\b", re.IGNORECASE)
_REFUSED = re.compile(
    r",?\s+(?:and\s+)?(?:not|rather\s+than|instead\s+of|as\s+opposed\s+to)\s+\(?[a-z]\b.*"
    r"|;\s*\(?[a-z]\)?\s+(?:is|are)\s+(?:wrong|incorrect|false|impossible|not\b).*",
    re.IGNORECASE | re.DOTALL,
)
"""Matches a remark that refuses another choice."""
_CHOSEN = re.compile(
    r"(?<!and )(?<!or )(?:\b(?:option|choice|answer)\s+[*_]*\(?([A-Z])\)?|\(([A-Z])\)|(?-i:(?:^|[.!?:,\n])[ \t*_]*([A-Z])))[*_]*"
    r"\s+is\s+(?:the\s+)?(?:correct|right|best)\b(?!\s+(?:if|only)\b)(?![^.\n]*\bnot\b)",
    re.IGNORECASE,
)
_FIRST_LINE = re.compile(r"[*_`$(]*([A-Z])[*_`$).]*\s*$", re.MULTILINE)
_REPLY = re.compile(r"[*_`$(\s]*(?!I[ '\u2019])[A-Z](?![A-Za-z])[^\n]{0,200}")
_SECOND = re.compile(
    r"\s*(?:,?\s*(?:and|or)\b|[;/&])|.*(?:[,;]|\b(?:and|or))\s*\(?[a-z]\)?(?![a-z'])|\s*\(?[a-z]\)?\s*$|.*\([a-z]\)|\s*[=+^<>]",
    re.IGNORECASE | re.DOTALL,
)
_OPTION = r"(?:(?:option|choice|answer|letter)\s+)?"
_BEST = r"(?:(?:final|only|correct|right|best|closest|selected|chosen|most\s+(?:likely|appropriate|suitable|accurate))\s+)"
_NAMED = r"(?:(?:answer\s+)?(?:choice|option|letter)|answer|pick|selection|one)"
_NAMES_CHOICE = re.compile(
    # the speaker chooses
    r"\b(?:(?:I|we)(?:['\u2019](?:d|ll|m|re)|\s+(?:would|will|am|are|shall|have))?"
    r"(?:\s+(?:therefore|thus|hence|clearly|definitely|confidently|still))?"
    r"\s+(?:choose|choosing|chose|chosen|pick|picked|picking|select|selected|go\s+(?:with|for)|going\s+(?:with|for)|opt\s+for|answer|say)"
    r"|let['\u2019]?s\s+go\s+with)\s+"
    # a choice is the best one
    rf"|\b(?:my\s+(?:final\s+)?|(?:the|our)\s+{_BEST}+){_NAMED}(?:\s+(?:is|would\s+be|should\s+be|must\s+be|has\s+to\s+be)\b\s*:?|\s*:)\s*"
    rf"|\bthe\s+choice\s+is\s+|\bthe\s+(?:choice|option)\s+I\s+(?:would\s+)?(?:choose|pick|select)\s+is\s+",
    re.IGNORECASE,
)
_LABELLED = re.compile(rf"^(?:{_BEST}*(?:{_NAMED}|ans)\s*(?:[:\u2013\u2014\u2192]|->?|=>)|ans\.|(?:final\s+)?answer\b)\s*", re.IGNORECASE)
"""Matches the beginning of a line that labels a choice."""
_IS = r"(?:\s+is|['\u2019]s|\s+(?:must|has\s+to)\s+be|\s+matches|\s+corresponds\s+to)\s+"
_SO = r"^(?:so|thus|therefore|hence)\b,?\s+"
_CONCLUDES = re.compile(
    rf"(?:^|{_SO}|,\s+(?:so\s+|and\s+)?)(?:this|that|it|which){_IS}(?=(?:option|choice)\s|\()|{_SO}(?:(?:it|this|that){_IS})?",
    re.IGNORECASE,
)
"""Matches the beginning of a last sentence that names a choice."""
_CALLED_BEST = re.compile(
    r"(?:^|,\s)(?:(?:so|thus|therefore|hence|I\s+(?:think|believe|conclude)\s+that)\b,?\s+)?(?:(?:option|choice|answer)\s+\(?([A-Z])\)?|\(([A-Z])\)"
    r"|(?-i:([A-Z])))\s+(?:is|must\s+be|would\s+be)\s+"
    rf"(?:(?:the|my)\s+{_BEST}*(?:answer|choice|option|one)|correct|right)[.!]?$",
    re.IGNORECASE,
)
_ALONE_IN_SENTENCE = re.compile(
    r"[$(]*(?-i:[A-Z])[$)]*(?:\s+over\s+\(?[A-Z]\)?|\s*\((?!wrong|incorrect|false|not\b)[^()]*\)|:\s.*|(?<=\))\s+[-0-9$\\].*|,\s+since\b.*"
    r"|\s+(?:because|since|rather\s+than)\b.*|,?\s+(?:and\s+)?not\s+\(?[A-Z]\)?)?[.!]?$",
    re.IGNORECASE,
)
_BEFORE = re.compile(
    r"(?:.*,\s*)?(?:(?:so|thus|therefore|hence|and|then|finally|overall|I\s+(?:think|believe|guess|conclude)(?:\s+that)?)\b,?\s+)*",
    re.IGNORECASE,
)
"""Matches words before a choice that leave it the speaker's own."""
_OPTION_LINE = re.compile(r"(?:option|choice)\s+\(?([A-Z])\b\)?(?-i:(?P<more>.*))", re.IGNORECASE)
_SUPPOSED = re.compile(
    r"\b(?:if|unless|were|suppose|assuming|otherwise|without|why|should|could|might|may|first|initially|tempted|wrongly|mistake\w*|when)\b"
    r"|\b(?:not|never|neither|wrong)\b[^,]*$|n['\u2019]t\b[^,]*$",
    re.IGNORECASE,
)
_FORCED = re.compile(r"\bif\s+I\s+(?:had|have)\s+to\s+(?:choose|pick|guess|select|answer)\b", re.IGNORECASE)
_RETRACTED = re.compile(
    r"\b(?:wait|actually|however|on\s+second\s+thought|reconsider|scratch\s+that|not\s+so\s+fast|(?:that|this)(?:['\u2019]s|\s+(?:is|was|one\s+is))"
    r"\s+(?:wrong|incorrect|not))\b|\bno[,.:]|^(?:but|hmm+|yet|instead|on\s+reflection)\b",
    re.IGNORECASE,
)
_SENTENCES = re.compile(r"(?<=[.!?\u3002])(?<!\bAns\.)\s+|\n+")
_FONTS = r"\\(?:text(?:bf|rm|it|sf|tt|normal)?|math(?:rm|bf|sf|it|cal|scr|frak|tt)|mbox|hbox|boldsymbol|bm|bf|rm)(?![a-zA-Z])\s*"
_FONT = re.compile(_FONTS)
_STYLE = re.compile(r"\\(?:(?:display|text|script)style|tiny|(?:script|footnote|normal)size|small|[lL]arge|LARGE|[hH]uge)(?![a-zA-Z])")
_ALONE = re.compile(
    # a letter in a font of its own, or in brackets of another kind
    rf"{_FONTS}\{{\s*\(?\s*([A-Za-z])\s*[.:)]*\s*\}}(?!\s*[_^'(])|\\?[\[\u3010\u3014]\s*([A-Za-z])\s*\\?[\]\u3011\u3015]"
)
_DOUBLED = re.compile(r"\(\s*\(\s*([A-Za-z])\s*\)\s*\)")
_DROPPED = re.compile(
    r"[${}*~`_\"'\u2018-\u201f\u00ab\u00bb\u300c\u300d]|\\[,;!()\[\] ]|\\q?quad(?![a-z])"
    r"|[\u2713\u2714\u2705\u2611]\ufe0f?|\\checkmark(?![a-z])"
)
_SAID = re.compile(r"\b(?:answer|option|choice)\s+is\b[\s:]*", re.IGNORECASE)
_LABELS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def letter(answer: str) -> str | None:
    r"""Returns the one choice of an answer as a capital, or None.

    Examples are `B`, `(b)`, `\text{B}`, `B) 5 m` and `Option B`.

    A letter that begins a word or a sentence ("A cat") does not count, nor do two choices ("B or C", "A, B").
    """
    plain = _ALONE.sub(r"(\1\2)", _STYLE.sub(" ", strip_tags(plain_signs(answer[-WINDOW:]))))
    plain = _DOUBLED.sub(r"(\1)", _DROPPED.sub(" ", _FONT.sub("", plain)))
    plain = re.sub(r"(?<=\()\s+|\s+(?=\))|\s+(?=[.:,])", "", plain).strip(" \n\t.!?;,:")
    plain = _REFUSED.sub("", plain)
    said = max((marker.end() for marker in _SAID.finditer(plain)), default=0)
    found = _CHOICE.fullmatch(plain[said:])
    if not found:
        return None
    rest = found[3].strip()
    if rest and not _REASON.match(rest) and (_SECOND.match(rest) or not re.search("[A-Za-z0-9]", rest)):
        return None
    return str(found[1] or found[2]).upper()


def find_choice(text: str) -> str | None:
    """Returns the choice of a text without an announced answer, or None.

    The whole text or its first line may be the choice, or one option is said to be the right one.
    """
    text = text.strip()
    if _REPLY.fullmatch(text) and letter(text):
        return text
    lines = {line.strip() for line in text[-WINDOW:].splitlines() if _FIRST_LINE.fullmatch(line.strip())}
    if len(lines) == 1 and (first := _FIRST_LINE.match(text)):
        return first[1]
    chosen = {(first or second or third).upper() for first, second, third in _CHOSEN.findall(text[-WINDOW:])}
    chosen |= _named_choices(text[-WINDOW:])
    return chosen.pop() if len(chosen) == 1 else None


def _named_choices(text: str) -> set[str]:
    """Returns the choices that sentences name as the speaker's own.

    A later sentence that takes a choice back leaves an empty set.
    """
    sentences = [plain for sentence in _SENTENCES.split(text) if (plain := re.sub(r"[*_`]", "", sentence).strip())]
    lines = [line for sentence in sentences if (line := _OPTION_LINE.match(sentence))]
    names = {lines[0][1].upper()} if len(lines) == 1 and lines[0]["more"] in {"", "."} and lines[0].string == sentences[-1] else set[str]()
    for place, sentence in enumerate(sentences):
        found = _named_choice(sentence, last=place == len(sentences) - 1)
        if found and any(_RETRACTED.search(later) for later in sentences[place + 1 :]):
            return set()
        names |= {found} if found else set()
    return names


def _named_choice(sentence: str, last: bool) -> str | None:
    """Returns the choice that a sentence names, or None."""
    if sentence.endswith("?"):
        return None
    if called := _CALLED_BEST.search(sentence):
        supposed = _SUPPOSED.search(sentence[: called.start()])
        return None if supposed else (called[1] or called[2] or called[3]).upper()
    patterns = (_NAMES_CHOICE, _LABELLED, _CONCLUDES) if last else (_NAMES_CHOICE, _LABELLED)
    for pattern in patterns:
        for found in pattern.finditer(sentence):
            rest = re.sub(rf"^{_OPTION}", "", sentence[found.end() :], flags=re.IGNORECASE)
            before = sentence[: found.start()]
            own = pattern is _CONCLUDES or _BEFORE.fullmatch(before)
            if own and _ALONE_IN_SENTENCE.match(rest) and not _SUPPOSED.search(_FORCED.sub("", before)):
                return letter(re.sub(r"\s+over\s+\(?[A-Z]\)?", "", rest))
    return None


class Choices(NamedTuple):
    """Options in their shown order, and the letter of the right one."""

    options: list[str]
    gold: str


def shuffle_options(question: str, options: Sequence[str], correct: int = 0) -> Choices:
    """Orders options by a hash of question and option.

    `correct` is the index of the right one in `options`.
    """

    def place(index: int) -> tuple[str, int]:
        return hashlib.sha256(f"{question}\0{options[index]}".encode()).hexdigest(), index

    order = sorted(range(len(options)), key=place)
    return Choices([options[index] for index in order], _LABELS[order.index(correct)])


def box_gsm8k(solution: str) -> str:
    r"""Writes the last `#### n` of a GSM8K solution as `\boxed{n}`."""
    before, mark, answer = solution.rpartition("####")
    return f"{before}\\boxed{{{answer.strip()}}}" if mark else solution


def box_aime(solution: str) -> str:
    r"""Boxes the last integer that ends a formula in an AIME solution."""
    if extract_boxed(solution) is not None:
        return solution
    last = re.findall(r"=\s*([0-9]{1,3})\s*\$", solution)
    return f"{solution}\n\\boxed{{{last[-1]}}}" if last else solution
