"""Imports between packages, and rules that a search can check."""

from __future__ import annotations

import ast
from collections.abc import Iterator
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


def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_arrows_run_one_way(file: Path) -> None:
    forbidden = FORBIDDEN.get(room_of(file), set())
    wrong = [f"{file.name}:{line} imports {room}" for line, room in imports(parsed(file)) if room in forbidden]
    assert not wrong


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_nothing_is_printed_and_no_error_caught_unnamed(file: Path) -> None:
    for node in ast.walk(parsed(file)):
        called = isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id
        assert called != "print", f"{file.name}:{getattr(node, 'lineno', 0)} prints"
        assert not (isinstance(node, ast.ExceptHandler) and node.type is None), f"{file.name}: a bare except"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_markers_of_model_families_are_spelled_in_prompts_only(file: Path) -> None:
    if room_of(file) in ("prompts", "testing", "bundled"):
        return
    tree = parsed(file)
    documents = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    spelled = [
        f"{file.name}:{node.lineno} {node.value!r}"
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documents
        if any(marker in node.value for marker in MARKERS)
    ]
    assert not spelled


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_a_file_is_read_in_one_sitting(file: Path) -> None:
    assert len(file.read_text(encoding="utf-8").splitlines()) <= 600
    if room_of(file) == "methods":
        assert len(file.read_text(encoding="utf-8").splitlines()) <= (120 if file.stem not in ("base", "registry") else 200)
