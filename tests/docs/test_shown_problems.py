"""The bundled pair can read the problems that pages, examples and greetings show."""

import re
from pathlib import Path

import pytest
from documents import ROOT

from speculative.evaluate.problems import is_similar
from speculative.viewer.examples import CONTEST

SHOWN = re.compile(
    r"(?:\bask |\b(?:a?solve|stream|run|Problem\.of)\(\s*|\bproblem = |\"role\": \"user\", \"content\": |\"(?:question|problem)\": )"
    r"\"(?P<given>(?-i:[A-Z]|x is)[^\"…]+)\""
    r"|[\"`](?P<asked>[^\"`…]*\bhow many\b[^\"`…]*\?)[\"`]",
    re.IGNORECASE,
)
"""A problem: the argument of a call or a command, a field of a request, or a quoted question."""

OTHER = re.compile(r"--(?:big|small)")
"""A line with these says that other models than the bundled pair solve the problem."""


def shown(text: str) -> list[str]:
    """The problems in a text for the bundled pair."""
    lines = [line for line in text.splitlines() if not OTHER.search(line)]
    return [found["given"] or found["asked"] for found in SHOWN.finditer("\n".join(lines))]


def places() -> list[Path]:
    """All files with examples for users."""
    folders = [ROOT / "docs", ROOT / "examples", ROOT / "src/speculative"]
    found = [path for folder in folders for kind in ("*.md", "*.py", "*.txt") for path in folder.rglob(kind)]
    return [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(found)]


def test_the_bundled_pair_reads_every_problem_that_is_shown() -> None:
    found = [(str(path.relative_to(ROOT)), problem) for path in places() for problem in shown(path.read_text())]
    assert len({name for name, _ in found}) >= 12
    contest = {example.problem for example in CONTEST}  # the page offers these for other models
    assert [one for one in found if not is_similar(one[1]) and one[1] not in contest] == []


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ('result = solve("Ann has 3 pens.", Own())', ["Ann has 3 pens."]),
        ('$ speculative ask "Add 1 to 2." --seed 1', ["Add 1 to 2."]),
        ('$ speculative ask "How many primes are below 50?" --big http://HOST:8000/v1', []),
        ('  "messages": [{"role": "user", "content": "Why?"}]', ["Why?"]),
        ('PROBLEM = "What is 3?"', ["What is 3?"]),
        ("as in `Ann has 3 pens. How many has she?`", ["Ann has 3 pens. How many has she?"]),
        ('$ speculative ask "…" --seed 1; ends in `How many … ?`', []),
    ],
)
def test_a_shown_problem_is_found(text: str, problems: list[str]) -> None:
    assert shown(text) == problems
