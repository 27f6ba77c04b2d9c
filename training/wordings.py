"""The words of the stories. Every text that a reader of a problem sees is here."""

from __future__ import annotations

from typing import Literal

Kind = Literal["gain", "lose", "gain_groups", "lose_groups", "times", "share"]

NAMES = (
    ("Mia", "She"), ("Anna", "She"), ("Lena", "She"), ("Sara", "She"), ("Eva", "She"), ("Nora", "She"),
    ("Tom", "He"), ("Ben", "He"), ("Leo", "He"), ("Max", "He"), ("Sam", "He"), ("Paul", "He"),
)  # fmt: skip
THINGS = (
    "apples", "pears", "shells", "cards", "coins", "stamps", "beads", "books", "stones", "nuts",
)  # fmt: skip
OPENINGS = (
    "{name} has {n} {things}.",
    "{name} starts with {n} {things}.",
    "At first {name} has {n} {things}.",
    "There are {n} {things} in the box of {name}.",
)
LINKS = ("", "", "Then ", "Next ", "After that ", "Later ")
WORDINGS: dict[Kind, tuple[str, ...]] = {
    "gain": (
        "{he} buys {a} more {things}.",
        "{he} finds {a} {things}.",
        "{he} gets {a} {things} from {friend}.",
        "{friend} gives {him} {a} {things}.",
    ),
    "lose": (
        "{he} gives {a} {things} to {friend}.",
        "{he} loses {a} {things}.",
        "{he} sells {a} of the {things}.",
        "{friend} takes {a} {things}.",
    ),
    "gain_groups": (
        "{he} buys {a} boxes with {b} {things} each.",
        "{he} finds {a} bags of {b} {things}.",
        "{a} friends give {him} {b} {things} each.",
        "{he} gets {b} {things} from each of {a} friends.",
    ),
    "lose_groups": (
        "{he} gives {b} {things} to each of {a} friends.",
        "{he} sells {a} boxes with {b} {things} each.",
        "{he} loses {a} bags of {b} {things}.",
        "{a} friends take {b} {things} each.",
    ),
    "times": (
        "the number of {things} grows to {a} times as many.",
        "{he} makes it {a} times as many {things}.",
        "there are {a} times as many {things} after a while.",
    ),
    "share": (
        "{he} makes {a} equal parts and keeps one of them.",
        "{he} shares the {things} among {a} people and keeps one part.",
        "only one of {a} equal parts is left.",
    ),
}
DOUBLE = ("{he} doubles the number of {things}.", "the number of {things} doubles.")
HALF = ("{he} keeps only half of the {things}.", "half of the {things} are lost.")
QUESTIONS = (
    "How many {things} does {name} have now?",
    "How many {things} are there at the end?",
    "How many {things} does {name} have in the end?",
)
