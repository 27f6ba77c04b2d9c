"""Stories: what some people have, through gains, losses and gifts, among sentences that do not count."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from training.tunnel.base import Problem, largest, length
from training.tunnel.moves import LARGEST, PREVIOUS, DeadEndError, Move, State, Sum

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
NAMES = ("Mia", "Anna", "Lena", "Sara", "Eva", "Nora", "Tom", "Ben", "Leo", "Max", "Sam", "Paul")
THINGS = ("apples", "pears", "shells", "cards", "coins", "stamps", "beads", "books", "stones", "nuts")
WORDINGS: Mapping[str, tuple[str, ...]] = {
    "gain": ("{who} buys {a} more {things}.", "{who} finds {a} {things}.", "{friend} gives {who} {a} {things}."),
    "lose": ("{who} loses {a} {things}.", "{who} sells {a} of the {things}.", "{friend} takes {a} {things} from {who}."),
    "gain_groups": ("{who} buys {a} boxes with {b} {things} each.", "{who} finds {a} bags of {b} {things}."),
    "lose_groups": ("{who} sells {a} boxes with {b} {things} each.", "{who} loses {a} bags of {b} {things}."),
    "times": ("{who} makes it {a} times as many {things}.", "The {things} of {who} grow to {a} times as many."),
    "share": ("{who} makes {a} equal parts and keeps one of them.", "{who} shares the {things} among {a} people and keeps one part."),
    "give": ("{who} gives {a} {things} to {to}.", "{to} gets {a} {things} from {who}."),
    "give_half": ("{who} gives half of the {things} to {to}.", "{to} gets half of the {things} of {who}."),
    "other": (
        "{who} buys {a} boxes with {b} {more}.",
        "{who} loses {a} {more}.",
        "{friend} gives {who} {a} {more}.",
        "{who} is {a} years old.",
    ),
}
WEIGHTS = {"gain": 2, "lose": 2, "gain_groups": 2.5, "lose_groups": 2.5, "times": 1, "share": 1.5, "give": 2, "give_half": 1, "other": 2}
SIGN = {"gain": "+", "lose": "-", "gain_groups": "+", "lose_groups": "-", "times": "*", "share": "/"}


@dataclass(frozen=True)
class Event:
    """A sentence: what happens to whom."""

    kind: str
    who: str
    a: int = 0
    b: int = 0
    to: str = ""
    more: str = ""
    told: str = ""  # the sentence, without its full stop


@dataclass(frozen=True)
class Story(Problem):
    """People with numbers of one thing."""

    family = "stories"
    people: tuple[tuple[str, int], ...]
    events: tuple[Event, ...]
    asked: tuple[str, ...]
    things: str

    @property
    def structure(self) -> str:
        names = {name: str(place) for place, (name, _) in enumerate(self.people)}
        events = [f"{e.kind}{names[e.who]}{names.get(e.to, '')}:{e.a}x{e.b}" for e in self.events if e.kind != "other"]
        return f"stories {[start for _, start in self.people]} {' '.join(events)} {[names[name] for name in self.asked]}"

    @property
    def goal(self) -> str:
        return " and ".join(self.asked)

    def start(self) -> State:
        return {"at": -len(self.people)}

    def result(self, state: State) -> int | None:
        return state.get("total" if len(self.asked) > 1 else self.asked[0])

    def numbers(self, state: State) -> list[int]:
        return [state[name] for name, _ in self.people if name in state] + [e.a for e in self.events[max(0, state["at"]) :][:3]]

    def move(self, state: State) -> Move | None:
        at: int = state["at"]
        letter = LETTERS[at + len(self.people)] if at < len(self.events) else ""
        if at < 0:
            name, value = self.people[at]
            move = Move(f"{letter}: {name} has {value} {self.things}", key=name, value=value, update={"at": at + 1}, opening=letter)
            return self._counted(state, move, {name: value})
        if at < len(self.events):
            return self._event(state, self.events[at], letter)
        if len(self.asked) > 1 and "total" not in state:
            first, second = self.asked
            return Move(
                f"Together {first} {state[first]} and {second} {state[second]}", "Together", ((state[first], "+", state[second]),), "total"
            )
        return None

    def _counted(self, state: State, move: Move, facts: Mapping[str, int], takers: Sequence[str] = ()) -> Move:
        """The move with everybody's count at its end; `takers` get its last results, `facts` are given."""

        def written(counts: Mapping[str, int]) -> tuple[str, Mapping[str, int]]:
            known = {name: counts[name] for name, _ in self.people if name in counts}
            return ": " + ", ".join(f"{name} {value}" for name, value in known.items()), known

        def finish(results: Sequence[int]) -> tuple[str, Mapping[str, int]]:
            return written({**state, **facts, **dict(zip(takers, results[len(results) - len(takers) :], strict=True))})

        def miscopied() -> Move | None:
            others = [name for name, _ in self.people if name in state and name not in takers and name not in facts]
            if not others:
                return None
            name = others[len(move.words) % len(others)]
            wrong = {name: max(1, state[name] + (-10, 1, 2, 20)[state[name] % 4])}
            return replace(
                move,
                finish=lambda results: written(
                    {**state, **facts, **dict(zip(takers, results[len(results) - len(takers) :], strict=True)), **wrong}
                ),
            )

        return replace(move, finish=finish, other=miscopied)

    def _event(self, state: State, event: Event, letter: str) -> Move:
        """The move for a sentence."""
        who, after = event.who, {"at": state["at"] + 1}
        if event.kind == "other":
            return self._counted(state, Move(f"{letter}: {event.told}, no {self.things}", update=after), {})
        if event.kind == "give":
            sums: tuple[Sum, ...] = ((state[who], "-", event.a), (state[event.to], "+", event.a))
            return self._counted(state, Move(f"{letter}: {event.told}", letter, sums, update=after), {}, (who, event.to))
        if event.kind == "give_half":
            sums = ((state[who], "/", 2), (state[event.to], "+", PREVIOUS))
            return self._counted(state, Move(f"{letter}: {event.told}", letter, sums, update=after), {}, (who, event.to))
        sign, value = SIGN[event.kind], state[who]
        groups: Sum = (event.a, "*", event.b)
        sums = (groups, (value, sign, PREVIOUS)) if event.kind.endswith("groups") else ((value, sign, event.a),)
        return self._counted(state, Move(f"{letter}: {event.told}", letter, sums, update=after), {}, (who,))


