r"""Reads the form of an answer, such as a number, a list or an equation.

math-verify reads (1,2) as 1,2 and 52_8 as 52, and does not recognize 2<=x<5 as [2,5). So forms are read here and compared strictly
(`compare`); math-verify compares only answers without a form of their own (`Math`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from fractions import Fraction
from itertools import pairwise
from typing import TypeAlias

from msgspec import Struct, structs

from speculative.answers import matching_brace, parse_number, strip_spaces
from speculative.evaluate.grading.spelled import parse_words, spell_out
from speculative.evaluate.grading.units import split_unit


class Number(Struct, frozen=True):
    """An exact number, with its unit if it has one."""

    value: Fraction
    unit: str | None = None


class Based(Struct, frozen=True):
    """Digits with their base: 52_8."""

    digits: str
    base: int


class Words(Struct, frozen=True):
    """Plain words in lower case, without an article in front."""

    text: str


class Math(Struct, frozen=True):
    """LaTeX that is compared as mathematics, or as text if it is `opaque`."""

    latex: str
    unit: str | None = None
    opaque: bool = False


class Group(Struct, frozen=True):
    """An ordered group in brackets: a point, an interval, a matrix or its row."""

    left: str
    right: str
    items: tuple[Form, ...]


class Bag(Struct, frozen=True):
    """An unordered group: a list of solutions, a set, a union."""

    items: tuple[Form, ...]


class Equation(Struct, frozen=True):
    """An equation.

    Attributes:
        name: the left side if it is a name, else "".
        value: the last side.
        whole: the whole equation.
        others: the sides between the name and the value, which must equal it.
        unsolved: True if the left side is an expression of the unknown that is asked for, as in 2x = 42.
    """

    name: str
    value: Form
    whole: Math
    others: tuple[Form, ...] = ()
    unsolved: bool = False


class Rounded(Struct, frozen=True):
    """An exact value and its rounding: sqrt(66) and 8.12."""

    exact: Form
    shown: Form
    digits: int


Form: TypeAlias = Number | Based | Words | Math | Group | Bag | Equation | Rounded


DEPTH = 64
"""The limit of nested brackets. An answer has a few; thousands would cost seconds."""


class QuestionHints(Struct, frozen=True):
    """Facts about an answer that its question settles.

    Attributes:
        percent: numbers are percentages.
        base: the base in which numbers are written.
        nouns: words that may be units.
        trusted: the text is a gold answer, in which all words behind a number are units.
        asked: formulas whose values the question asks for, as `side_key` writes them.
        unknowns: the names whose values the question asks for, or None if it may be any.
        point: the names of the point that the question asks for, in their order.
    """

    percent: bool = False
    base: int | None = None
    nouns: frozenset[str] = frozenset()
    trusted: bool = False
    asked: frozenset[str] = frozenset()
    unknowns: frozenset[str] | None = None
    point: tuple[str, ...] = ()


NO_HINTS = QuestionHints()
INFINITY = Math(r"\infty")
_MINUS_INFINITY = Math(r"-\infty")
_ATOM = (
    r"(?:\\[a-zA-Z]+|[a-zA-Z])(?: ?_ ?(?:\{[^{}]*\}|[a-zA-Z0-9]))?'*(?: ?\( ?[a-zA-Z](?: ?, ?[a-zA-Z])* ?\))?"
    r"|\( ?[a-z](?: ?, ?[a-z])+ ?\)|\\text\{[^{}]*\}"
    # names of several letters: a segment, an angle, a size, the value of a function
    r"|(?:\\(?:angle|overline|triangle|widehat|vec) ?)?\{?[A-Z]{2,5}\}?(?: ?_ ?\{?[A-Za-z0-9]+\}?)?"
    r"|[a-zA-Z] ?\( ?-?[0-9]+ ?\)|P ?\( ?[A-Z] ?\)"
)
_SIZED = rf"(?:{_ATOM})|\| ?(?:{_ATOM}) ?\||\\frac\{{ ?(?:{_ATOM}) ?\}}\{{ ?(?:{_ATOM}) ?\}}"
_NAME = re.compile(rf"(?:{_SIZED})(?: ?[:/] ?(?:{_SIZED}))*")
_RELATION = re.compile(r"(?<!\\)(?:\\le(?![a-z])|\\ge(?![a-z])|<|>)")
_BASES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
# digits with their base; both round brackets may surround the digits, or none
_DIGITS = r"[0-9][0-9A-Fa-f]*|[A-F]{2,}[0-9A-F]*|[A-F][0-9][0-9A-F]*"
_BASED = re.compile(
    rf"(?=[^()]*_|\([^()]*\) ?_)\(?({_DIGITS})\)? ?_ ?(?:\{{ ?(?:\\text\{{)? ?([0-9]+|[a-z]+) ?\}}?\}}?|([0-9])|\\text\{{([a-z]+)\}})"
)
_BASED_WORDS = re.compile(rf"({_DIGITS}) ?(?:\\text\{{ ?\(?base ([0-9]+|[a-z]+)\)? ?\}}|\(?base ([0-9]+|[a-z]+)\)?)")
_WORD = r"[A-Za-z]+(?:['.-][A-Za-z]+)*"
_PLAIN_WORDS = re.compile(rf"{_WORD}(?: {_WORD})*")
_WORDS = re.compile(rf"(?=.*[A-Za-z]{{4}}){_WORD}(?: {_WORD})*")
_MATRIX_KIND = r"\{[pbBv]?(?:small)?(?:matrix|array)\}"
_MATRIX = re.compile(rf"\\begin{_MATRIX_KIND}(?:\{{[lcr|]*\}})?(.*)\\end{_MATRIX_KIND}", re.DOTALL)
_REALS = re.compile(r"\\mathbb ?\{? ?R ?\}?|\\Reals|(?:\\text\{ ?)?all real(?: numbers|s)(?: ?\})?", re.IGNORECASE)
_SETMINUS, _NOT_EQUAL = re.compile(r"\\setminus(?![a-z])|[-/](?= ?\\\{)"), re.compile(r"\\ne(?![a-z])")
_SEMICOLON = re.compile(";")
_DECIMAL_COMMA = re.compile(r"([-+]?0),([0-9]{2,})")
_MIXED = re.compile(r"(?<![0-9.}_^])([0-9]+) ?\\frac\{([0-9]+)\}\{([0-9]+)\}")
_DECIMAL = re.compile(r"([\^_]?) ?(?<![0-9])([0-9]*)\.([0-9]+)")
_OPAQUE = re.compile(
    r"[:']|[-+] ?[-+]|\\circ|\\text\{[^{}]{2,}\}|[0-9)] ?_|\\%|%|\$|\\ne|\\mid|(?<![_^])[0-9] [0-9]|\\begin|\\operatorname|^\{ ?\}"
    r"|\\(?:wedge|vee|neg|sim|rightarrow|Rightarrow|leftrightarrow|iff|cap|subset|equiv|pmod|partial|nabla|forall|exists|perp|parallel)(?![a-z])"
)
"""Matches LaTeX that the grammar misreads. It is compared as text."""
_BUILDER = re.compile(rf"\\\{{ ?({_NAME.pattern}) ?(?:\\in ?(?:{_REALS.pattern}) ?)?(?:\||:|\\mid(?![a-z])) ?(.*)\\\}}", re.DOTALL)
_MULTIPLE = re.compile(r"([-+]?) ?([0-9]+(?:\.[0-9]+)?|\\frac\{[0-9]+\}\{[0-9]+\})? ?([a-z]|\\[a-z]+)")
_SPELLED = re.compile(r"(.*[^ ]) ?(?:\\text\{ ?)?\(([A-Za-z]+(?:(?:,? |-)[A-Za-z]+)*)\)(?: ?\})?")
_CHANGES = {
    **dict.fromkeys(["decrease", "reduction", "decline", "drop", "loss", "discount", "off"], "decrease"),
    **dict.fromkeys(["increase", "rise", "growth", "gain", "profit"], "increase"),
}
_CHANGED = re.compile(rf"(.*%) ?(?:\\text\{{ ?)?({'|'.join(_CHANGES)})(?: ?\}})?")
_MODULUS = re.compile(r"([-+0-9,. ]+)(\\pmod ?\{[^{}]*\})")
_OUTWARD = re.compile(r"([\[\]])([^\[\](),;]+[,;][^\[\](),;]+)([\[\]])")
_HALF_REALS = re.compile(r"\\mathbb ?\{? ?R ?\}? ?[\^_] ?\{? ?([-+<>]|\\le|\\ge)(?: ?0)? ?\}?")
_HALVES = {"+": "()", ">": "()", "\\ge": "[)", "-": "()", "<": "()", "\\le": "(]"}
_NO_SOLUTION = re.compile(r"(?:the )?empty set")
_CONSTANTS = {r"\pi": Fraction(314159265358979, 10**14), "e": Fraction(271828182845905, 10**14)}
_UNKNOWN = re.compile(r"\\[a-zA-Z]+|[A-Z]{2,}|[a-zA-Z](?:_(?:\{[^{}]*\}|[a-zA-Z0-9]))?'*")
_FUNCTION = re.compile(r"\\(?:arc)?(?:sin|cos|tan|cot|sec|csc)h?(?![a-z])")
_KNOWN = re.compile(rf"\\(?:frac|sqrt|cdot|times|div|pi|log|ln|lg|exp)(?![a-z])|[ei]|{_FUNCTION.pattern}")
_SIZE = re.compile(r"\|([a-tx-y])\|")
"""The absolute value of an unknown. A letter of complex numbers or vectors would make it a length."""
_PRODUCT = re.compile(r"\\(?:cdot|times)(?![a-z])|[* ]")
_IMPLIES = re.compile(r"\\(?:implies|(?:Long|long)?[rR]ightarrow|therefore)(?![a-zA-Z])")
_GREEK = re.compile(
    r"\\(?:alpha|beta|gamma|delta|epsilon|zeta|eta|theta|iota|kappa|lambda|mu|nu|xi|rho|sigma|tau|upsilon|phi|chi|psi|omega)|\\var[a-z]+"
)
_APPLIED = re.compile(r"(?:(?<![a-zA-Z\\])[fghFGHP]'*|\\(?:var)?(?:phi|sigma|tau|mu|omega|psi|zeta))(?:\^\{?-1\}?)?\(")
_CONSTANT_NAME = re.compile(r"(?<![a-zA-Z\\])([Ee])(?= ?_)")


def split(text: str, mark: re.Pattern[str]) -> list[str]:
    """Splits a text at the marks outside of all brackets."""
    parts, depth, start = [""], 0, 0
    while start < len(text):
        found = mark.match(text, start) if not depth else None
        if found:
            parts.append("")
            start = found.end()
            continue
        angle = next((name for name in (r"\langle", r"\rangle") if text.startswith(name, start)), "")
        size = len(angle) or (2 if text[start] == "\\" else 1)
        token = text[start : start + size]
        depth += (token[-1] in "([{" or token == r"\langle") - (token[-1] in ")]}" or token == r"\rangle")
        parts[-1] += token
        start += size
    return [part.strip() for part in parts]


_COMMA, _CUP, _EQUALS, _IN = re.compile("[,;]"), re.compile(r"\\cup(?![a-z])"), re.compile("="), re.compile(r"\\in(?![a-z])")
_ABOUT, _PLUS_MINUS = re.compile(r"\\approx(?![a-z])"), re.compile(r"\\(?:pm|mp)(?![a-z])")


def read(text: str, commas: bool = True, hints: QuestionHints = NO_HINTS) -> Form:
    """Returns the form of a tidy answer.

    `commas` reads 1,234 as one number and not as a list of two.

    Raises `ValueError` for more than `DEPTH` nested brackets.
    """
    depth = 0
    for sign in text:
        depth += (sign in "([{") - (sign in ")]}")
        if depth > DEPTH:
            raise ValueError("nested too deeply")
    return _read(text, commas, hints)


def _read(text: str, commas: bool, hints: QuestionHints) -> Form:
    text = _unwrapped(text)
    if (value := _number(text, commas, hints)) is not None:
        return value
    if _REALS.fullmatch(text):
        return Group("(", ")", (_MINUS_INFINITY, INFINITY))
    if half := _HALF_REALS.fullmatch(text):
        left, right = _HALVES[half[1]]
        zero, above = Number(Fraction(0)), half[1] in {"+", ">", "\\ge"}
        return Group(left, right, (zero, INFINITY) if above else (_MINUS_INFINITY, zero))
    if text == r"\emptyset":
        return Bag(())
    if (words := _words(text)) is not None:
        if isinstance(value := _number(spell_out(words.text), commas, hints), Number):
            return value
        return Bag(()) if _NO_SOLUTION.fullmatch(words.text) else words
    if (solved := _concluded(text, commas, hints)) is not None:
        return solved
    parts = split(text, _ABOUT)
    if len(parts) == 2 and not parts[0] and parts[1]:
        return _read(parts[1], commas, hints)
    if len(parts) > 1 and all(parts):
        return _rounded(parts, text, commas, hints)
    parts = split(text, _SEMICOLON)
    if len(parts) > 1 and all("," in part for part in parts):
        systems = [_read(part, False, hints) for part in parts]
        if all(isinstance(system, Bag) and all(isinstance(item, Equation) for item in system.items) for system in systems):
            return Bag(tuple(Group("(", ")", system.items) for system in systems if isinstance(system, Bag)))
    parts = split(text, _CUP)
    if len(parts) > 1 and all(parts):
        return Bag(_flat(_read(part, False, hints) for part in parts))
    parts = split(text, _COMMA)
    if len(parts) > 1 and all(parts):
        return _unequal(parts, text, hints) or Bag(_elements(parts, hints))
    if (spelled := _SPELLED.fullmatch(text)) and (value := _number(spelled[1], commas, hints)) is not None:
        number = parse_words(spelled[2])
        if number is None:  # a unit in brackets
            return _number(f"{spelled[1]} \\text{{{spelled[2]}}}", commas, hints) or _math(text, hints)
        return value if isinstance(value, Number) and value.value == number else _math(text, hints)
    shaped = _bracketed(text, hints) or _difference(text, hints) or _related(text, commas, hints) or _plus_minus(text, hints)
    return shaped or _math(text, hints)


def _concluded(text: str, commas: bool, hints: QuestionHints) -> Form | None:
    r"""Reads `3x = 12 \implies x = 4` as its last equation."""
    *steps, last = split(text, _IMPLIES)
    if not steps or not all("=" in step for step in steps):
        return None
    form = _read(last, commas, hints)
    return form if isinstance(form, Equation) else None


def _rounded(parts: list[str], text: str, commas: bool, hints: QuestionHints) -> Form:
    """Reads `x \\approx 11` and `\\sqrt{66} \\approx 8.12`."""
    value = _read(parts[-1], commas, hints)
    decimals = re.search(r"\.([0-9]+)", parts[-1])
    digits = len(decimals[1]) if decimals else 0
    constant = _CONSTANTS.get(parts[0])
    if constant is not None and not (isinstance(value, Number) and abs(value.value - constant) < Fraction(1, 10**digits)):
        constant = None  # another e, such as an eccentricity
    if len(parts) == 2 and _NAME.fullmatch(parts[0]) and constant is None:
        return _equation(parts, text, commas, hints)
    if len(parts) == 2 and _is_unsolved(parts[0], hints):
        return Equation("", value, _math(text, hints), unsolved=True)
    exact = _read(parts[0], commas, hints)
    shown = Rounded(exact.value if isinstance(exact, Equation) else exact, value, digits)
    return structs.replace(exact, value=shown) if isinstance(exact, Equation) else shown


def _difference(text: str, hints: QuestionHints) -> Form | None:
    r"""Reads `\mathbb{R} \setminus \{2, 3\}` as the remaining intervals."""
    parts = split(text, _SETMINUS)
    if len(parts) != 2 or not all(parts):
        return None
    whole, holes = _read(parts[0], True, hints), _read(parts[1], False, hints)
    if whole != Group("(", ")", (_MINUS_INFINITY, INFINITY)):
        return None
    return _without(list(holes.items) if isinstance(holes, Bag) else [holes])


def _without(holes: list[Form]) -> Form | None:
    """Returns the real numbers without some, if their order is known."""
    numbers = [hole for hole in holes if isinstance(hole, Number)]
    if len(holes) > 1 and len(numbers) < len(holes):
        return None
    ends: list[Form] = [_MINUS_INFINITY, *(sorted(numbers, key=lambda number: number.value) if numbers else holes), INFINITY]
    return Bag(tuple(Group("(", ")", (low, high)) for low, high in pairwise(ends)))


def _unequal(parts: list[str], text: str, hints: QuestionHints) -> Form | None:
    r"""Reads `x \ne 1, x \ne 3` and `x \ne 1, 3` as the intervals that are left."""
    names: set[str] = set()
    holes: list[Form] = []
    for part in parts:
        sides = split(part, _NOT_EQUAL)
        if len(sides) > 2 or (len(sides) == 2 and not _NAME.fullmatch(sides[0])) or (len(sides) == 1 and not names):
            return None
        names.update(strip_spaces(side) for side in sides[:-1])
        holes.append(_read(sides[-1], True, hints))
    rest = _without(holes) if len(names) == 1 else None
    return Equation(names.pop(), rest, _math(text, hints)) if rest else None


def _elements(parts: list[str], hints: QuestionHints) -> tuple[Form, ...]:
    """Reads the parts of a list.

    A set among them is one element, while the two values of a plus-minus are two.
    """
    forms = [(part, _read(part, False, hints)) for part in parts]
    return tuple(item for part, form in forms for item in ((form,) if _is_set(part) else _flat([form])))


def _is_set(text: str) -> bool:
    return text == r"\emptyset" or text.startswith(r"\{")


def _unwrapped(text: str) -> str:
    text = text.strip()
    while text.startswith("{") and matching_brace(text, 0) == len(text) - 1:
        text = text[1:-1].strip()
    return text


def _number(text: str, commas: bool, hints: QuestionHints) -> Form | None:
    text = _DECIMAL_COMMA.sub(r"\1.\2", text) if _DECIMAL_COMMA.fullmatch(text) else text
    for pattern, changes in ((_CHANGED, _CHANGES), (_MODULUS, {})):
        if found := pattern.fullmatch(text):
            number, kind = _number(found[1], commas, hints), strip_spaces(found[2])
            return structs.replace(number, unit=changes.get(kind, kind)) if isinstance(number, Number) else None
    found = _BASED.fullmatch(text) or _BASED_WORDS.fullmatch(text)
    if found:
        spelled = next(part for part in found.groups()[1:] if part)
        base = base_named(spelled)
        digits = found[1].upper().lstrip("0") or "0"
        return _in_base(digits, base, hints) if base else None
    value = parse_number(text, commas)
    if value is not None:
        return Number(value)
    rest, unit, factor = split_unit(text, hints.nouns, hints.trusted)
    value = parse_number(rest, commas) if rest != text else None
    if value is None:
        return None
    if unit == "%":
        return Number(value * factor if hints.percent else value * factor / 100)
    return Number(value * factor, unit)


def _flat(forms: Iterable[Form]) -> tuple[Form, ...]:
    """Returns the items of nested bags: a plus-minus has two values."""
    return tuple(item for form in forms for item in (form.items if isinstance(form, Bag) else (form,)))


def base_named(name: str) -> int | None:
    """Returns the base that is written as 8 or as eight, or None."""
    base = int(name[:3]) if name.isdigit() else _BASES.index(name.lower()) if name.lower() in _BASES else 0
    return base if base > 1 else None


def _in_base(digits: str, base: int, hints: QuestionHints) -> Form:
    """Reads digits with their base.

    Base ten gives a plain number, unless the question asks for another base.
    """
    plain = base == 10 and digits.isdigit() and hints.base in {None, 10}
    return Number(Fraction(int(digits))) if plain else Based(digits.lstrip("0") or "0", base)


def _words(text: str) -> Words | None:
    """Reads words in \\text{…}, or bare ones of at least four letters."""
    inner = re.sub(r"\\text\{([^{}]*)\}", r" \1 ", text)
    plain = " ".join(inner.split()).rstrip(".")
    if not (_PLAIN_WORDS if inner != text else _WORDS).fullmatch(plain):
        return None
    return Words(re.sub(r"^(?:an?|the) ", "", plain.lower()))


def _bracketed(text: str, hints: QuestionHints) -> Form | None:
    if (found := _MATRIX.fullmatch(text)) and "\\begin" not in found[1]:
        rows = [row for row in split(found[1], re.compile(r"\\\\(?:\[[^\]]*\])?")) if row]
        return Group("matrix", "", tuple(Group("row", "", tuple(_read(cell, True, hints) for cell in row.split("&"))) for row in rows))
    if (found := _BUILDER.fullmatch(text)) and isinstance(form := _read(found[2], True, hints), Equation):
        return form
    for left, right in (("\\{", "\\}"), ("\\langle", "\\rangle")):
        if text.startswith(left) and text.endswith(right) and balanced(inner := text[len(left) : -len(right)]):
            inner = _unwrapped(inner)
            form = _read(inner, False, hints) if inner else Bag(())
            nested = _is_set(inner) and len(split(inner, _COMMA)) == 1 and left == "\\{"
            items = form.items if isinstance(form, Bag) and not nested else (form,)
            return Bag(items) if left == "\\{" else Group(left, right, items)
    if (found := _OUTWARD.fullmatch(text)) and found[1] + found[3] != "[]":  # ]1, 2[ is the French (1, 2)
        ends = tuple(_read(end, False, hints) for end in split(found[2], _COMMA))
        return Group("(" if found[1] == "]" else "[", ")" if found[3] == "[" else "]", ends)
    if text[:1] in {"(", "["} and text[-1:] in {")", "]"} and balanced(inner := text[1:-1]):
        parts = split(inner, _COMMA)
        if len(parts) > 1 and all(parts):
            return Group(text[0], text[-1], tuple(_read(part, False, hints) for part in parts))
        if text[0] == "(" and text[-1] == ")" and inner.strip():
            return _read(inner, True, hints)
        if text[0] == "[" and text[-1] == "]" and inner.strip():
            if _MATRIX.fullmatch(inner.strip()):
                return _read(inner, True, hints)
            return Group("[", "]", (_read(inner, True, hints),))
    return None


def _related(text: str, commas: bool, hints: QuestionHints) -> Form | None:
    member = split(text, _IN)
    if len(member) == 2 and _NAME.fullmatch(member[0]):
        return Equation(member[0], _read(member[1], commas, hints), _math(text, hints))
    unequal = split(text, _NOT_EQUAL)
    if len(unequal) == 2 and _NAME.fullmatch(unequal[0]) and (rest := _without([_read(unequal[1], True, hints)])):
        return Equation(strip_spaces(unequal[0]), rest, _math(text, hints))
    sides = split(text, _EQUALS)
    if len(sides) > 1 and all(sides):
        if len(sides) == 2 and _is_left(sides[1], hints) and not _is_left(sides[0], hints):
            sides.reverse()
        return _equation(sides, text, commas, hints)
    return _inequality(text, hints)


def _is_name(side: str) -> bool:
    return side != r"\pi" and bool(_NAME.fullmatch(side))


def _is_left(side: str, hints: QuestionHints) -> bool:
    return _is_name(side) or bool(_unknown(side)) or side_key(side) in hints.asked


def _equation(sides: list[str], text: str, commas: bool, hints: QuestionHints) -> Equation:
    names = [side for side in sides[:-1] if _is_name(side)]
    name = strip_spaces(names[0]) if names and (len(sides) > 2 or names[0] is sides[0]) else ""
    others = tuple(_read(side, True, hints) for side in sides[:-1] if not _is_name(side))
    unsolved = (not name or bool(_SIZE.fullmatch(name))) and _is_unsolved(sides[0], hints)
    return Equation(name, _read(sides[-1], commas, hints), _math(text, hints), others, unsolved)


def _is_unsolved(side: str, hints: QuestionHints) -> bool:
    """Returns True for an expression of the asked unknown, as 2x, x^2 or x - 1.

    An equation with such a side states no value yet. The question may ask for that side, or for a thing that has no name in it (the
    diameter, for which 2r = 10 is said); then it does. Without a question sin 2x is a name of what it is.
    """
    unknown = _unknown(side)
    if not unknown or side_key(side) in hints.asked:
        return False
    return not _FUNCTION.search(side) if hints.unknowns is None else unknown in hints.unknowns


def _unknown(side: str) -> str:
    """Returns the one unknown of an expression that is more than a name, else ""."""
    plain = re.sub("(?<![a-zA-Z]) | (?![a-zA-Z])", "", side)
    if sized := _SIZE.fullmatch(plain):
        return sized[1]
    if _NAME.fullmatch(plain) or _APPLIED.search(plain) or re.search(r"[^-+*/^(){}\[\]|!0-9.a-zA-Z\\_' ]", plain):
        return ""
    unknowns = {found for found in _UNKNOWN.findall(plain) if not _KNOWN.fullmatch(found)}
    unknown = unknowns.pop() if len(unknowns) == 1 else ""
    return unknown if unknown[:1] != "\\" or _GREEK.fullmatch(unknown) else ""


def side_key(side: str) -> str:
    """Returns one spelling for 2x+1, 1 + 2x and 1+2 \\cdot x."""
    plain = _PRODUCT.sub("", strip_spaces(side))
    if re.search(r"[(){}\[\]|]", plain):
        return plain
    terms = re.findall("[-+]?[^-+]+", plain)
    return "".join(sorted(term if term[0] in "-+" else f"+{term}" for term in terms))


def _inequality(text: str, hints: QuestionHints) -> Form | None:
    """Reads x < a, a <= x < b, -2x > b and their mirror images as intervals of x.

    Other inequalities give None.
    """
    sides, signs = split(text, _RELATION), [sign.strip() for sign in _RELATION.findall(text)]
    if len(signs) != len(sides) - 1 or len(sides) not in {2, 3} or not all(sides):
        return None
    if all(sign in {">", "\\ge"} for sign in signs):
        sides, signs = sides[::-1], [{">": "<", "\\ge": "\\le"}[sign] for sign in signs[::-1]]
    if not all(sign in {"<", "\\le"} for sign in signs):
        return None
    if len(sides) == 2:  # now a < x or x < a
        upper = _NAME.fullmatch(sides[0]) or (_MULTIPLE.fullmatch(sides[0]) and not _NAME.fullmatch(sides[1]))
        sides, signs = (["", *sides], ["<", *signs]) if upper else ([*sides, ""], [*signs, "<"])
    if sized := re.fullmatch(r"\| ?([a-z]) ?\|", sides[1]):
        return _sized(sized[1], sides, signs, text, hints)
    factor, name = Fraction(1), sides[1]
    if not _NAME.fullmatch(name):
        multiple = _MULTIPLE.fullmatch(name)
        value = parse_number(f"{multiple[1]}{multiple[2] or 1}") if multiple else None
        if not multiple or not value:
            return None
        factor, name = value, multiple[3]
    low = _divided(_read(sides[0], True, hints), factor) if sides[0] else _endless(-factor)
    high = _divided(_read(sides[2], True, hints), factor) if sides[2] else _endless(factor)
    if low is None or high is None:
        return None
    if factor < 0:
        low, high, signs = high, low, signs[::-1]
    interval = Group("[" if signs[0] == "\\le" else "(", "]" if signs[1] == "\\le" else ")", (low, high))
    return Equation(strip_spaces(name), interval, _math(text, hints))


def _endless(sign: Fraction) -> Form:
    return INFINITY if sign > 0 else _MINUS_INFINITY


def _divided(form: Form, factor: Fraction) -> Form | None:
    """Returns a number divided by an inequality's factor; other forms give None."""
    if factor == 1:
        return form
    if isinstance(form, Math) and factor == -1 and not form.opaque:
        return Math(f"-({form.latex})", form.unit)
    return Number(form.value / factor, form.unit) if isinstance(form, Number) else None


