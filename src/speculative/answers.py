r"""Finds the answer of a text, and brings it into a common spelling.

`extract_answer` finds it, `normalize_answer` is the spelling by which votes count it, and `parse_number` reads plain numbers. The grader
does the same before any mathematics. Numbers are exact fractions: .0000672 is not .0000673.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from fractions import Fraction

from msgspec import Struct

WINDOW = 2048
"""The number of characters of an answer that are read. A longer answer is an attack or a loop."""

LONGEST_BOX = 4 * WINDOW
"""The most characters of a box's content. A box that closes later counts as open."""
MOST_BOXES = 64
"""The most boxes of one sentence that are joined."""

_BOX = re.compile(r"\\{1,2}(?:boxed|fbox)(?![a-zA-Z])\s*+(\{)?")
_BRACE = re.compile(r"\\.|[{}]", re.DOTALL)
_BARE_SIGNS = re.compile(r"[-+]?\$?[0-9](?:[0-9.,/]*[0-9])?|[A-Z](?![A-Za-z])")
_BARE_COMMAND, _BARE_END = re.compile(r"\\(?!boxed|fbox)[a-zA-Z]"), re.compile(r"\$|\\[)\]]|\n")
_DELIMITERS = re.compile(r"\$|\\[()\[\],;]|\\q?quad(?![a-z])|\\text(?![a-z])|[{}*]")
_JOINS = re.compile(r"[\s,;]*+(?:(?:and|or|and/or)\b)?[\s,;]*+")
_SENTENCE_END = re.compile(r"[.!?:\u3002](?=\s|$)")
_HEADING = re.compile(r"\bfinal\s+answers?\b|\*\*[^*\n]*\b(?:answer|result|solution)s?\b[^*\n]*\*\*", re.IGNORECASE)
# after these words a later box replaces an earlier one
_CONSEQUENCE = re.compile(
    r"^\s*=|\\implies|\\Rightarrow|\\rightarrow|\\to(?![a-z])|\\approx|\\equiv"
    r"|\b(?:so|then|thus|hence|therefore|gives?|giving|i\.e|rather|instead|means|equals?|simplif\w+|becomes|wait|no)\b",
    re.IGNORECASE,
)
_TO_BE = (
    r"(?:should|would|must|will|has\s++to|ought\s++to)\s++be"
    r"|(?:comes|turns|works|came|turned)\s++out(?:\s++(?:to\s++be|as|to))?+|comes\s++to"
)
_NUMBERED = r"[*_`]*+\(?[0-9]++[.):][*_`]*+[ \t]++\S"
"""The beginning of a numbered heading."""
_FORMULA_LINE = r"(?:\$++[^$\n]++\$++|\\[(\[][^\n]*?\\[)\]])[*_`.]*+[ \t]*+$"
# possessive, since a long run of blanks would otherwise be tried in every way
_ABOUT_ANSWER = (
    r"(?:\s++(?:to|for)\s++(?:the|this|that|your)\s++(?:(?:original|given|whole)\s++)?(?:question|problem|exercise|task|puzzle|riddle)"
    r"|\s++(?:that\s++)?(?:we|I)\s++(?:want|need|get|seek|(?:would\s++)?(?:choose|pick|select)|are\s++looking\s++for)"
    r"|\s++here|\s++in\s++this\s++case|,?\s++(?:then|therefore|thus|hence)\b,?)?+"
)
"""Matches words between "the answer" and "is" that do not make it another answer."""
_ANSWER_IS = (
    rf"\banswers?{_ABOUT_ANSWER}(?:(?:\b|(?<=,))[*_\s]*+(?:(?:is|are|was|equals|{_TO_BE})\b[*_\s]*+[:\uff1a]?|[:\uff1a]|=(?!=))"
    r"|['\u2019]s(?=[\s*_`$\\(]*+(?:[-+]?[0-9]|(?-i:[A-Z])(?![A-Za-z]))))[\s*]*+"
    r"(?:[\s,]*+(?:therefore|thus|then|hence|so|simply|just|exactly|precisely|indeed|clearly|now|also|equal to|given by)\b[\s,:*]*+)*+"
    r"(?!(?:in)?correct\b|right\b|wrong\b|valid\b|reasonable\b)(?=\S)"
)
_CHOICE_IS = (
    r"\b(?:correct|right|best)\s++(?:option|choice)\s++is\b[\s:*]*+(?:(?:option|choice)\b[\s:*]*+)?+"
    r"(?=(?:[^\w\\]|\\[a-z]++){0,8}(?-i:[A-Z])(?![A-Za-z]))"
)
_ANSWER_HEADING = (
    r"^[ \t]*+(?:#{1,6}[ \t]*+)?[*_]*+(?:the[ \t]++)?(?:final[ \t]++)?answer[ \t]*+[*_:]*+[ \t]*+\n(?:[=-]{3,}+[ \t]*+\n)?+\s*+(?=\S)"
)
_ANSWER_TAG = r"<answer>\s*+(?=[^\s<])"
_HASHES = (
    rf"^[ \t>*_]*+#{{4,6}}:?+[ \t]*+(?!{_NUMBERED})"
    rf"(?=[*_`\"\u201c]*+(?:\\?[$\u20ac\u00a3\u00a5]|<\w++>|[a-z][ \t]*+=[ \t]*+|[-+(.])*+[0-9]|[*_`]*+{_FORMULA_LINE})"
)
"""Matches the sign before the answer of GSM8K. Markdown writes a heading with it."""
_MARKER = re.compile("|".join([_ANSWER_IS, _CHOICE_IS, _ANSWER_HEADING, _ANSWER_TAG, _HASHES]), re.IGNORECASE | re.MULTILINE)
_SENTENCE = re.compile(
    r"(?:\$\$[^$]*\$\$|\$(?:\\.|[^$\\\n])*\$|\\\(.*?\\\)|\\\[.*?\\\]|[^\n.!?\u3002]|[.!?](?!\s|$|[*_\"<]))*[.!?\u3002]?", re.DOTALL
)
_EMPHASIS = re.compile(r"(?<![\w)\]}])\*{2,3}|\*{2,3}(?![\w(\[{\\])|[*_`]++(?=[.!?\u3002]?\Z)|\A[*_`]++")
"""Marks of bold and code. Two stars between a number and a number are a power."""
_FINAL = re.compile(
    r"[\n.!?*#$][\s*#_$]*+(?:(?:so|thus|hence|therefore|wait|actually|no|correction)[,:]?\s++)?(?:(?:the|my)\s++)?final\s++answers?\b",
    re.IGNORECASE,
)
_STATED = re.compile(r"^[A-Za-z].*\s(?:is|are|equals)\s+(\S.*)$", re.DOTALL)
_FORMULA = re.compile(r"\$[^$]+\$\.?|\$\$[^$]+\$\$\.?|\\\((?:(?!\\\)).)+\\\)\.?|\\\[(?:(?!\\\]).)+\\\]\.?", re.DOTALL)
_TAGGED = re.compile(r"<(b|strong|i|em|u|code|mark|span|answer)>(.*?)</\1>", re.DOTALL | re.IGNORECASE)
_QUOTED = re.compile(r"[\"\u201c\u00ab]([^\"\u201c\u201d\u00ab\u00bb]++)[\"\u201d\u00bb]([.!]?)")
_REASON = re.compile(r"[\s,]+(?:since|because|given that|so that)\b.*|,\s+(?:as|which|so)\b.*", re.DOTALL)
_DOUBT = r"(?:or|but|maybe|perhaps|possibly|unless|if|otherwise|else|though|although|may|might|could)\b"
_STATED_VALUE = (
    r"(?:[-+]?(?:\\?[$\u20ac\u00a3])?[0-9]++(?:[.,/:][0-9]++)*+(?:[ \t]?\\?%)?|\$[^$]++\$|\\\((?:(?!\\\)).)++\\\))"
    rf"(?:[ \t]+(?!(?:and|as|not|rather|instead)\b|{_DOUBT})[A-Za-z]{{2,}}){{0,4}}"
)
_COUNT = r"(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|thir|fif|eigh|twen|forty|hundred)(?:teen|ty)?\b"
_OPERATION = r"(?:plus|minus|times|divided|multiplied|squared|cubed|negative|half|followed)\b"
_INSTEAD = re.compile(r"(?!not\b|neither\b)(\S.{0,200}?),\s+(?:and\s+)?(?:not|rather\s+than|instead\s+of)\b.*", re.IGNORECASE | re.DOTALL)
_REFUSAL = r",?\s+(?:and\s+)?(?:not|rather\s+than|instead\s+of|as\s+opposed\s+to)\b.*"
_BRACKET = (
    r"\s*\((?:not|see|rounded|approx\w*|exact\w*|nearest|to\s+the|as|since|because|given|assuming|i\.e\.|in\s+(?:total|all)|total)\b"
    r"[^()]*\)[.!]?"
)
_CONDITION = r"(?:assuming|where|using|after|before|given|provided|considering|including|excluding|counting|from|for)\b"
# a clause with words of its own, but neither a list nor a second answer
_CLAUSE = (
    rf",\s+(?!{_DOUBT}|{_OPERATION}|{_COUNT}|(?:and|then|pi|infinity|none|no|zero|wait|wrong|incorrect|actually|false|sorry|correction)\b)"
    rf"(?:{_CONDITION}(?!.*\b{_DOUBT}.*[0-9]).*|(?:[A-Za-z]{{2,}}|I[ ](?=[a-z]))(?:(?!\b{_COUNT})[^0-9$\\])*+)"
)
_REMARK = re.compile(rf"({_STATED_VALUE})(?:{_REFUSAL}|{_BRACKET}|{_CLAUSE})", re.IGNORECASE | re.DOTALL)
"""Matches a value, and a remark behind it that does not change it: 42, not 41."""
_BARE_VALUE = re.compile(
    r"[-+]?\\?[$\u20ac\u00a3][0-9]++(?:[.,][0-9]++)*+\.?|[0-9]++(?:[.,][0-9]++)*+[ \t]?(?:\\?%|[a-zA-Z]{2,20})\.?"
    r"|[a-zA-Z] ?= ?-?[0-9]++(?:[.,][0-9]++)*+\.?"
)
_NO_UNIT = (
    r"(?:and|as|not|rather|instead|is|are|was|were|has|have|can|cannot|to|than|then|more|less|fewer|times|wrong|impossible|plus|minus)\b"
)
_UNIT = rf"(?:[ \t]+(?!{_NO_UNIT}|{_DOUBT})[A-Za-z]{{2,}})"
_IN_WORDS = rf"{_COUNT}(?:(?:[ -]|,? and )(?:{_COUNT}|thousand\b|million\b))*"
_SPELLED = rf"(?:[ \t]*\((?:[a-z]+(?:[ -][a-z]+)*)\){_UNIT}{{0,3}})"
_CLOSING_VALUE = (
    r"(?:[a-zA-Z][ ]?=[ ]?)?(?:[-+]?(?:\\?[$\u20ac\u00a3])?[0-9]++(?:[.,/:][0-9]++)*+(?:[ \t]?\\?%)?"
    r"|\$\$(?:\\.|[^$\\])++\$\$|\$(?:\\.|[^$\\])++\$|\\\((?:(?!\\\)).)++\\\)|\\\[(?:(?!\\\]).)++\\\])"
    rf"{_UNIT}{{0,4}}{_SPELLED}?"
)
"""A number or a formula, its unit, and the number again in words."""
_WHOLE_VALUE = re.compile(
    rf"(?:(?:=|\u2248|\u2234|\\approx|about\b|approximately\b|roughly\b)\s*)?(?P<value>{_CLOSING_VALUE}"
    rf"|{_IN_WORDS}(?:[ \t]*\([0-9.,]+\))?{_UNIT}{{0,2}})[.]?",
    re.IGNORECASE,
)
_SO = r"(?:(?:so|thus|therefore|hence|consequently|finally|overall|in\s+total|in\s+conclusion)\b[,:]?\s+|\u2234\s*)"
_ADJECTIVE = (
    r"(?:final|correct|right|best|total|overall|required|requested|desired|exact|numerical|simplified|resulting"
    r"|smallest|largest|least|greatest|minimum|maximum)\s+"
)
_NOUN = r"(?:result|solution|value|total|sum|number|amount|count|expression|form|product|difference|quotient|probability|area|volume|cost)"
_SUBJECT = (
    rf"(?:the|my|our)\s+(?:{_ADJECTIVE})*{_NOUN}"
    r"(?:\s+of\s+[^.,:;?!0-9]{1,60}?|\s+(?:that\s+)?(?:we|I)\s+(?:want|need|get|seek|are\s+looking\s+for))?"
)
_EQUALS = (
    rf"(?:\s+(?:is|are|equals|gives|makes|yields|(?:simplifies|reduces|evaluates)\s+to|{_TO_BE})|['\u2019]s)"
    r"(?:\s+(?:therefore|thus|then|hence|simply|just|exactly|precisely))?:?\s+"
)
_LABEL = (
    r"(?:(?:the|my|our)\s+)?(?:(?:final|correct)\s+)?"
    r"(?:(?:result|solution|value|total|number|final|simplified(?:\s+(?:form|expression))?|answer|ans)\s*(?:[:=\u2013\u2014\u2192]|-(?=\s)|->|=>)\s*"
    r"|answer\s+|ans\.\s*)"
)
_CLOSING = re.compile(
    rf"(?:^|[.!?:]\s+)(?:(?P<label>{_LABEL})"
    rf"|{_SO}?(?:(?:I|we)\s+(?:think|believe|conclude|find|see)\s+(?:that\s+)?)?"
    rf"(?:(?:{_SUBJECT}|it|this|that){_EQUALS}|(?:I|we)(?:\s+(?:get|got|obtain|find|would\s+(?:say|answer))|['\u2019]d\s+say)\s+)"
    rf"|{_SO}(?:there\s+(?:are|is|were|was|will\s+be|remain)\s+)?)"
    rf"(?P<value>{_CLOSING_VALUE})(?:,?\s+(?:because|since)\b[^,;]*)?\.?$",
    re.IGNORECASE,
)
"""Matches a last sentence that states a value, or a last line that labels one."""
_ENDED = re.compile(r"[.*_`$\u3002]$|\\[)\]]$")
_HOPE = re.compile(r"\s*I hope (?:it|this|that|the answer) (?:is correct|helps)[.!]$")
_CHOICE = re.compile(r"\(?[A-Z]\)?\.?")
_FULL_WIDTH = {code + 0xFEE0: chr(code) for code in range(0x21, 0x7F)}
_UNICODE = str.maketrans(
    {
        **_FULL_WIDTH,
        **dict.fromkeys("\u2212\u2013\u2014\u2010\u2011", "-"),
        **dict.fromkeys("\u00a0\u2002\u2003\u2009\u200a\u202f", " "),
        **dict.fromkeys("\u200b\u2060\ufeff", ""),
        "\u00d7": r"\times ", "\u00b7": r"\cdot ", "\u22c5": r"\cdot ", "\u00f7": "/", "\u03c0": r"\pi ", "\u221e": r"\infty ",
        "\u2264": r"\le ", "\u2265": r"\ge ", "\u00b0": r"^\circ ", "\u222a": r"\cup ", "\u2208": r"\in ", "\u00b1": r"\pm ",
        "\u00b2": "^2", "\u00b3": "^3", "\u00bd": r"\frac{1}{2}", "\u00bc": r"\frac{1}{4}", "\u00be": r"\frac{3}{4}",
        "\u2248": r"\approx ", "\u03b8": r"\theta ", "\u2260": r"\ne ", "\u2205": r"\emptyset ", "\u211d": r"\mathbb{R}",
        "\u3002": ".", "\u2216": r"\setminus ",
        **dict.fromkeys("\u2713\u2714\u2705\u2611\ufe0f", ""),
    }
)  # fmt: skip

