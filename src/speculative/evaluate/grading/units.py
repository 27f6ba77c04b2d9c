r"""Splits the unit from an answer: `\$18.90`, `30^\circ`, `5 km/h`.

A question fixes its unit, so a number without one is right. Another unit, or another power of it, is wrong and is not converted.
A percent sign is a factor: 50% is 1/2.
"""

from __future__ import annotations

import re
from fractions import Fraction

_NAMES = """
m: meter metre | cm: centimeter centimetre | mm: millimeter millimetre | km: kilometer kilometre | in: inch inches | ft: foot feet
yd: yard | mi: mile | g: gram gm | kg: kilogram | mg: milligram | lb: pound lbs | oz: ounce | s: sec second | min: minute | h: hr hour
l: liter litre L | ml: milliliter millilitre mL | gal: gallon | deg: degree | rad: radian | $: dollar usd | c: cent cents
euro: eur | N: newton | J: joule | W: watt | V: volt | Hz: hertz hz | Pa: pascal | mol: mole | K: kelvin | eV: ev | nm: nanometer
day: | week: | month: | year: yr | unit: | th: st nd rd
mph: mi/h mile/hour | km/h: kmh kph kilometer/hour | m/s: meter/second mps | am: | pm:
"""
_ALIASES = {
    alias: name.strip()
    for entry in _NAMES.replace("\n", "|").split("|")
    if entry.strip()
    for name, _, aliases in [entry.partition(":")]
    for alias in [name.strip(), *aliases.split()]
}
_SCALES = {"dozen": 12, "hundred": 100, "thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_MONEY = {"$": "$", "\\$": "$", "\u20ac": "euro", "\u00a3": "pound sterling", "\u00a5": "yen", "\u20b9": "rupee"}
_IRREGULAR = frozenset(["people", "children", "men", "women", "feet", "inches", "mice", "geese", "fish", "sheep", "deer", "dice"])
_MODIFIERS = frozenset({"square", "sq", "squared", "cubic", "cu", "cubed", "per"})
_NO_UNIT = frozenset(
    """
    or and base if when not no than less more greater to over at least most minus negative plus times is are approximately about roughly
    almost nearly wrong incorrect impossible undefined unknown none nothing invalid false error answer answers except unless but maybe
    infinite solutions
    """.split()  # noqa: SIM905
)
"""Words that change the meaning of a number, so that they cannot be its unit."""

_FRONT = re.compile(r"([-+]?) ?(\\\$|[$\u20ac\u00a3\u00a5\u20b9]) ?(?=[0-9.(\\-])")
_PERCENT = re.compile(
    r"(.*?) ?(?:\\?%|\\text\{ ?(?:percent|per cent|percentage(?: points)?|percent points|pct|\\?%) ?\}"
    r"| percent(?:age)?(?: points)?| per cent| pct)",
    re.DOTALL,
)
_DEGREE = re.compile(r"(.*?) ?(?:\^ ?\{ ?\\circ ?\}|\^ ?\\circ|\\degree) ?(?:\\text\{ ?([CFK]) ?\}|([CFK]))?", re.DOTALL)
_POWERED = r"(?: ?\^ ?\{?([2-4])\}?)?"
_TEXT = re.compile(rf"(.*[^ ]) ?\\text\{{([^{{}}]*)\}}{_POWERED}", re.DOTALL)
_BARE = re.compile(rf"(.*[0-9}})]|.*\\[a-z]+ ?)( ?)([a-zA-Z][a-zA-Z /.]*?){_POWERED}", re.DOTALL)
_BARE_MONEY = re.compile(r"(.*[0-9]) ?(\\\$|\$|\u20ac|\u00a3)", re.DOTALL)


def split_unit(text: str, nouns: frozenset[str] = frozenset()) -> tuple[str, str | None, Fraction]:
    """Returns the text before the unit, the unit's name or None, and a factor.

    `nouns`: words of the question, which are units also without `\\text`.
    """
    if found := _FRONT.match(text):
        rest, unit, factor = split_unit(found[1] + text[found.end() :], nouns)
        return rest, unit if unit == "%" else _MONEY[found[2]], factor
    if found := _PERCENT.fullmatch(text):
        return found[1], "%", Fraction(1)
    if (found := _DEGREE.fullmatch(text)) and not re.search(r"\\(?:sin|cos|tan|cot|sec|csc)", text):
        return found[1], f"deg {found[2] or found[3] or ''}".strip(), Fraction(1)
    if found := _BARE_MONEY.fullmatch(text):
        return found[1], _MONEY[found[2]], Fraction(1)
    words, power, rest = "", "", text
    if found := _TEXT.fullmatch(text):
        rest, words, power = found[1], found[2], found[3]
    elif (found := _BARE.fullmatch(text)) and _is_bare_unit(found[3], bool(found[2]) or found[1].endswith(" "), nouns):
        rest, words, power = found[1], found[3], found[4]
    return _scaled(rest.strip(), words, int(power or 1)) if words else (text, None, Fraction(1))


def stem(word: str) -> str:
    """Returns a word in lower case without its plural's end."""
    return word.lower().removesuffix("s")


def _scaled(rest: str, words: str, power: int) -> tuple[str, str | None, Fraction]:
    factor = Fraction(1)
    tokens = words.replace("/", " / ").split()
    while tokens and tokens[0].lower() in _SCALES:
        factor *= _SCALES[tokens.pop(0).lower()]
    if not tokens:
        return rest, None, factor
    unit = _canonical(tokens, power)
    return (rest, unit, factor) if unit else (f"{rest}\\text{{{words}}}", None, Fraction(1))


def _is_bare_unit(words: str, spaced: bool, nouns: frozenset[str]) -> bool:
    """Returns True if bare letters after a number are a unit.

    The last word must be a known unit, a plural, or a word of the question. A single letter must follow a space.
    """
    tokens = words.replace("/", " ").replace(".", " ").split()
    named = [token for token in tokens if token.lower() not in _MODIFIERS and token.lower() not in _SCALES]
    known = not named or _is_noun(named[-1], nouns)
    return known and len(tokens) <= 4 and (spaced or len(tokens[0]) > 1)


def _is_noun(word: str, nouns: frozenset[str]) -> bool:
    known = {word, word.lower(), stem(word)} & _ALIASES.keys()
    plural = len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is"))
    return bool(known) or word.lower() in _IRREGULAR or plural or (len(word) > 2 and stem(word) in nouns)


def _name(token: str) -> str:
    for form in (token, token.lower(), token.lower().removesuffix("s"), token.lower().removesuffix("es")):
        if form in _ALIASES:
            return _ALIASES[form]
    return token.lower().removesuffix("s")


def _canonical(tokens: list[str], power: int) -> str | None:
    tokens = [token.strip(".,()").replace(".", "") for token in tokens]
    if any(token.lower() in _NO_UNIT or not re.fullmatch(r"[A-Za-z'/-]*", token) for token in tokens) or len(tokens) > 6:
        return None
    names: list[str] = []
    for token in tokens:
        if token.lower() in {"square", "sq", "squared"}:
            power *= 2
        elif token.lower() in {"cubic", "cu", "cubed"}:
            power *= 3
        elif token:
            names.append("/" if token in {"/", "per"} else _name(token))
    joined = " ".join(names).replace(" / ", "/")
    joined = _ALIASES.get(joined, joined)
    return (joined if power == 1 else f"{joined}^{power}") or None
