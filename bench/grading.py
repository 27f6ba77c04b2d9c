"""Compares our grader with math-verify on answers with an independent verdict.

    python bench/grading.py pairs.jsonl [--list]

Each line is a pair with `set`, `gold`, `text` (the text after the thinking), `right`, and optionally `kind`, `question` and
`disputed`, the reason why its verdict is wrong. Disputed pairs are counted separately.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

from math_verify import parse, verify

from speculative.evaluate.grading.grade import close, grade


def ours(pair: dict[str, Any]) -> tuple[bool, str]:
    """Grades a pair with our grader. Returns the verdict and its reason."""
    verdict = grade(pair["text"], pair["gold"], pair.get("kind", "math"), question=pair.get("question", ""))
    return verdict.correct, f"{verdict.answer!r}: {verdict.why}"


def theirs(pair: dict[str, Any]) -> bool:
    """Grades a pair with math-verify, whose reference answers have to be formulas."""
    return bool(verify(parse(f"${pair['gold']}$"), parse(pair["text"])))


def main() -> None:
    """Prints, a line for each set, how often each grader contradicts the given verdicts."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("pairs", type=Path)
    arguments.add_argument("--list", action="store_true", help="print every pair on which a grader contradicts the given verdict")
    options = arguments.parse_args()
    counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for line in options.pairs.read_text(encoding="utf-8").splitlines():
        pair = json.loads(line)
        count, right = counts[pair["set"]], pair["right"]
        (verdict, why), other = ours(pair), theirs(pair)
        if "disputed" in pair:
            count["disputed"] += 1
            continue
        count["right" if right else "wrong"] += 1
        error = "rejects" if right else "accepts"
        count[f"we {error}"] += verdict != right
        count[f"they {error}"] += other != right
        if options.list and (verdict != right or other != right):
            who = "both" if verdict == other else "we" if verdict != right else "they"
            print(f"{pair['set']}: {who}: false {error[:-1]}: gold {pair['gold']!r}, {pair['text'][-120:]!r}: {why}")
    close()
    print("| set | right | false rejects: ours, math-verify | wrong | false accepts: ours, math-verify | disputed |")
    print("|---|---|---|---|---|---|")
    for name, count in counts.items():
        rejects, accepts = (f"{count[f'we {error}']}, {count[f'they {error}']}" for error in ("rejects", "accepts"))
        print(f"| {name} | {count['right']} | {rejects} | {count['wrong']} | {accepts} | {count['disputed']} |")


if __name__ == "__main__":
    main()