_FUNCTIONS = "arcsin|arccos|arctan|arccot|arcsec|arccsc|sinh|cosh|tanh|coth|sin|cos|tan|cot|sec|csc|ln|log|exp"
_FONTS = "text|mbox|hbox|textbf|textit|textrm|textnormal|textsf|texttt|mathrm|mathbf|mathit|mathsf|boldsymbol|bm"
_SPELLINGS: list[tuple[str, str]] = [
    # backslashes that were escaped twice
    (r"\\\\(?=(?:left|right|[dt]?frac|sqrt|pi|text|mathrm|mathbb|cdot|times|leq?|geq?|infty|cup|pm|theta)(?![a-z]))", r"\\"),
    (r"\u221a\s*([0-9]+|[a-z])", r"\\sqrt{\1}"),
    (r"\u221a", r"\\sqrt"),
    (r"\\[dtc]frac(?![a-z])", r"\\frac"),
    (r"\\(?:left|right)\s*\.|\\(?:left|right|[bB]igg?[lrm]?)(?![a-zA-Z])", ""),
    (r"\\(?:(?:display|text|script)style|limits|boxed|tiny|(?:script|footnote|normal)size|small|[lL]arge|LARGE|[hH]uge)(?![a-zA-Z])", ""),
    # a comma without space joins the digits of one number: 10,\!080 and 10{,}080
    (r"(?<=[0-9])\s*(?:\{\s*,\s*\}|,\s*\\!)\s*(?=[0-9]{3}(?![0-9]))", ""),
    (r"\\!|\\negthinspace", ""),
    (r"(?<!\\)\\(?:[,;:> ]|quad(?![a-z])|qquad(?![a-z])|enspace(?![a-z])|thinspace(?![a-z]))|~", " "),
    (r"(?<!\\)\\[()\[\]]", ""),
    (r"\\(?:leq|leqslant|le)(?![a-z])|<=|=<", r"\\le "),
    (r"\\(?:geq|geqslant|ge)(?![a-z])|>=", r"\\ge "),
    (r"\\neq?(?![a-z])", r"\\ne "),
    (r"!=", r"\\ne "),
    (r"\\varnothing(?![a-z])", r"\\emptyset"),
    (r"\\\||\\[lr]?Vert(?![a-z])|\\[lr]?vert(?![a-z])", "|"),
    (r"\\(hat|vec|bar|overline)\{\s*\\(?:mathbf|mathrm|boldsymbol|text)\{([a-zA-Z])\}\s*\}", r"\\\1{\2}"),
    (r"\\backslash(?![a-z])", r"\\setminus "),
    (r"\\checkmark(?![a-z])", ""),
    # functions and constants in upright letters are what they say
    (rf"\\(?:mathrm|operatorname\*?|text|textrm|mathsf|mathit)\s*\{{\s*({_FUNCTIONS})\s*\}}", r"\\\1 "),
    (r"\\operatorname\*?\s*\{\s*(max|min|gcd|lcm|lg|det|dim|deg)\s*\}", r"\\\1 "),
    (
        r"\\(?:mathrm|operatorname|mathit|mathsf|rm)(?:\s*\{\s*([ei])\s*\}|\s+([ei])(?![a-zA-Z]))|\{\\rm\s+([ei])\s*\}|\\text\{\s*(e)\s*\}(?=\s*\^)",
        r"{\1\2\3\4}",
    ),
    (r"(?<![\^_}a-zA-Z])\{([ei])\}", r"\1"),
    (r"\\pmod\s*([0-9a-z])", r"\\pmod{\1}"),
    (rf"(?<![a-zA-Z\\])({_FUNCTIONS})(?=\s?[0-9(\\^_{{])", r"\\\1 "),
    (r"\\(?:text)?color\{[a-z]+\}|\\underline(?![a-z])", ""),
    (r"\\lt(?![a-z])", "<"),
    (r"\\gt(?![a-z])", ">"),
    (r"\\lbrace(?![a-z])", r"\\{"),
    (r"\\rbrace(?![a-z])", r"\\}"),
    (rf"\\(?:{_FONTS}|operatorname\*?|rm|bf|it)\s*\{{", r"\\text{"),
    (r"\{\\(?:bf|rm|it)\s", r"\\text{"),
    (r"(?<![a-zA-Z\\])sqrt\s*\(([^()]*)\)", r"\\sqrt{\1}"),
    (r"(?<![a-zA-Z\\])(pi|infty|sqrt)(?![a-zA-Z])", r"\\\1 "),
    (r"(?<![a-zA-Z\\])(?:infinity|oo)(?![a-zA-Z])", r"\\infty "),
    (r"\\text\{\s*(?:approximately|about|roughly)\s*\}|^(?:approximately|about|roughly)(?=\s)", r"\\approx "),
    (r"^\s*\\text\{\s*(?i:(?:the\s+)?(?:final\s+)?answers?\s*(?:is|are|:|=)\s*:?)\s*", r"\\text{"),
    # a list may be written with words
    (r",?\s*\\text\{\s*,?\s*(?:and|or)\s*\}\s*", ", "),
    (r"(?<=[0-9)\]])\s*(?:and|or)\s*(?=[-+0-9A-Z\\(\[]|[a-z]\W)", ", "),
    (r"(?<=[0-9a-z})\]])(?!(?:(?<=hundred)|(?<=thousand))\s+and\s)\s*,?\s+(?:and|or)\s+(?=[-+0-9a-zA-Z\\(\[])", ", "),
    (r"\s+", " "),
]  # fmt: skip
_JUXTAPOSED = re.compile(r"(?<=[0-9])(?:\$\$|\\[)\]]\s?(?:\\[(\[])?|\\[(\[])(?=[0-9])")
"""The end of one formula, and the beginning of another, between two digits: they are not the digits of one number."""
_RULES = [(re.compile(pattern), spelling) for pattern, spelling in _SPELLINGS]
_WRAPPED = re.compile(r"\\text\{([^{}]*)\}|\(([A-Za-z]|\\text\{[^{}]*\})\)")
_ARGUMENT = re.compile(r"\\[a-zA-Z]+|[0-9a-zA-Z]")


