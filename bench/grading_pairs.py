r"""Writes pairs for `bench/grading.py`: reference answers of public problems as models write them, and wrong variants.

    python bench/grading_pairs.py FOLDER > pairs.jsonl

The folder holds `math500.jsonl`, `gsm8k.jsonl` and `aime24.jsonl`, with `problem` and `answer` in each row. A right pair states the
reference answer in another sentence (a wrapping) or another notation (a spelling). A wrong pair changes one digit or sign of it, in a
wrapping. Each row has one of each, chosen by its place, so that the pairs are the same in every run.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

WRAPPINGS = [
    r"So the answer is $\boxed{%s}$.",
    "Hence\n\n$$\n\\boxed{%s}\n$$",
    "\\[\n\\boxed{%s}\n\\]\n\nThis completes the solution.",
    "**Final Answer**\n\n\\boxed{%s}",
    "### Final Answer\n$\\boxed{%s}$",
    "Final Answer: The final answer is $%s$. I hope it is correct.",
    "The answer is $%s$.",
    "The answer is: $%s$",
    "The answer is **$%s$**.",
    "**The answer is $%s$.**",
    "**Answer:** $%s$",
    "**Answer: $%s$**",
    r"Answer: \(%s\)",
    r"Therefore, the final answer is \[%s\]",
    "Thus the answer should be $%s$.",
    "We get the answer = $%s$.",
    "First we count.\n#### $%s$",
    "First we count.\n#### **$%s$**",
    "<answer>$%s$</answer>",
    r"I first thought of $\boxed{7777}$. No, that is wrong: it is $\boxed{%s}$.",
    r"$\boxed{ %s }$",
    r"$\boxed{\displaystyle %s}$",
    r"\boxed{$%s$}",
    r"\fbox{$%s$}",
    r"**\(\boxed{%s}\)**",
    "Final answer: $%s$, because the steps above hold.",
]
"""Sentences around a formula."""
NUMBERS = [
    "The answer is %s.",
    "The answer is **%s**.",
    "The answer is *%s*.",
    "The answer is `%s`.",
    "The answer is **%s**, since nothing else is left.",
    "The answer is %s because nothing else is left.",
    "**Answer: %s**",
    "**Answer:** %s",
    "Answer: %s",
    "Final Answer: %s",
    "**Final Answer**\n\n%s",
    "### Answer\n\n%s",
    "The final answer is **%s**. I hope it is correct.",
    "The answer should be %s.",
    "The answer would be **%s**.",
    "#### %s",
    "#### **%s**",
    "**#### %s**",
    "#### `%s`",
    "<answer>%s</answer>",
    "The answer is <b>%s</b>.",
    "The answer is \u201c%s\u201d.",
    r"\boxed{x = %s}",
    r"\boxed{\text{%s}}",
    r"\boxed{\mathbf{%s}}",
    r"\boxed{\mathrm{%s}}",
    r"\boxed{%s.}",
    r"\boxed %s",
]
"""Sentences around a whole number."""
CLOSINGS = [
    "So the result is %s.",
    "The final value is %s.",
    "Thus, we get **%s**.",
    "I'd say %s.",
    "Therefore, %s.",
    "Result: %s",
    "**Final result:** %s",
    "Ans: %s",
    "The answer to the problem is %s.",
    "The answer, therefore, is %s.",
    "So it's %s.",
]
"""Closings without a box and without "the answer is"."""
SPELLINGS: list[Callable[[str], str]] = [
    lambda gold: gold.replace(r"\frac", r"\dfrac"),
    lambda gold: gold.replace(r"\frac", r"\tfrac"),
    lambda gold: re.sub(r"\\frac\{([0-9]+)\}\{([0-9]+)\}", r"\1/\2", gold) if re.fullmatch(r"\\frac\{[0-9]+\}\{[0-9]+\}", gold) else gold,
    lambda gold: re.sub(r"\\frac\{([0-9])\}\{([0-9])\}", r"\\frac\1\2", gold),
    lambda gold: re.sub(r"\\sqrt\{([0-9])\}", r"\\sqrt\1", gold),
    lambda gold: re.sub(r"\\sqrt\{([0-9]+)\}", "\u221a\\1", gold),
    lambda gold: gold if r"\text" in gold else re.sub(r"(?<!\\left)\(", r"\\left(", re.sub(r"(?<!\\right)\)", r"\\right)", gold)),
    lambda gold: gold.replace(r"\left", "").replace(r"\right", ""),
    lambda gold: re.sub(r"\s+", "", gold) if "\\" not in gold else gold.replace(", ", ","),
    lambda gold: re.sub(r",\s*", r",\\ ", gold) if not re.search(r"[0-9],(?:[0-9]|\\!)", gold) else gold,
    lambda gold: gold.replace("-", "\u2212") if "\\begin" not in gold else gold,
    lambda gold: gold.replace(r"\pi", "\u03c0"),
    lambda gold: gold.replace(r"\infty", "\u221e"),
    lambda gold: gold.replace(r"\cup", "\u222a"),
    lambda gold: gold.replace(r"\le ", r"\leq ").replace(r"\ge ", r"\geq "),
    lambda gold: re.sub(r"\^\\circ", "\u00b0", gold),
    lambda gold: re.sub(r"\^\\circ", r"^{\\circ}", gold),
    lambda gold: re.sub(r"\^\\circ", r"\\text{ degrees}", gold),
    lambda gold: re.sub(r"\^\\circ", "", gold),
    lambda gold: gold.replace(r"\text", r"\mathrm"),
    lambda gold: gold.replace(r"\text", r"\textbf"),
    lambda gold: re.sub(r"\\text\{([^{}]*)\}", r"\1", gold) if re.fullmatch(r"\\text\{[^{}]{4,}\}", gold) else gold,
    lambda gold: f"{int(gold):,}" if gold.isdigit() else gold,
    lambda gold: f"{int(gold):,}".replace(",", "{,}") if gold.isdigit() else gold,
    lambda gold: f"{int(gold):,}".replace(",", r"\,") if gold.isdigit() else gold,
    lambda gold: f"{gold}.0" if gold.isdigit() and len(gold) < 3 else gold,
    lambda gold: f"0{gold}" if re.match(r"\.[0-9]", gold) else gold,
    lambda gold: re.sub(r"\^([0-9a-z])", r"^{\1}", gold),
    lambda gold: re.sub(r"(?<=[0-9])\\(sqrt|pi)", r" \\cdot \\\1", gold),
    lambda gold: f"{{{gold}}}",
    lambda gold: re.sub(r"^-\\frac\{([0-9]+)\}", r"\\frac{-\1}", gold),
    lambda gold: re.sub(r"^\\frac\{([0-9]+)\}\{([0-9]+)\}$", r"\\frac{\1.0}{\2}", gold),
    lambda gold: f"x \\in {gold}" if r"\infty" in gold and gold[0] in "([" else gold,
    lambda gold: (
        r"} and \boxed{".join(gold.split(",")) if re.fullmatch(r"-?[0-9]+,\s*-?[0-9]+", gold) and not _is_thousands(gold) else gold
    ),
    lambda gold: f"({gold})" if re.fullmatch("[0-9]+|[a-z0-9+^ ]+", gold) else gold,
    lambda gold: f"{gold}\\,",
    lambda gold: f"{gold} \\; \\text{{}}",
    lambda gold: gold.replace("pmatrix", "bmatrix"),
    lambda gold: gold.replace("^2", "\u00b2").replace("^3", "\u00b3"),
    lambda gold: f"\\textbf{{{gold}}}" if gold.isdigit() else gold,
    lambda gold: f"{gold}\\text{{ units}}" if gold.isdigit() else gold,
    lambda gold: f"\\approx {gold}" if re.fullmatch(r"[0-9]*\.[0-9]+", gold) else gold,
    lambda gold: f"x = {gold}" if re.fullmatch(r"-?[0-9.]+|-?\\frac\{[0-9]+\}\{[0-9]+\}", gold) else gold,
    lambda gold: (
        ", ".join(reversed(gold.split(","))) if re.fullmatch(r"-?[0-9]+(?:,\s*-?[0-9]+)+", gold) and not _is_thousands(gold) else gold
    ),
    lambda gold: " and ".join(gold.split(",")) if re.fullmatch(r"-?[0-9]+,\s*-?[0-9]+", gold) and not _is_thousands(gold) else gold,
]
"""Other notations of an answer. A notation that leaves it as it is gives no pair."""


def _is_thousands(gold: str) -> bool:
    return bool(re.fullmatch(r"-?[0-9]{1,3}(?:,[0-9]{3})+", gold))


def mistakes(gold: str) -> Iterator[str]:
    """Yields answers that differ in one digit or sign."""
    for digit in re.finditer("[0-9]", gold):
        yield gold[: digit.start()] + str((int(digit[0]) + 1) % 10) + gold[digit.end() :]
    for sign in re.finditer(r"(?<![\w}])[-](?=[0-9\\])", gold):
        yield gold[: sign.start()] + gold[sign.end() :]
    if re.fullmatch(r"[0-9.]+|\\frac\{[0-9]+\}\{[0-9]+\}", gold) and gold != "0":
        yield f"-{gold}"


def pairs(name: str, rows: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yields the pairs of one set."""
    kind = "math" if name == "math500" else "integer"
    wrappings = WRAPPINGS if kind == "math" else [*NUMBERS, *WRAPPINGS]
    for place, row in enumerate(rows):
        gold = str(row["answer"]).strip()
        same = {"gold": gold, "kind": kind, "question": row["problem"]}
        gold_words = re.fullmatch(r"\\text\{.*\}", gold)
        for step in range(3):
            wrapping = wrappings[(place * 3 + step) % len(wrappings)]
            yield {"set": f"{name}, wrappings", "text": wrapping % gold, "right": True, **same}
        for spelling in dict.fromkeys(spelling(gold) for spelling in SPELLINGS) if kind == "math" else [f"{int(gold.replace(',', '')):,}"]:
            if spelling != gold:
                yield {"set": f"{name}, spellings", "text": f"So it is $\\boxed{{{spelling}}}$.", "right": True, **same}
        if kind == "integer" and re.fullmatch("-?[0-9]+", gold):
            yield {"set": f"{name}, numbers of math", "text": NUMBERS[place % len(NUMBERS)] % gold, "right": True, **same, "kind": "math"}
        closing = CLOSINGS[place % len(CLOSINGS)] % (f"${gold}$" if kind == "math" else gold)
        yield {"set": f"{name}, closings", "text": closing, "right": True, **same}
        wrong = list(dict.fromkeys(mistakes(gold))) if not gold_words else []
        for step, mistake in enumerate(wrong[:2]):
            if mistake != gold and _value(mistake) != _value(gold):
                yield {"set": f"{name}, mistakes", "text": wrappings[(place + 7 * step) % len(wrappings)] % mistake, "right": False, **same}
                shown = f"${mistake}$" if kind == "math" else mistake
                closing = CLOSINGS[(place + step) % len(CLOSINGS)] % shown
                yield {"set": f"{name}, mistakes in closings", "text": closing, "right": False, **same}


def _value(gold: str) -> str:
    """Returns the digits without leading zeros, since 033 is 33."""
    return gold.lstrip("0") or "0"


def main() -> None:
    """Writes the pairs of all sets to the standard output."""
    folder = Path(sys.argv[1])
    for name in ("math500", "gsm8k", "aime24"):
        rows = [json.loads(line) for line in (folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]
        for pair in pairs(name, rows):
            print(json.dumps(pair))


if __name__ == "__main__":
    main()
