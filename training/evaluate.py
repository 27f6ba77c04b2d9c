"""Evaluation of the exported pair on the benchmark problems, through the engine and the dialect that users run.

python -m training.evaluate [--pair src/speculative/bundled] [--json figures.json] [--limit N]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean, median

from speculative.engines.base import CallStats, Decoding
from speculative.engines.local import BundledEngine
from speculative.errors import SpeculativeError
from speculative.problem import Message
from speculative.prompts import Question, encode_parts, find_dialect, parse_score
from training.reading import NUMBER, Step, boxed, read
from training.stories import Story, held_out
from training.writer import CHECK

Figures = dict[str, object]
TEMPERATURE = 0.6
LIMIT = 400  # tokens of thinking
PROBLEMS = 500
TOGETHER = 64  # chains in one call


class Writer:
    """A shipped model: problems and the chains so far in, text out."""

    def __init__(self, folder: Path) -> None:
        self.engine = BundledEngine.open(folder)
        self.dialect = find_dialect(self.engine.dialect)
        self.tokenizer = self.engine.tokenizer

    def prefix(self, problem: str, chain: str = "") -> list[int]:
        """A problem and the beginning of a chain, as ids."""
        return [*encode_parts(self.tokenizer, self.dialect.prompt([Message("user", problem)], "")), *self.tokenizer.encode(chain)]

    def complete(self, prefixes: Sequence[Sequence[int]], limit: int, temperature: float = 0.0, stop: Sequence[str] = ()) -> list[str]:
        """The text that follows each prefix, up to the end of the thinking or of the turn."""
        ends = tuple(self.tokenizer.special_token_id(marker) for marker in (self.dialect.think_end, *self.dialect.stop_tokens))
        decoding = Decoding(limit, temperature=temperature, stop=tuple(stop), stop_ids=ends)

        async def whole() -> list[str]:
            texts: list[str] = []
            for first in range(0, len(prefixes), TOGETHER):
                rows = prefixes[first : first + TOGETHER]
                found = await self.engine.complete(rows, decoding, key="evaluate", stats=CallStats())
                texts += [self.tokenizer.to_bytes(row[0].ids).decode(errors="replace") for row in found]
            return texts

        return asyncio.run(whole())

    def think(self, stories: Sequence[Story], chains: Sequence[str], temperature: float = 0.0) -> list[str]:
        """The rest of each chain."""
        return self.complete([self.prefix(s.problem, c) for s, c in zip(stories, chains, strict=True)], LIMIT, temperature)

    def answers(self, stories: Sequence[Story], chains: Sequence[str]) -> list[int | None]:
        """The answer after each chain, once its thinking is closed."""
        closed = [
            [*self.prefix(s.problem, c), *encode_parts(self.tokenizer, self.dialect.close(c))] for s, c in zip(stories, chains, strict=True)
        ]
        return [boxed(text) for text in self.complete(closed, 24)]

    def ask(self, question: Callable[[int], Question], stories: Sequence[Story], chains: Sequence[str], limit: int = 256) -> list[str]:
        """The reply to a question about each chain, put as methods put it."""
        prefixes: list[list[int]] = []
        stop: tuple[str, ...] = ()
        for i, (story, chain) in enumerate(zip(stories, chains, strict=True)):
            asking = self.dialect.ask(question(i), [Message("user", story.problem)], chain)
            head = self.prefix(story.problem, chain) if asking.follows_chain else []
            prefixes.append([*head, *encode_parts(self.tokenizer, asking.parts)])
            stop = asking.stop
        return self.complete(prefixes, limit, stop=stop)

    def confidence(self, steps: Sequence[Step]) -> list[float]:
        """Mean log-probability a token of each step."""

        async def whole() -> list[float]:
            values: list[float] = []
            for first in range(0, len(steps), TOGETHER):
                rows = steps[first : first + TOGETHER]
                prefixes = [self.prefix(s.story.problem, s.chain) for s in rows]
                texts = [self.tokenizer.encode(s.text) for s in rows]
                values += [mean(row) for row in await self.engine.score(prefixes, texts, key="evaluate", stats=CallStats())]
            return values

        return asyncio.run(whole())

    def count(self, text: str) -> int:
        """Tokens of a text."""
        return len(self.tokenizer.encode(text))


def share(hits: Sequence[bool]) -> float:
    """The part that is true."""
    return round(sum(hits) / len(hits), 4) if hits else 0.0


def average(values: Sequence[float], digits: int) -> float:
    """Their mean; 0 of none."""
    return round(mean(values), digits) if values else 0.0


def auc(wrong: Sequence[float], right: Sequence[float]) -> float:
    """Chance that a wrong one scores above a right one, ties half."""
    if not wrong or not right:
        return 0.0
    won = sum((a > b) + 0.5 * (a == b) for a in wrong for b in right)
    return round(won / len(wrong) / len(right), 4)


def last_number(text: str) -> int:
    """The last number of a text, or -1 if it has no number."""
    found = NUMBER.findall(text)
    return int(found[-1]) if found else -1


def right_answers(writer: Writer, stories: Sequence[Story], chains: Sequence[str]) -> list[bool]:
    """Go on from each chain to its end: is the answer right?"""
    whole = [chain + rest for chain, rest in zip(chains, writer.think(stories, chains), strict=True)]
    return [answer == s.answer for answer, s in zip(writer.answers(stories, whole), stories, strict=True)]


def solving(writer: Writer, stories: Sequence[Story], temperature: float = 0.0) -> tuple[Figures, list[str]]:
    """Accuracy and tokens of thinking, overall and by level; and the chains."""
    texts = writer.think(stories, [""] * len(stories), temperature)
    hits = [answer == s.answer for answer, s in zip(writer.answers(stories, texts), stories, strict=True)]
    levels = sorted({s.level for s in stories})
    of = {n: [i for i, s in enumerate(stories) if s.level == n] for n in levels}
    return {
        "accuracy": share(hits),
        "by_level": {str(n): share([hits[i] for i in rows]) for n, rows in of.items()},
        "tokens_by_level": {str(n): round(mean(writer.count(texts[i]) for i in rows)) for n, rows in of.items()},
        "checks_of_its_own": share([CHECK in text for text in texts]),
    }, texts


def judging(big: Writer, small: Writer, steps: Sequence[Step]) -> Figures:
    """How well a mean log-probability tells the small model's wrong steps from its right ones."""
    figures: Figures = {"wrong_steps": sum(not s.right for s in steps), "right_steps": sum(s.right for s in steps)}
    for name, writer in (("big", big), ("small", small)):
        values = writer.confidence(steps)
        wrong = [-v for v, s in zip(values, steps, strict=True) if not s.right]
        right = [-v for v, s in zip(values, steps, strict=True) if s.right]
        figures[f"auc_by_{name}"] = auc(wrong, right)
        medians = {"wrong": wrong, "right": right}
        figures[f"median_by_{name}"] = {which: round(-median(group), 4) if group else None for which, group in medians.items()}
    return figures


