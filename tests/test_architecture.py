"""Imports between packages, and rules that a search can check."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "speculative"
FILES = sorted(SOURCE.rglob("*.py"))

ABOVE = {"cli", "serve", "evaluate", "report", "splitreason", "runner", "tower", "methods", "pair"}
FORBIDDEN = {
    "methods": {"engines", "cli", "serve", "evaluate", "report", "splitreason", "runner", "tower", "pair"},
    "engines": ABOVE | {"chain"},
    "serve": {"evaluate", "report", "cli"},
    "evaluate": {"serve", "report", "cli"},
    "report": {"serve", "evaluate", "cli", "engines", "methods", "chain", "splitreason"},
    "runner": {"cli", "serve", "evaluate", "report", "splitreason", "engines"},
    "tower": {"cli", "serve", "evaluate", "report", "splitreason"},
    "chain": ABOVE,
    **dict.fromkeys(["trace", "prompts", "problem"], ABOVE | {"chain"}),
}
"""What a room must not import. A replayed trace is an engine that knows no chain."""

MARKERS = ("<think>", "</think>", "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<\uff5c")


def room_of(file: Path) -> str:
    first = file.relative_to(SOURCE).parts[0]
    return first.removesuffix(".py")


def imports(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """The rooms that a file imports, with the line. Those for type checkers only count too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "speculative":
            inner = node.module.split(".")[1:]
            yield from ((node.lineno, inner[0]) for _ in [0] if inner)
            yield from ((node.lineno, alias.name) for alias in node.names if not inner)
        elif isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.split(".")[1]) for alias in node.names if alias.name.startswith("speculative."))


@cache
def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


def name(file: Path) -> str:
    return str(file.relative_to(SOURCE))


@pytest.mark.slow
def test_arrows_run_one_way() -> None:
    wrong = [
        f"{name(file)}:{line} imports {room}"
        for file in FILES
        for line, room in imports(parsed(file))
        if room in FORBIDDEN.get(room_of(file), set())
    ]
    assert not wrong


def test_nothing_is_printed_and_no_error_caught_unnamed() -> None:
    wrong = list[str]()
    for file in FILES:
        for node in ast.walk(parsed(file)):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print":
                wrong.append(f"{name(file)}:{node.lineno} prints")
            if isinstance(node, ast.ExceptHandler) and node.type is None:
                wrong.append(f"{name(file)}:{node.lineno} has a bare except")
    assert not wrong


def test_markers_of_model_families_are_spelled_in_prompts_only() -> None:
    spelled = list[str]()
    for file in FILES:
        if room_of(file) in ("prompts", "testing", "bundled"):
            continue
        tree = parsed(file)
        documents = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        spelled += [
            f"{name(file)}:{node.lineno} {node.value!r}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documents
            if any(marker in node.value for marker in MARKERS)
        ]
    assert not spelled


def test_a_file_is_read_in_one_sitting() -> None:
    long = dict[str, int]()
    for file in FILES:
        lines = len(file.read_text(encoding="utf-8").splitlines())
        most = 600 if room_of(file) != "methods" else 200 if file.stem in ("base", "registry") else 120
        if lines > most:
            long[name(file)] = lines
    assert not long
