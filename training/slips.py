"""Slips: wrong steps, made up to look like what a small model writes."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace

from training.stories import LARGEST, Operation, Story
from training.wordings import Kind

MISREADINGS: dict[Kind, Kind] = {
    "gain": "lose", "lose": "gain", "gain_groups": "lose_groups", "lose_groups": "gain_groups",
    "times": "share", "share": "times",
}  # fmt: skip


@dataclass(frozen=True)
class Slip:
    """A written step: its words, its equations, the value it ends on."""

    words: str
    equations: str
    value: int


def misreckon(rng: random.Random, right: int, left: int = 0, sign: str = "") -> int:
    """A result that is a little wrong: a digit off, a carry forgotten, two digits swapped."""
    text = str(right)
    while True:
        how = rng.random()
        if how < 0.25:
            wrong = right + rng.choice((-1, 1)) * rng.choice((1, 1, 2, 3))
        elif how < 0.5:
            wrong = right + rng.choice((-1, 1)) * rng.choice((10, 10, 20, 100))
        elif how < 0.75:
            place = rng.randrange(len(text))
            wrong = int(text[:place] + rng.choice("0123456789") + text[place + 1 :])
        elif how < 0.85 and sign in ("+", "-"):
            wrong = without_carry(left, abs(right - left), sign)
        elif how < 0.95:
            digits = list(text)
            rng.shuffle(digits)
            wrong = int("".join(digits))
        else:
            wrong = rng.randint(max(0, right - 30), right + 30)
        if wrong != right and 0 <= wrong <= LARGEST:
            return wrong
        sign = ""


def without_carry(left: int, amount: int, sign: str) -> int:
    """Column by column, every carry and borrow forgotten."""
    pairs = zip(f"{left:03d}", f"{amount:03d}", strict=True)
    columns = [int(a) + int(b) if sign == "+" else int(a) - int(b) for a, b in pairs]
    return int("".join(str(column % 10) for column in columns))


def misread(rng: random.Random, story: Story, index: int) -> Operation:
    """Another operation than the story's: a wrong number, the opposite, or the next one."""
    operation = story.operations[index]
    how = rng.random()
    if how < 0.2 and index + 1 < story.level:
        return story.operations[index + 1]
    if how < 0.4:
        return replace(operation, kind=MISREADINGS[operation.kind])
    if operation.grouped and how < 0.7:
        return replace(operation, b=max(2, operation.b + rng.choice((-2, -1, 1, 2))))
    if operation.grouped or operation.sign in "*/":
        return replace(operation, a=max(2, operation.a + rng.choice((-2, -1, 1, 2))))
    if how < 0.7:
        return replace(operation, a=max(1, rng.choice(story.operations).amount))
    return replace(operation, a=max(1, misreckon(rng, operation.a)))


def slip(rng: random.Random, story: Story, index: int, value: int) -> Slip:
    """A wrong step for operation `index` after `value`."""
    right = story.operations[index]
    meant = right.apply(value)
    while True:
        operation, source = right, value
        how = rng.random()
        if how < 0.2:
            operation = misread(rng, story, index)
        elif how < 0.3:
            source = misreckon(rng, value)
        product = operation.amount
        if how >= 0.3 and operation.grouped and rng.random() < 0.4:
            product = misreckon(rng, product)
        amount = product if operation.grouped else operation.a
        after = Operation({"+": "gain", "-": "lose", "*": "times", "/": "share"}[operation.sign], max(1, amount)).apply(source)
        if after is None:
            after = max(0, min(LARGEST, source // max(1, amount) if operation.sign == "/" else source - amount))
        if how >= 0.3 and product == operation.amount:
            after = misreckon(rng, after, source, operation.sign)
        if after == meant:
            continue
        groups = f"{operation.a}*{operation.b}={product}, " if operation.grouped else ""
        equations = f"{groups}{source}{operation.sign}{amount}={after}"
        return Slip(operation.words(story.pronoun), equations, after)