def scoring(writer: Writer, steps: Sequence[Step]) -> Figures:
    """Ask `judge` after each step: does the score tell wrong steps from right ones?"""
    replies = writer.ask(lambda _: Question("judge"), [s.story for s in steps], [s.chain + s.text for s in steps], 16)
    scores = [parse_score(reply) for reply in replies]
    wrong, right = ([v for v, s in zip(scores, steps, strict=True) if s.right is which] for which in (False, True))
    return {
        "auc": auc(*([4.5 - (4.5 if v is None else v) for v in group] for group in (wrong, right))),
        "wrong_below_7": share([v is not None and v < 7 for v in wrong]),
        "right_below_7": share([v is not None and v < 7 for v in right]),
        "unreadable": share([v is None for v in scores]),
        "tokens": average([writer.count(reply) for reply in replies], 2),
    }


def checking(writer: Writer, steps: Sequence[Step]) -> Figures:
    """Ask `check` after each step: is a wrong one put right, a right one left alone, and the answer reached?"""
    stories, chains = [s.story for s in steps], [s.chain + s.text for s in steps]
    replies = writer.ask(lambda _: Question("check"), stories, chains, 64)
    next_steps = writer.complete([writer.prefix(s.problem, c) for s, c in zip(stories, chains, strict=True)], 64, stop=("\n\n",))
    values = [last_number(reply) for reply in replies]
    wrong = [i for i, s in enumerate(steps) if not s.right]
    right = [i for i, s in enumerate(steps) if s.right]
    differs = [[float(values[i] != steps[i].value) for i in group] for group in (wrong, right)]
    checked = right_answers(writer, [stories[i] for i in wrong], [f"{chains[i]}{CHECK}{replies[i]}" for i in wrong])
    return {
        "repaired": share([values[i] == steps[i].truth for i in wrong]),
        "wrong_changed": share([bool(x) for x in differs[0]]),
        "right_changed": share([bool(x) for x in differs[1]]),
        "auc_by_comparison": auc(*differs),
        "answer_right_after_check": share(checked),
        "uncued_check_after_wrong": share([next_steps[i].startswith(CHECK) for i in wrong]),
        "uncued_check_after_right": share([next_steps[i].startswith(CHECK) for i in right]),
        "uncued_repaired": share([next_steps[i].startswith(CHECK) and last_number(next_steps[i]) == steps[i].truth for i in wrong]),
        "answer_right_uncued": share(right_answers(writer, [stories[i] for i in wrong], [chains[i] for i in wrong])),
    }


