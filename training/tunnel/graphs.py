"""Graphs: boxes whose contents are told by those of other boxes, in no order; some do not matter."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from training.tunnel.base import Problem, largest, length, one_of
from training.tunnel.moves import PREVIOUS, Move, State, Sum

COLORS = (
    "red", "blue", "green", "white", "black", "brown", "gray", "pink", "gold", "silver", "purple", "orange", "yellow", "cyan",
    "tan", "lime", "navy", "ruby", "jade", "amber", "coral", "ivory", "olive", "plum", "rose", "sand", "teal", "wine", "mint", "rust",
)  # fmt: skip
THINGS = ("shells", "coins", "stamps", "beads", "stones", "nuts")


@dataclass(frozen=True)
class Box:
    """A box: how its content is told."""

    name: str
    kind: str  # is, more, fewer, times, half, sum, groups
    of: tuple[str, ...] = ()
    a: int = 0
    b: int = 0

    @property
    def sentence(self) -> str:
        """The sentence of the problem about it."""
        other = f"box {self.of[0]}" if self.of else ""
        return (
            f"Box {self.name} holds "
            + {
                "is": f"{self.a}",
                "more": f"{self.a} more than {other}",
                "fewer": f"{self.a} fewer than {other}",
                "times": f"{self.a} times as many as {other}",
                "half": f"half as many as {other}",
                "groups": f"{self.a} bags of {self.b} more than {other}",
                "sum": f"as many as {other} and box {self.of[-1] if self.of else ''}",
            }[self.kind]
        )

    def sums(self, state: State) -> tuple[Sum, ...]:
        """The equations that give its content."""
        first = state[self.of[0]]
        match self.kind:
            case "more":
                return ((first, "+", self.a),)
            case "fewer":
                return ((first, "-", self.a),)
            case "times":
                return ((first, "*", self.a),)
            case "half":
                return ((first, "/", 2),)
            case "groups":
                return ((self.a, "*", self.b), (first, "+", PREVIOUS))
            case _:
                return ((first, "+", state[self.of[1]]),)


@dataclass(frozen=True)
class Graph(Problem):
    """Boxes, and the one that is asked for."""

    family = "graphs"
    boxes: tuple[Box, ...]
    asked: str

    @property
    def structure(self) -> str:
        places = {name: str(place) for place, name in enumerate(self.needed)}
        lines = [f"{b.kind}({','.join(places[o] for o in b.of)}){b.a}x{b.b}" for n in self.needed for b in [self.box(n)]]
        return f"graphs {' '.join(lines)}"

    @property
    def goal(self) -> str:
        return self.asked

    def box(self, name: str) -> Box:
        """The box of a colour."""
        return next(box for box in self.boxes if box.name == name)

    @property
    def needed(self) -> list[str]:
        """The boxes that matter, the asked one first."""
        found = [self.asked]
        for name in found:
            found += [other for other in self.box(name).of if other not in found]
        return found

    def start(self) -> State:
        return {"stack": (), "opened": (), "detour": ""}

    def result(self, state: State) -> int | None:
        return state.get(self.asked)

    def numbers(self, state: State) -> list[int]:
        return [state[box.name] for box in self.boxes if box.name in state] + [box.a for box in self.boxes[:3]]

    def move(self, state: State) -> Move | None:
        stack: tuple[str, ...] = state["stack"]
        if state["detour"]:
            return Move(f"Wait, box {state['detour']} is not needed", update={"detour": ""})
        if self.asked in state:
            return None
        if not stack:
            return Move(f"We want box {self.asked}", update={"stack": (self.asked,)})
        opened: tuple[str, ...] = state["opened"]
        while True:
            box = self.box(stack[-1])
            missing = [name for name in box.of if name not in state]
            if missing and box.name not in opened:
                words = f"{box.sentence}, so {one_of(tuple(missing))} first"
                update = {"stack": (*stack, missing[0]), "opened": (*opened, box.name)}
                return Move(words, update=update, other=partial(self._misread, box, missing))
            if not missing:
                break
            stack = (*stack, missing[0])
        after = {"stack": stack[:-1]}
        if box.kind == "is":
            words = f"{box.sentence}, so {box.name} is {box.a}"
            return Move(words, key=box.name, value=box.a, update=after, opening=f"Box {box.name} is {box.a}")

        def finish(results: Sequence[int]) -> tuple[str, Mapping[str, int]]:
            return f", so {box.name} is {results[-1]}", {}

        return Move(
            f"Now {box.sentence[0].lower()}{box.sentence[1:]}", f"Box {box.name}", box.sums(state), box.name, update=after, finish=finish
        )

    def _misread(self, box: Box, missing: Sequence[str]) -> Move | None:
        """The same with what is said of another box."""
        others = [other for other in self.boxes if other.name not in (box.name, *box.of) and other.of]
        if not others:
            return None
        other = others[len(box.name) % len(others)]
        sentence = replace(other, name=box.name).sentence
        return Move(f"{sentence}, so {one_of(other.of[: len(missing)])} first")

    def detour(self, state: State) -> Move | None:
        """Look at a box that does not matter."""
        idle = [box for box in self.boxes if box.name not in self.needed and box.of]
        if state["detour"] or not state["stack"] or not idle or state.get("detours", 0) >= 2:
            return None
        box = idle[(len(state["opened"]) + len(state["stack"])) % len(idle)]
        return Move(f"{box.sentence}, so {one_of(box.of)} first", update={"detour": box.name, "detours": state.get("detours", 0) + 1})


def draw_box(rng: random.Random, name: str, values: dict[str, int], top: int) -> Box | None:
    """A box told by those before it; None when the draw does not fit. Notes its value."""
    kind = rng.choices(("more", "fewer", "times", "half", "sum", "groups"), (2, 2, 1.5, 1.5, 5, 2))[0]
    recent = list(values)[-5:]
    of = tuple(rng.sample(recent, min(len(recent), 2 if kind == "sum" else 1)))
    if kind == "sum" and len(of) < 2:
        return None
    first = values[of[0]]
    a = rng.randint(2, 6) if kind == "times" else rng.randint(2, 9) if kind == "groups" else rng.randint(2, max(3, top // 3))
    b = rng.randint(2, max(4, min(30, top // 14))) if kind == "groups" else 0
    value = {
        "more": first + a,
        "fewer": first - a,
        "times": first * a,
        "half": first // 2,
        "groups": first + a * b,
        "sum": first + values[of[-1]],
    }[kind]
    if not 2 <= value <= top or (kind == "half" and first % 2):
        return None
    values[name] = value
    return Box(name, kind, of, 0 if kind in ("half", "sum") else a, b)


def draw_graph(rng: random.Random, level: int) -> Graph:
    """A graph of a level."""
    top = largest(level, (40, 60, 90, 120, 200, 300, 400, 600, 800, 999))
    names = rng.sample(COLORS, min(len(COLORS), 4 + round(1.6 * length(level))))
    values: dict[str, int] = {}
    boxes: list[Box] = []
    tries = 0
    while len(boxes) < len(names):
        name = names[len(boxes)]
        if len(boxes) < 1 + level // 3 or tries > 200:
            box: Box | None = Box(name, "is", a=rng.randint(3, top // 2))
            values[name] = box.a if box else 0
            tries = 0
        else:
            box = draw_box(rng, name, values, top)
            tries += 1
        if box:
            boxes.append(box)
    asked = boxes[-1 - rng.randint(0, 1)].name
    things = rng.choice(THINGS)
    shuffled = rng.sample(boxes, len(boxes))
    text = "".join(f"{box.sentence}.\n" for box in shuffled)
    return Graph(f"{text}How many {things} are in box {asked}?", level, tuple(shuffled), asked)