def draw_event(rng: random.Random, state: dict[str, int], top: int) -> Event | None:
    """An event that keeps everybody between 2 and `top`; None when the draw does not fit. Changes the state."""
    kind = rng.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
    names = list(state)
    who = rng.choice(names)
    value = state[who]
    if kind == "other":
        return Event(kind, who, rng.randint(2, 60), rng.randint(2, 12), more="things")
    if kind.startswith("give"):
        if len(names) < 2:
            return None
        to = rng.choice([name for name in names if name != who])
        amount = value // 2 if kind == "give_half" else rng.randint(2, max(2, value - 2))
        if (kind == "give_half" and value % 2) or value - amount < 2 or state[to] + amount > top:
            return None
        state[who], state[to] = value - amount, state[to] + amount
        return Event(kind, who, 0 if kind == "give_half" else amount, to=to)
    if kind == "times":
        a, b = rng.randint(2, 5), 0
    elif kind == "share":
        a, b = rng.randint(2, 9), 0
    elif kind.endswith("groups"):
        a, b = rng.randint(2, 9), rng.randint(2, max(4, min(40, top // 12)))
    else:
        a, b = rng.randint(2, top // 2), 0
    amount = a * b if b else a
    after = {"+": value + amount, "-": value - amount, "*": value * amount, "/": value // a if value % a == 0 else 0}[SIGN[kind]]
    if not 2 <= after <= top:
        return None
    state[who] = after
    return Event(kind, who, a, b)


def draw_story(rng: random.Random, level: int) -> Story:
    """A story of a level."""
    top = largest(level, (40, 60, 90, 120, 200, 300, 400, 600, 800, 999))
    names = rng.sample(NAMES, 6)
    people = tuple((name, rng.randint(3, top // 2)) for name in names[: 1 + (level > 1) + (level > 5)])
    state, events = dict(people), list[Event]()
    while len(events) < 2 + round(1.4 * length(level)):
        event = draw_event(rng, state, top)
        if event:
            events.append(event)
    things, *others = rng.sample(THINGS, 4)
    told: list[Event] = []
    sentences = [f"{name} has {start} {things}." for name, start in people]
    for event in events:
        more = rng.choice(others) if event.kind == "other" else ""
        wordings = WORDINGS[event.kind]
        wording = rng.choice(wordings)
        friend = rng.choice(names[3:])
        sentences.append(wording.format(who=event.who, to=event.to, a=event.a, b=event.b, things=things, more=more, friend=friend))
        told.append(Event(event.kind, event.who, event.a, event.b, event.to, more, sentences[-1].removesuffix(".")))
    asked = tuple(rng.sample([name for name, _ in people], 2 if len(people) > 1 and rng.random() < 0.4 else 1))
    if sum(state[name] for name in asked) > LARGEST:
        raise DeadEndError
    question = f"How many {things} does {asked[0]} have at the end?"
    if len(asked) > 1:
        question = f"How many {things} do {asked[0]} and {asked[1]} have together at the end?"
    lines = [f"{letter}: {sentence}\n" for letter, sentence in zip(LETTERS, sentences, strict=False)]
    return Story("".join([*lines, question]), level, people, tuple(told), asked, things)
