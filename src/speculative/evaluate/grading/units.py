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
mph: mi/h mile/hour | km/h: kmh kph kilometer/hour | m/s: meter/second mps | am: | pm: | celsius: | fahrenheit:
"""
_ALIASES = {
    alias: name.strip()
    for entry in _NAMES.replace("\n", "|").split("|")
    if entry.strip()
    for name, _, aliases in [entry.partition(":")]
    for alias in [name.strip(), *aliases.split()]
}
_PARTS = ["half", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth"]
_SCALES = {
    "dozen": Fraction(12),
    **{name: Fraction(10) ** power for name, power in {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}.items()},
    **{name: Fraction(1, 10**power) for name, power in {"tenth": 1, "hundredth": 2, "thousandth": 3, "millionth": 6}.items()},
    **{name: Fraction(1, part) for part, name in enumerate(_PARTS, 2)},
    "halve": Fraction(1, 2),
    "quarter": Fraction(1, 4),
    "twelfth": Fraction(1, 12),
}
_MONEY = {"$": "$", "\\$": "$", "\u20ac": "euro", "\u00a3": "pound sterling", "\u00a5": "yen", "\u20b9": "rupee"}
_IRREGULAR = frozenset(["people", "children", "men", "women", "feet", "inches", "mice", "geese", "fish", "sheep", "deer", "dice"])
_COUNTED = frozenset(
    """
    adult animal apple bag ball balloon banana bead bean bear bird block boat book bottle bouquet bowl box boy bracelet brick brother bug
    bush cake calorie can candle candy car card carrot cat chair chapter cherry chicken child chip chocolate cigarette class clock
    coconut coin color combination cookie cow cracker crayon cube cucumber cup cupcake customer deck dish dog doll donut door doughnut
    dress drink dress duck edge egg employee envelope face factor flower fruit game gift girl glass goal grape guest hat head hole
    home horse house integer item jar key kid king letter line lollipop magazine marble match meal member message mile monkey move
    muffin multiple nail necklace number nut orange outfit packet page pair pamphlet pancake parent park path pen pencil penny permutation
    person phone photo picture piece pill pizza plane plant plate player point potato prime problem puppy purse question rabbit ribbon ring
    rock room root rose round row sandwich score seat seed set shell shirt shoe shot side sister slice snack sock song spider stamp
    star step sticker story stranger student sweet table tablet teacher team term test ticket tile time tire toy train tree triangle trip
    truck turkey value vehicle vertex vote watermelon way wheel win window word worker
    """.split()  # noqa: SIM905
)
"""Things that problems count. Other words are units where the question has them."""
_TRAILING = frozenset(["old", "each", "left", "remaining", "total", "all", "altogether", "long", "wide", "tall", "away", "ago", "overall"])
"""Words behind a unit that do not change it."""
_COMPARATIVES = frozenset({"more", "less", "fewer", "times"})
"""Words that a unit may have only where the question asks for them."""
_MODIFIERS = frozenset({"square", "sq", "squared", "cubic", "cu", "cubed", "per"})
_NO_UNIT = frozenset(
    """
    or and base if when not no than less more fewer greater lower higher too to over at least most minus negative plus times is are
    approximately about roughly almost nearly wrong incorrect impossible undefined unknown none nothing invalid false error answer answers
    except unless but maybe infinite solutions
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


def split_unit(text: str, nouns: frozenset[str] = frozenset(), trusted: bool = False) -> tuple[str, str | None, Fraction]:
    """Returns the text before the unit, the unit's name or None, and a factor.

    `nouns`: words of the question and of the gold answer, which are units. In a `trusted` text all words are.
    """
    if found := _FRONT.match(text):
        rest, unit, factor = split_unit(found[1] + text[found.end() :], nouns, trusted)
        return rest, unit if unit == "%" else _MONEY[found[2]], factor
    if found := _PERCENT.fullmatch(text):
        return found[1], "%", Fraction(1)
    if (found := _DEGREE.fullmatch(text)) and not re.search(r"\\(?:sin|cos|tan|cot|sec|csc)", text):
        return found[1], f"deg {found[2] or found[3] or ''}".strip(), Fraction(1)
    if found := _BARE_MONEY.fullmatch(text):
        return found[1], _MONEY[found[2]], Fraction(1)
    words, power, rest = "", "", text
    if (found := _TEXT.fullmatch(text)) and (trusted or _is_text_unit(found[2], nouns)):
        rest, words, power = found[1], found[2], found[3]
    elif (found := _BARE.fullmatch(text)) and _is_bare_unit(found[3], bool(found[2]) or found[1].endswith(" "), nouns, trusted):
        rest, words, power = found[1], found[3], found[4]
    return _scaled(rest.strip(), words, int(power or 1), nouns) if words else (text, None, Fraction(1))