class Box(Struct, frozen=True):
    """A complete box of a text: its start, its end and its content."""

    start: int
    end: int
    content: str


def extract_answer(text: str) -> str | None:
    """Returns the answer of a text, or None.

    It is the last box, unless a value follows it after "final answer is" or "final answer:". Without a box it is the sentence after the
    last "answer is" or "answer:". A text that is nothing but a value or a capital letter is an answer too, and so is a value in a last
    sentence that concludes ("So there are 12 apples.", "Result: 12").

    Several boxes in one sentence are one answer, a list. A text whose last box is not closed has no answer.
    """
    text = _whole_characters(text)
    box, opened = last_box(text)
    if opened:
        return None
    if box is None:
        return find_phrase(text) or _whole_answer(text) or _closing_answer(text)
    later = find_phrase(text[box.end :]) if _FINAL.search(text, box.end) else None
    return later if later and _is_value(later) else box.content.strip()


def extract_boxed(text: str) -> str | None:
    r"""Returns the content of the last closed `\boxed{…}`, or None."""
    box, opened = last_box(text)
    return None if opened or box is None else box.content


def last_box(text: str) -> tuple[Box | None, bool]:
    """Returns the last complete box, and True if an unclosed box follows it.

    Boxes of one sentence are joined. The text is read from its end, and no part of it twice.
    """
    joined: list[Box] = []
    limit = len(text)
    for token in _box_tokens(text):
        if joined and joined[-1].start - token.end() > WINDOW + LONGEST_BOX:
            break
        box = _complete_box(text, token, limit)
        if token[1] or box:
            limit = token.start()
        if box is None:
            if token[1] and not joined:
                return None, True
            continue
        if joined and not _one_sentence(text[box.end : joined[-1].start]):
            break
        joined.append(box)
        if len(joined) == MOST_BOXES:
            break
    return (_join(joined[::-1]) if joined else None), False


