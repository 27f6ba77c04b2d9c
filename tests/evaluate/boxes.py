"""Helps the tests of the grader: answers in boxes, and the package that mathematics needs."""

from __future__ import annotations

import importlib.util

import pytest

math = pytest.mark.skipif(importlib.util.find_spec("math_verify") is None, reason="needs the extra eval")


def box(answer: str) -> str:
    return f"So the answer is $\\boxed{{{answer}}}$."
