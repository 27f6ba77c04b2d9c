"""Slips: results that are a little wrong, as a small model writes them."""

from __future__ import annotations

import random

from training.stories import LARGEST


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
