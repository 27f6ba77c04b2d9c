"""Policies for writing one chain of thought with a big and a small model.

A method decides which model writes next, which one checks the text, and what follows a failed check.
One file a method in this folder, named like the method; the registry looks here, in the entry-point group
`speculative.methods`, and at paths (`./mine.py:Mine`).
"""

from speculative.methods.base import Method
from speculative.methods.registry import build, find, names
from speculative.methods.wrapper import Wrapper

__all__ = ["Method", "Wrapper", "build", "find", "names"]