def _sized(name: str, sides: list[str], signs: list[str], text: str, hints: QuestionHints) -> Form | None:
    """Reads |x| < a, a <= |x| <= b and |x| > a with numbers as intervals of x."""
    low, high = ((_read(side, True, hints) if side else None) for side in (sides[0], sides[2]))
    if not isinstance(low, Number | None) or not isinstance(high, Number | None):
        return None
    opens, closes = ("[" if signs[0] == "\\le" else "("), ("]" if signs[1] == "\\le" else ")")
    mirrored = {"[": "]", "(": ")", "]": "[", ")": "("}
    high_end, negative = (high, Number(-high.value, high.unit)) if high else (INFINITY, _MINUS_INFINITY)
    if low is None:
        return Equation(name, Group(mirrored[closes], closes, (negative, high_end)), _math(text, hints))
    left = Group(mirrored[closes] if high else "(", mirrored[opens], (negative, Number(-low.value, low.unit)))
    return Equation(name, Bag((left, Group(opens, closes if high else ")", (low, high_end)))), _math(text, hints))


def _plus_minus(text: str, hints: QuestionHints) -> Form | None:
    if not _PLUS_MINUS.search(text):
        return None
    both = [re.sub(r"\\pm(?![a-z])", one, re.sub(r"\\mp(?![a-z])", other, text)) for one, other in ("+-", "-+")]
    return Bag(tuple(_read(each.strip().removeprefix("+"), True, hints) for each in both))