def _box_tokens(text: str) -> Iterator[re.Match[str]]:
    r"""Yields every `\boxed` and `\fbox` from the end, with the brace that follows."""
    end = len(text)
    while (end := text.rfind("box", 0, end)) >= 0:
        start = end - (2 if text[end - 1 : end] == "f" else 1)
        if start > 0 and text[start - 1] == "\\":
            start -= 1
        if start >= 0 and (token := _BOX.match(text, start)):
            yield token


def _complete_box(text: str, token: re.Match[str], limit: int) -> Box | None:
    """Returns the box of a token if its content ends before `limit`."""
    start = token.end()
    limit = min(limit, start + LONGEST_BOX)
    if token[1]:
        depth = 1
        for brace in _BRACE.finditer(text, start, limit):
            depth += (brace[0] == "{") - (brace[0] == "}")
            if not depth:
                return Box(token.start(), brace.end(), text[start : brace.start()])
        return None
    if bare := _BARE_SIGNS.match(text, start, limit):
        return Box(token.start(), bare.end(), bare[0])
    if not _BARE_COMMAND.match(text, start, limit):
        return None
    closing = _BARE_END.search(text, start, limit)
    end = closing.start() if closing else limit
    return Box(token.start(), end, text[start:end])


def _join(boxes: list[Box]) -> Box:
    """Makes one box of several. Equal contents count once; long ones are not compared."""
    contents = list(dict.fromkeys(box.content.strip() for box in boxes if box.content.strip()))
    if sum(map(len, contents)) <= WINDOW:
        contents = list({normalize_answer(content): content for content in contents}.values()) if len(contents) > 1 else contents
    return Box(boxes[0].start, boxes[-1].end, ", ".join(contents))


