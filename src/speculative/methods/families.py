"""The families of methods, by the place where a decision comes from."""

from __future__ import annotations

from typing import Literal, get_args

Family = Literal[
    "baseline",
    "checked steps",
    "several versions",
    "small is unsure",
    "words and places",
    "small asks",
    "hints",
    "chunks",
    "whole chains",
    "around a method",
    "other",
]

FAMILIES: tuple[Family, ...] = get_args(Family)

ABOUT: dict[Family, str] = {
    "baseline": "one model, a coin or token speculation",
    "checked steps": "small writes, a score decides, big repairs",
    "several versions": "drafts side by side, one is taken",
    "small is unsure": "small's probabilities call big",
    "words and places": "words or positions switch the writer",
    "small asks": "a trained small model calls big",
    "hints": "big helps by text that small reads",
    "chunks": "big adds to chunks that surprise it",
    "whole chains": "whole solutions are chosen or rewritten",
    "around a method": "wrappers of any method",
    "other": "methods of your own",
}
