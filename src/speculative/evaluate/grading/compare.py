"""Whether two forms are the same answer. The mathematics is asked of `ask(gold, answer)`, both in LaTeX."""

from __future__ import annotations

import re
from collections.abc import Callable

from speculative.answers import squeeze
from speculative.evaluate.grading.forms import Bag, Based, Equation, Form, Group, Math, Number, Words

Ask = Callable[[str, str], str]
"""Empty if the two are equal, else the reason."""

DIFFERENT = "not equal"
SHAPE = "another kind of answer"


def differ(gold: Form, answer: Form, ask: Ask) -> str:
    """Empty if the two are the same answer, else why not."""
    if isinstance(gold, Bag) and len(gold.items) == 1 and not isinstance(answer, Bag):
        return differ(gold.items[0], answer, ask)
    if isinstance(answer, Bag) and len(answer.items) == 1 and not isinstance(gold, Bag):
        return differ(gold, answer.items[0], ask)
    if isinstance(gold, Equation) or isinstance(answer, Equation):
        return _equations(gold, answer, ask)
    if isinstance(gold, Number | Math) and isinstance(answer, Number | Math):
        return _values(gold, answer, ask)
    if isinstance(gold, Bag) and isinstance(answer, Bag):
        return _bags(list(gold.items), list(answer.items), ask)
    if isinstance(gold, Group) and isinstance(answer, Group):
        if (gold.left, gold.right, len(gold.items)) != (answer.left, answer.right, len(answer.items)):
            return "other brackets or another length"
        return next((why for one, other in zip(gold.items, answer.items, strict=True) if (why := differ(one, other, ask))), "")
    if isinstance(gold, Words | Based) and type(gold) is type(answer):
        return "" if gold == answer else DIFFERENT
    if isinstance(gold, Words | Math) and isinstance(answer, Words | Math):
        # a short word without \\text looks like a product of variables
        return "" if _spelled(gold) == _spelled(answer) else SHAPE
    return SHAPE


def _equations(gold: Form, answer: Form, ask: Ask) -> str:
    """x = 5 and 5 are the same, x = 5 and y = 5 are not; where only the answer has an equation, its last side counts."""
    if not isinstance(gold, Equation):
        return differ(gold, answer.value, ask) if isinstance(answer, Equation) else SHAPE
    if not isinstance(answer, Equation):
        return differ(gold.value, answer, ask) if gold.name else SHAPE
    if gold.name and answer.name and _same_name(gold.name, answer.name):
        return differ(gold.value, answer.value, ask)
    return _values(gold.whole, answer.whole, ask)


def _spelled(form: Words | Math) -> str:
    return form.text if isinstance(form, Words) else form.latex.lower()


def _same_name(gold: str, answer: str) -> bool:
    return gold == answer or "text" in gold or "text" in answer


def _values(gold: Number | Math, answer: Number | Math, ask: Ask) -> str:
    if gold.unit and answer.unit and gold.unit != answer.unit:
        return f"another unit: {answer.unit} for {gold.unit}"
    if isinstance(gold, Number) and isinstance(answer, Number):
        return "" if gold.value == answer.value else DIFFERENT
    if isinstance(gold, Math) and isinstance(answer, Math) and squeeze(gold.latex) == squeeze(answer.latex):
        return ""
    if any(isinstance(side, Math) and side.opaque for side in (gold, answer)):
        return "" if _as_text(gold) == _as_text(answer) else DIFFERENT
    return ask(latex(gold), latex(answer))


def _as_text(value: Number | Math) -> str:
    return squeeze(" ".join(re.sub(r"\\text\{([^{}]*)\}", r" \1 ", latex(value)).lower().split()))


def latex(value: Number | Math) -> str:
    """LaTeX for the comparison, exact and without unit."""
    if isinstance(value, Math):
        return value.latex
    top, bottom = value.value.as_integer_ratio()
    return str(top) if bottom == 1 else f"{'-' if top < 0 else ''}\\frac{{{abs(top)}}}{{{bottom}}}"


def _bags(gold: list[Form], answer: list[Form], ask: Ask) -> str:
    if len(gold) != len(answer):
        return f"{len(answer)} values where {len(gold)} are right"
    for one in gold:
        found = next((other for other in answer if not differ(one, other, ask)), None)
        if found is None:
            return "one of the values is missing"
        answer.remove(found)
    return ""


def leaves(form: Form) -> list[Math]:
    """The parts of a form that are left to the mathematics."""
    if isinstance(form, Math):
        return [form]
    if isinstance(form, Equation):
        return leaves(form.value) if form.name else [form.whole]
    return [leaf for item in form.items for leaf in leaves(item)] if isinstance(form, Group | Bag) else []