def _one_sentence(between: str) -> bool:
    """Returns True if two boxes with this text between them are parts of one answer."""
    if len(between) > WINDOW or _HEADING.search(between):
        return False
    plain = _DELIMITERS.sub(" ", between)
    if _JOINS.fullmatch(plain) and plain.strip():
        return True
    return "\n" not in between and not (_SENTENCE_END.search(plain) or _CONSEQUENCE.search(plain))


def find_phrase(text: str) -> str | None:
    """Returns the sentence after the last "answer is", "answer:" or "####".

    Of "answer: the largest is 34" it is the value at the end.
    """
    start = max((marker.end() for marker in _MARKER.finditer(text)), default=-1)
    found = _SENTENCE.match(text[start : start + WINDOW]) if start >= 0 else None
    if found is None:
        return None
    phrase = _QUOTED.sub(r"\1\2", strip_tags(found[0]).strip().removesuffix("</answer>"))
    phrase = _REASON.sub("", _EMPHASIS.sub("", phrase.strip())).removesuffix("!").strip()
    if remark := _REMARK.fullmatch(phrase) or _INSTEAD.fullmatch(phrase):
        return remark[1]
    value = _STATED.search(phrase)
    return value[1] if value and _is_value(value[1]) else phrase or None


def _whole_answer(text: str) -> str | None:
    """Returns a text that is nothing but a value or a capital letter, else None."""
    plain = _EMPHASIS.sub("", text.strip()) if len(text) <= WINDOW else ""
    if plain and (_is_value(plain) or _BARE_VALUE.fullmatch(plain) or _CHOICE.fullmatch(plain)):
        return plain
    found = _WHOLE_VALUE.fullmatch(plain)
    return found["value"] if found else None