def second_pass(writer: Writer, stories: Sequence[Story], chains: Sequence[str]) -> Figures:
    """Cue another pass where the thinking would close."""
    return {"answer_right": share(right_answers(writer, stories, [c + writer.dialect.resume(c) for c in chains]))}


def rewriting(writer: Writer, stories: Sequence[Story], chains: Sequence[str]) -> Figures:
    """Ask `rewrite`, of somebody's chain: are all its values kept, and how much shorter is it?"""
    shorts = writer.ask(lambda i: Question("rewrite", chains[i]), stories, chains, LIMIT)
    values = [values_of(c.partition("So the answer")[0]) for c in chains]
    return {
        "last_value_kept": share([values_of(x)[-1:] == v[-1:] for x, v in zip(shorts, values, strict=True)]),
        "all_values_kept": share([values_of(x) == v for x, v in zip(shorts, values, strict=True)]),
        "tokens_ratio": average([writer.count(x) / writer.count(c) for x, c in zip(shorts, chains, strict=True) if c], 3),
    }


def values_of(text: str) -> list[int]:
    """The last number of each step."""
    return [int(found[-1]) for line in text.split("\n\n") if (found := NUMBER.findall(line))]


def closing(writer: Writer, stories: Sequence[Story]) -> Figures:
    """Cut right chains at a random step and ask `answer`: is it the last value known?"""
    rng = random.Random(0)
    cuts = [rng.randint(1, s.level + 1) for s in stories]
    chains = ["".join(s.steps()[:cut]) for s, cut in zip(stories, cuts, strict=True)]
    replies = writer.ask(lambda _: Question("answer"), stories, chains, 16)
    return {"last_value_given": share([last_number(t) == s.values[c - 1] for t, s, c in zip(replies, stories, cuts, strict=True)])}


def evaluate(pair: Path, limit: int = PROBLEMS, say: Callable[[str], None] = print) -> Figures:
    """All figures of a pair; `limit` takes an even sample of the problems."""
    writers = {role: Writer(pair / role) for role in ("big", "small")}
    stories = held_out("benchmark")
    stories = [stories[place * len(stories) // limit] for place in range(limit)]
    figures: Figures = {"problems": len(stories)}

    def put(name: str, value: object) -> None:
        figures[name] = value
        say(f"{name}: {json.dumps(value)}")

    chains: dict[str, list[str]] = {}
    for role, writer in writers.items():
        figure, chains[role] = solving(writer, stories)
        put(f"{role}_greedy", figure)
    figure, sampled = solving(writers["small"], stories, TEMPERATURE)
    put("small_sampled", figure)
    steps = [step for story, text in zip(stories, sampled, strict=True) for step in read(story, text)]
    put("judge_by_probability", judging(writers["big"], writers["small"], steps))
    for role, writer in writers.items():
        put(f"judge_by_{role}", scoring(writer, steps))
        put(f"check_by_{role}", checking(writer, steps))
        put(f"wait_{role}_after_small", second_pass(writer, stories, chains["small"]))
        put(f"rewrite_by_{role}", rewriting(writer, stories, chains["small"]))
        put(f"close_by_{role}", closing(writer, stories))
    return figures


def table(figures: Figures) -> str:
    """The figures as Markdown."""
    rows = ["| figure | value |", "|---|---|"]
    for name, value in figures.items():
        if isinstance(value, dict):
            rows += [f"| {name}: {key} | {' '.join(map(str, v.values())) if isinstance(v, dict) else v} |" for key, v in value.items()]
        else:
            rows.append(f"| {name} | {value} |")
    return "\n".join(rows)


def sample(text: str) -> int:
    """A number of problems that the command line gives."""
    if not text.isdecimal() or not 1 <= int(text) <= PROBLEMS:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 to {PROBLEMS}")
    return int(text)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pair", type=Path, default=Path("src/speculative/bundled"), help="folder of the pair")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    parser.add_argument("--limit", type=sample, default=PROBLEMS, help="an even sample of the problems")
    options = parser.parse_args()
    if options.json and not options.json.parent.is_dir():
        raise SystemExit(f"evaluate: there is no folder {options.json.parent} to write {options.json.name} into; make it first")
    try:
        figures = evaluate(options.pair, options.limit)
    except SpeculativeError as error:
        raise SystemExit(f"evaluate: {error}") from None
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    print("\n" + table(figures))


if __name__ == "__main__":
    main()