def balanced(text: str, mixed: bool = True) -> bool:
    """Returns True if all brackets match.

    In `mixed` text, which may hold intervals, ( and [ match each other.
    """
    open_ones: list[str] = []
    for sign in text:
        if sign in "([{":
            open_ones.append("(" if mixed and sign == "[" else sign)
        elif sign in ")]}":
            closes = "{" if sign == "}" else "(" if mixed or sign == ")" else "["
            if not open_ones or open_ones.pop() != closes:
                return False
    return not open_ones


def _math(text: str, hints: QuestionHints) -> Math:
    rest, unit, factor = split_unit(text, hints.nouns, hints.trusted)
    if factor != 1 or unit == "%" or not rest:
        rest, unit = text, None
    latex = re.sub(r"(?<=[0-9]),(?=[0-9]{3}(?![0-9]))", "", rest)
    latex = re.sub(r"([0-9]+|\\frac\{[0-9]+\}\{[0-9]+\}) ?\^ ?(?:\{ ?\\circ ?\}|\\circ)", r"(\\frac{\1 \\pi}{180})", latex)
    latex = _MIXED.sub(lambda found: f"\\frac{{{int(found[1]) * int(found[3]) + int(found[2])}}}{{{found[3]}}}", latex)
    latex = _DECIMAL.sub(_exact, latex)
    latex = _CONSTANT_NAME.sub(lambda found: r"\Xi " if found[1] == "E" else r"\xi ", latex)  # E_1 is a variable
    sound = balanced(re.sub(r"\\[{}]", "", latex), mixed=False)
    return Math(latex.strip(), unit, bool(_OPAQUE.search(latex)) or not latex.strip() or not sound)


def _exact(found: re.Match[str]) -> str:
    """Writes a decimal as a fraction, which math-verify compares exactly."""
    fraction = f"\\frac{{{int(found[2] + found[3])}}}{{{10 ** len(found[3])}}}"
    return f"{found[1]}{{{fraction}}}" if found[1] else fraction