def _closing_answer(text: str) -> str | None:
    """Returns the value of a last sentence that states one, else None.

    A sentence without an end may be cut off, and the value with it.
    """
    line = _HOPE.sub("", text[-WINDOW:].strip().rpartition("\n")[2])
    found = _CLOSING.search(_EMPHASIS.sub("", line))
    return found["value"] if found and (found["label"] or _ENDED.search(line)) else None


def _is_value(phrase: str) -> bool:
    """Returns True for a number, or for a formula without words around it."""
    return bool(_FORMULA.fullmatch(phrase)) or parse_number(normalize_latex(phrase)) is not None


def _whole_characters(text: str) -> str:
    """Replaces the halves of characters that a cut leaves."""
    return text.encode(errors="replace").decode()


def is_correct(found: str | None, answer: str) -> bool:
    """Returns True if the answer equals the right one after `normalize_answer`."""
    return found is not None and normalize_answer(found) == normalize_answer(answer)


def normalize_answer(answer: str) -> str:
    r"""Returns the spelling by which a vote counts an answer.

    It is 33 for 033, 1/2 for `\dfrac12` and B for `\text{(B)}`.

    It is cheaper and less exact than the grader. The end of a long text counts. A text without content gives an empty string.
    """
    plain = normalize_latex(answer[-WINDOW:])
    while found := _WRAPPED.fullmatch(plain):
        plain = (found[1] or found[2] or "").strip()
    value = parse_number(plain)
    return strip_spaces(plain) if value is None else str(value)


