"""Equations: letters that stand for whole numbers; one equation for each, in no order."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from training.tunnel.base import Problem, largest, length
from training.tunnel.moves import PREVIOUS, Move, State, Sum

LETTERS = "abcdefghjkmnpqrstuvwxyz"


@dataclass(frozen=True)
class Letter:
    """A letter: the equation that gives it from one that is known."""

    name: str
    form: str
    of: str = ""
    k: int = 0
    n: int = 0

    @property
    def equation(self) -> str:
        """The equation as the problem says it."""
        return FORMS[self.form].format(x=self.name, u=self.of, k=self.k, n=self.n)

    def sums(self, u: int) -> tuple[Sum, ...]:
        """The equations that give the letter."""
        k, n = self.k, self.n
        match self.form:
            case "add":
                return ((u, "+", n),)
            case "rest":
                return ((n, "-", u),)
            case "less":
                return ((u, "-", n),)
            case "times":
                return ((k, "*", u),)
            case "part":
                return ((u, "/", k),)
            case "rest_times":
                return ((k, "*", u), (n, "-", PREVIOUS))
            case "times_more":
                return ((k, "*", u), (PREVIOUS, "+", n))
            case "more_part":
                return ((u, "+", n), (PREVIOUS, "/", k))
            case _:
                return ((u, "-", n), (PREVIOUS, "*", k))


FORMS = {
    "is": "{x} = {n}", "add": "{x} - {u} = {n}", "rest": "{u} + {x} = {n}", "less": "{x} + {n} = {u}", "times": "{x} = {k} * {u}",
    "part": "{k} * {x} = {u}", "rest_times": "{k} * {u} + {x} = {n}", "times_more": "{x} - {k} * {u} = {n}",
    "more_part": "{k} * {x} = {u} + {n}", "less_times": "{x} / {k} = {u} - {n}",
}  # fmt: skip


@dataclass(frozen=True)
class Equations(Problem):
    """Letters, and the one that is asked for."""

    family = "equations"
    letters: tuple[Letter, ...]
    asked: str

    @property
    def structure(self) -> str:
        return "equations " + " ".join(f"{letter.form}:{letter.k}:{letter.n}" for letter in self.needed)

    @property
    def goal(self) -> str:
        return self.asked

    @property
    def needed(self) -> list[Letter]:
        """The letters that matter, the asked one first."""
        by_name = {letter.name: letter for letter in self.letters}
        found = [by_name[self.asked]]
        while found[-1].of:
            found.append(by_name[found[-1].of])
        return found

    def start(self) -> State:
        return {"back": 0}

    def result(self, state: State) -> int | None:
        return state.get(self.asked)

    def numbers(self, state: State) -> list[int]:
        return [state[letter.name] for letter in self.letters if letter.name in state] + [letter.n for letter in self.letters[:4]]

    def move(self, state: State) -> Move | None:
        needed, back = self.needed, state["back"]
        if self.asked in state:
            return None
        if back < len(needed) - 1:
            letter = needed[back]
            words = f"For {letter.name}: {letter.equation}, so {letter.of} before {letter.name}"
            return Move(words, update={"back": back + 1}, other=lambda: self._misread(letter))
        letter = next(letter for letter in reversed(needed) if letter.name not in state)
        if not letter.of:
            words = f"For {letter.name}: {letter.equation}, so {letter.name} is {letter.n}"
            return Move(words, key=letter.name, value=letter.n, opening=f"For {letter.name}, so {letter.name} is {letter.n}")

        def finish(results: Sequence[int]) -> tuple[str, Mapping[str, int]]:
            return f", so {letter.name} is {results[-1]}", {}

        sums = letter.sums(state[letter.of])
        return Move(f"Now {letter.name}: {letter.equation}", f"Now {letter.name}:", sums, letter.name, finish=finish)

    def _misread(self, letter: Letter) -> Move | None:
        """The same with another letter's equation."""
        others = [other for other in self.letters if other.name != letter.name and other.of and other.of != letter.of]
        if not others:
            return None
        other = others[letter.n % len(others)]
        return Move(f"For {letter.name}: {replace(other, name=letter.name).equation}, so {other.of} before {letter.name}")


def draw_letter(rng: random.Random, name: str, of: str, u: int, top: int) -> tuple[Letter, int] | None:
    """A letter that hangs on another of value u, and its value; None when the draw does not fit."""
    form = rng.choice([form for form in FORMS if form != "is"])
    k, n = rng.randint(2, 9), rng.randint(2, top)
    if form in ("add", "rest", "less"):
        k = 0
    if form in ("times", "part"):
        n = 0
    letter = Letter(name, form, of, k, n)
    values = [u]
    for left, sign, right in letter.sums(u):
        a = values[-1] if isinstance(left, str) else left
        b = values[-1] if isinstance(right, str) else right
        if sign == "/" and a % b:
            return None
        values.append({"+": a + b, "-": a - b, "*": a * b, "/": a // b if b else 0}[sign])
        if not 1 <= values[-1] <= top:
            return None
    return letter, values[-1]


def draw_equations(rng: random.Random, level: int) -> Equations:
    """A set of equations of a level."""
    top = largest(level, (50, 80, 100, 150, 200, 300, 400, 600, 800, 999))
    needed, idle = 3 + round(0.9 * length(level)), int(length(level)) // 2
    names = rng.sample(LETTERS, min(len(LETTERS), needed + idle))
    value = rng.randint(3, top // 2)
    letters, values = [Letter(names[0], "is", n=value)], {names[0]: value}
    while len(letters) < len(names):
        behind = letters[-1].name if len(letters) < needed else rng.choice(letters[: needed - 1]).name
        drawn = draw_letter(rng, names[len(letters)], behind, values[behind], top)
        if drawn:
            letters.append(drawn[0])
            values[drawn[0].name] = drawn[1]
    asked = letters[needed - 1].name
    shuffled = rng.sample(letters, len(letters))
    text = "".join(f"For {letter.name}: {letter.equation}.\n" for letter in shuffled)
    return Equations(f"{text}What is {asked}?", level, tuple(shuffled), asked)
