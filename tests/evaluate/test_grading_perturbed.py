"""No answer is accepted that differs from the gold in one digit, sign, bracket or unit."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator

import pytest
from test_grading import DATA, data, problems, rows

from speculative.evaluate.grading.grade import grade

if importlib.util.find_spec("math_verify") is None:
    pytest.skip("needs the extra eval", allow_module_level=True)

OTHER_BRACKET = {"(": "[", "[": "(", ")": "]", "]": ")"}
OTHER_UNIT = [
    ("cm", "m"), ("cm", "km"), ("inches", "feet"), ("cents", "dollars"), ("degrees", "radians"), (r"\$", r"\text{cents }"),
    ("hours", "minutes"), ("{ m}", "{ cm}"), ("kg", "g"), ("mph", "km/h"), ("}^2", "}^3"), ("}^2", "}"), (r"^\circ", r"\%"),
    ("million", "billion"),
]  # fmt: skip


def perturbed(gold: str) -> Iterator[str]:
    for digit in re.finditer("[0-9]", gold):
        for step in (1, 9):
            yield gold[: digit.start()] + str((int(digit[0]) + step) % 10) + gold[digit.end() :]
    for sign in re.finditer("[-+]", gold):
        yield gold[: sign.start()] + ("+" if sign[0] == "-" else "-") + gold[sign.end() :]
        if sign[0] == "-":
            yield gold[: sign.start()] + gold[sign.end() :]
    yield f"-{gold}"
    for bracket in re.finditer(r"[\[\]()]", gold):
        yield gold[: bracket.start()] + OTHER_BRACKET[bracket[0]] + gold[bracket.end() :]
        yield gold[: bracket.start()] + gold[bracket.end() :]
    yield f"({gold}"
    yield f"{gold})"
    for unit, other in OTHER_UNIT:
        if unit in gold:
            yield gold.replace(unit, other)
    if not gold.endswith("%"):
        yield gold + r"\%"


def accepted(golds: list[str]) -> list[tuple[str, str]]:
    pairs = [(gold, answer) for gold in golds for answer in sorted(set(perturbed(gold)) - {gold}) if not same(gold, answer)]
    return [(gold, answer) for gold, answer in pairs if grade(f"\\boxed{{{answer}}}", gold).correct]


def same(gold: str, answer: str) -> bool:
    """Perturbations that by chance change nothing: zero has no sign and no hundredth."""
    return gold in {"0", "000"} and answer in {f"-{gold}", rf"{gold}\%"}


def test_no_perturbed_gold_of_the_rows_is_accepted() -> None:
    golds = sorted({gold for _, kind, gold, *_ in rows() if kind == "math"})
    assert accepted(golds[::32]) == []


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_no_perturbed_gold_of_any_row_is_accepted() -> None:
    assert accepted(sorted({gold for _, kind, gold, *_ in rows() if kind == "math"})) == []


@data
def test_no_perturbed_gold_of_math500_is_accepted() -> None:
    assert DATA.is_dir()
    assert accepted([row["answer"] for row in problems("math500")][::25]) == []


@data
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_no_perturbed_gold_of_the_whole_of_math500_is_accepted() -> None:
    assert accepted([row["answer"] for row in problems("math500")]) == []