def strip_tags(text: str) -> str:
    """Removes HTML's tags of bold and similar text, and keeps their content."""
    return _TAGGED.sub(r"\2", text)


def plain_signs(text: str) -> str:
    """Replaces full-width letters, digits and signs by ordinary ones."""
    return text.translate(_FULL_WIDTH | {0x3002: "."})


def normalize_latex(text: str) -> str:
    """Brings LaTeX into one spelling of spaces, fonts, brackets, fractions and signs."""
    text = strip_tags(text.translate(_UNICODE)).strip(" \t\n*`")
    if not text or (text.isdecimal() and text.isascii()):  # most answers
        return text
    text = _QUOTED.sub(r"\1\2", text) if _QUOTED.fullmatch(text) else text
    text = _JUXTAPOSED.sub("$", text)
    if text.count("$") - text.count("\\$") > 1:
        text = re.sub(r"(?<!\\)\$(?!(?<=[0-9]\$)[0-9])", "", text)
    for pattern, spelling in _RULES:
        text = pattern.sub(spelling, text)
    text = re.sub(" +", " ", _unfonted(text))
    return _arguments(re.sub(r"[\s.,;:*`]+$", "", text)).strip()


def _unfonted(text: str) -> str:
    r"""Removes `\text{…}` around content that is not only words."""
    start = text.find("\\text{")
    while start >= 0:
        end = matching_brace(text, start + 5)
        inner = text[start + 6 : end]
        if end > 0 and ("\\" in inner or re.search("[0-9]", inner) or not re.search("[A-Za-z]", inner)):
            text = text[:start] + inner + text[end + 1 :]
            start -= 1
        start = text.find("\\text{", start + 1)
    return text