def stem(word: str) -> str:
    """Returns one spelling for singular and plural: boxe for box and boxes."""
    word = word.lower()
    if word.endswith(("x", "ch", "sh", "ss", "z")):
        return f"{word}e"
    if re.search("[^aeiou]y$", word):
        return f"{word[:-1]}ie"
    word = word if word.endswith(("us", "is")) else word.removesuffix("s")
    return word.removesuffix("e") if word.endswith("oe") else word


def is_scale(word: str) -> bool:
    """Returns True for words that are numbers themselves, such as dozens."""
    return stem(word) in _SCALES


def is_comparative(word: str) -> bool:
    """Returns True for words such as more, which a question must ask for."""
    return word.lower() in _COMPARATIVES


def is_unit(word: str) -> bool:
    """Returns True for the names of units, in singular or plural."""
    if len(word) == 1:  # M is a million, and m a meter
        return word in _ALIASES
    return bool({word, word.lower(), stem(word)} & _ALIASES.keys())


def _scaled(rest: str, words: str, power: int, nouns: frozenset[str]) -> tuple[str, str | None, Fraction]:
    factor = Fraction(1)
    tokens = words.replace("/", " / ").split()
    while tokens and is_scale(tokens[0]) and stem(tokens[0]) not in nouns:
        factor *= _SCALES[stem(tokens.pop(0))]
        while tokens and tokens[0].lower() in {"of", "a", "an", "the"}:
            tokens.pop(0)
    if not tokens:
        return rest, None, factor
    unit = _canonical(tokens, power, nouns)
    return (rest, unit, factor) if unit else (f"{rest}\\text{{{words}}}", None, Fraction(1))


def _main_words(words: str) -> list[str]:
    """Returns the words of a unit without those that only modify it."""
    tokens = _trimmed([token.strip(",()") for token in words.replace("/", " ").replace(".", " ").split()])
    return [token for token in tokens if token.lower() not in _MODIFIERS and not is_scale(token)]


def _trimmed(tokens: list[str]) -> list[str]:
    """Returns the words of a unit without those behind it.

    It is apples for apples left in total.
    """
    while len(tokens) > 1 and tokens[-1].lower() in _TRAILING:
        tokens.pop()
        if len(tokens) > 1 and tokens[-1].lower() == "in" and not is_unit(tokens[-2]):
            tokens.pop()
    return tokens


def _is_text_unit(words: str, nouns: frozenset[str]) -> bool:
    r"""Returns True if the words of a `\text{…}` are a unit.

    The last one has to be known, a plural, or a word of the question.
    """
    named = _main_words(words)
    if not named or _is_noun(named[-1], nouns):
        return True
    return _is_plural(named[-1])


def _is_plural(word: str) -> bool:
    return len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is"))


def _is_bare_unit(words: str, spaced: bool, nouns: frozenset[str], trusted: bool) -> bool:
    """Returns True if bare letters after a number are a unit.

    The last word has to be known, or a word of the question; one letter has to stand apart from the number.
    """
    tokens, named = words.replace("/", " ").replace(".", " ").split(), _main_words(words)
    known = not named or _is_noun(named[-1], nouns) or (trusted and spaced and _is_plural(named[-1]))
    return known and len(tokens) <= 4 and (spaced or len(tokens[0]) > 1)


def _is_noun(word: str, nouns: frozenset[str]) -> bool:
    known = is_unit(word) or word.lower() in _IRREGULAR or stem(word) in _COUNTED_STEMS
    return known or (len(word) > 2 and stem(word) in nouns)


_COUNTED_STEMS = frozenset(map(stem, _COUNTED))


def _name(token: str) -> str:
    for form in (token, token.lower(), token.lower().removesuffix("s"), token.lower().removesuffix("es")):
        if form in _ALIASES:
            return _ALIASES[form]
    return stem(token)


def _canonical(tokens: list[str], power: int, nouns: frozenset[str]) -> str | None:
    tokens = _trimmed([token.strip(".,()").replace(".", "") for token in tokens])
    if len(tokens) > 1:  # "5 more apples" are apples
        tokens = [token for token in tokens if not (is_comparative(token) and stem(token) in nouns)]
    asked = _COMPARATIVES if len(tokens) == 1 and stem(tokens[0]) in nouns else frozenset[str]()
    if any(token.lower() in _NO_UNIT - asked or not re.fullmatch(r"[A-Za-z'/-]*", token) for token in tokens) or len(tokens) > 6:
        return None
    if all(token.lower() in _MODIFIERS for token in tokens):  # "42 squared" is another number
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