def _arguments(text: str) -> str:
    r"""Adds the braces to `\frac12` and `\sqrt3`."""
    for command, count in (("\\frac", 2), ("\\sqrt", 1)):
        head, *tails = text.split(command)
        for tail in tails:
            arguments, rest = "", "" if tail[:1].isalpha() else tail.lstrip()
            for _ in range(count):
                end = matching_brace(rest, 0) if rest.startswith("{") else -1
                single = _ARGUMENT.match(rest)
                if end > 0:
                    arguments, rest = arguments + rest[: end + 1], rest[end + 1 :].lstrip()
                elif single:
                    arguments, rest = f"{arguments}{{{single[0]}}}", rest[single.end() :].lstrip()
                else:
                    break
            else:
                tail = arguments + rest
            head += command + tail
        text = head
    return text


def matching_brace(text: str, start: int) -> int:
    r"""Returns the place of the brace that closes the one at `start`, or -1.

    `\{` and `\}` do not count.
    """
    depth = 0
    for place in range(start, len(text)):
        if text[place] in "{}" and text[place - 1 : place] != "\\":
            depth += 1 if text[place] == "{" else -1
            if not depth:
                return place
    return -1


def strip_spaces(text: str) -> str:
    """Removes spaces, except those between two digits: 1 4/5 is not 14/5."""
    return re.sub(r"(?<![0-9]) | (?![0-9])", "", text)


_WHOLE = r"[0-9]{1,3}(?:,[0-9]{3})+|[0-9]{1,3}(?: [0-9]{3})+|[0-9]+"
_DECIMAL = re.compile(rf"({_WHOLE})?(?:\.([0-9]*)(?:\\(?:overline|bar)\{{([0-9]+)\}})?)?")
_FRACTION = re.compile(r"\\frac\{([^{}]+)\}\{([^{}]+)\}")
_MIXED = re.compile(r"([0-9]+) ?\\frac\{([0-9]+)\}\{([0-9]+)\}|([0-9]+) ([0-9]+) ?/ ?([0-9]+)")
_POWER = re.compile(r"(?:(.+?) ?(?:\\times|\\cdot|\*|x) ?)?10 ?\^ ?(?:\{ ?([-+]?[0-9]{1,3}) ?\}|([0-9]))|(.+?)[eE]([-+]?[0-9]{1,3})")


def parse_number(text: str, commas: bool = True) -> Fraction | None:
    """Returns the exact value of a plain number, or None.

    It may be an integer, a decimal (also repeating), a fraction, a mixed number or in scientific notation, with a sign.
    `commas` reads 1,234 as one number. A text with arithmetic left to do (30+3) gives None.
    """
    text = text.strip()
    if len(text) > 2048 or ("," in text and not commas):
        return None
    sign = -1 if text.startswith("-") else 1
    if text[:1] in {"-", "+"}:
        text = text[1:].strip()
        if text[:1] in {"-", "+"}:
            return None
    value = _decimal(text)
    if value is None:
        value = _quotient(text)
    return None if value is None else sign * value


def _decimal(text: str) -> Fraction | None:
    found = _DECIMAL.fullmatch(text)
    if not found or not any(found.groups()):
        return None
    whole, digits, repeating = re.sub("[, ]", "", found[1] or "0"), found[2] or "", found[3]
    value = Fraction(int(whole + digits), 10 ** len(digits))
    if repeating:
        value += Fraction(int(repeating), (10 ** len(repeating) - 1) * 10 ** len(digits))
    return value


def _quotient(text: str) -> Fraction | None:
    if found := _MIXED.fullmatch(text):
        whole, top, bottom = (int(part) for part in found.groups() if part)
        # 2 3/2 may be a product; the grader decides
        return Fraction(whole * bottom + top, bottom) if 0 < top < bottom else None
    if found := _POWER.fullmatch(text):
        factor = _decimal(found[1] or found[4]) if found[1] or found[4] else Fraction(1)
        return None if factor is None else factor * Fraction(10) ** int(found[2] or found[3] or found[5])
    found = _FRACTION.fullmatch(text)
    top, slash, bottom = (found[1], "/", found[2]) if found else text.partition("/")
    if not slash:
        return None
    if not found:  # a bare a/b: a sign in front of b would be two operators in a row
        above, below = _decimal(top.strip()), _decimal(bottom.strip())
    else:
        above, below = _signed(top.strip()), _signed(bottom.strip())
    return above / below if above is not None and below else None


def _signed(text: str) -> Fraction | None:
    value = _decimal(text[1:].strip() if text[:1] == "-" else text)
    return None if value is None else -value if text[:1] == "-" else value
