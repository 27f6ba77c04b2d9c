"""Evaluation of the exported pair on the benchmark problems.

python -m training.evaluate [--pair src/speculative/bundled] [--json figures.json] [--limit N]
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import mean, median

import torch
from tokenizers import Tokenizer

from training.decode import load, score, write
from training.documents import REWRITE
from training.model import Model
from training.reading import NUMBER, Step, boxed, read
from training.stories import Story, conclusion, held_out
from training.writer import CLOSE, prompt

Figures = dict[str, object]
TEMPERATURE = 0.6
STEP_END = ".ĊĊ"  # how the vocabulary spells the token that ends a step


class Writer:
    """A model and its tokenizer: text in, text out."""

    def __init__(self, model: Model, tokenizer: Tokenizer) -> None:
        self.model, self.tokenizer = model, tokenizer

    def __call__(self, prefixes: Sequence[str], temperature: float = 0.0, limit: int = 400, stop: str | None = None) -> list[str]:
        """What the model writes after each prefix."""
        ids = write(self.model, self.tokenizer, prefixes, temperature=temperature, limit=limit, stop=stop)
        return [self.tokenizer.decode(row, skip_special_tokens=False) for row in ids]

    def confidence(self, prefixes: Sequence[str], pieces: Sequence[str]) -> list[float]:
        """Mean log-probability a token of each piece."""
        ids = [[e.ids for e in self.tokenizer.encode_batch(list(texts))] for texts in (prefixes, pieces)]
        return [mean(row) for row in score(self.model, *ids)]

    def count(self, text: str) -> int:
        """Tokens of a text."""
        return len(self.tokenizer.encode(text).ids)


def share(hits: Sequence[bool]) -> float:
    """The part that is true."""
    return round(sum(hits) / len(hits), 4) if hits else 0.0


def auc(wrong: Sequence[float], right: Sequence[float]) -> float:
    """Chance that a wrong one scores above a right one, ties half."""
    if not wrong or not right:
        return 0.0
    a, b = torch.tensor(wrong)[:, None], torch.tensor(right)[None]
    return round(((a > b).float() + 0.5 * (a == b).float()).mean().item(), 4)


def solving(writer: Writer, stories: Sequence[Story], temperature: float = 0.0) -> tuple[Figures, list[str]]:
    """Accuracy and tokens, overall and by level; and the chains."""
    texts = writer([prompt(s.problem) for s in stories], temperature)
    hits = [boxed(text) == s.answer for text, s in zip(texts, stories, strict=True)]
    levels = sorted({s.level for s in stories})
    of = {n: [i for i, s in enumerate(stories) if s.level == n] for n in levels}
    return {
        "accuracy": share(hits),
        "by_level": {str(n): share([hits[i] for i in rows]) for n, rows in of.items()},
        "tokens_by_level": {str(n): round(mean(writer.count(texts[i]) for i in rows)) for n, rows in of.items()},
    }, texts


def judging(big: Writer, small: Writer, steps: Sequence[Step]) -> Figures:
    """How well a mean log-probability tells the small model's wrong steps from its right ones."""
    figures: Figures = {"wrong_steps": sum(not s.right for s in steps), "right_steps": sum(s.right for s in steps)}
    for name, writer in (("big", big), ("small", small)):
        values = writer.confidence([s.prefix for s in steps], [s.text for s in steps])
        wrong = [-v for v, s in zip(values, steps, strict=True) if not s.right]
        right = [-v for v, s in zip(values, steps, strict=True) if s.right]
        figures[f"auc_by_{name}"] = auc(wrong, right)
        figures[f"median_by_{name}"] = {"wrong": round(-median(wrong), 4), "right": round(-median(right), 4)}
    return figures


def scoring(writer: Writer, steps: Sequence[Step]) -> Figures:
    """Cue `Score:` after each step: does the digit tell wrong steps from right ones?"""
    cued = [f"{s.prefix}{s.text}Score:" for s in steps]
    digits = [int(found[0]) if (found := NUMBER.findall(text)) else -1 for text in writer(cued, limit=2)]
    doubts = [-v for v in writer.confidence(cued, [" 9"] * len(cued))]
    figures: Figures = {}
    for name, values in (("auc_by_digit", [-d for d in digits]), ("auc_by_probability", doubts)):
        wrong, right = ([float(v) for v, s in zip(values, steps, strict=True) if s.right is which] for which in (False, True))
        figures[name] = auc(wrong, right)
    figures["wrong_below_5"] = share([d < 5 for d, s in zip(digits, steps, strict=True) if not s.right])
    figures["right_below_5"] = share([d < 5 for d, s in zip(digits, steps, strict=True) if s.right])
    return figures


def checking(writer: Writer, steps: Sequence[Step]) -> Figures:
    """Cue `Check:` after each step: is a wrong one put right, a right one left alone, and the answer reached?"""
    cued = [f"{s.prefix}{s.text}Check:" for s in steps]
    checks = writer(cued, limit=48, stop=STEP_END)
    values = [int(found[-1]) if (found := NUMBER.findall(text)) else -1 for text in checks]
    wrong = [(s, v, c + t) for s, v, c, t in zip(steps, values, cued, checks, strict=True) if not s.right]
    right = [v for s, v in zip(steps, values, strict=True) if s.right]
    true_of_right = [s.truth for s in steps if s.right]
    differs = [[float(v != s.value) for s, v, _ in wrong], [float(v != t) for v, t in zip(right, true_of_right, strict=True)]]
    ends = writer([text for _, _, text in wrong])
    uncued = writer([s.prefix + s.text for s, _, _ in wrong])
    return {
        "repaired": share([v == s.truth for s, v, _ in wrong]),
        "noticed": share([v != s.value for s, v, _ in wrong]),
        "false_alarms": share([bool(x) for x in differs[1]]),
        "auc_by_comparison": auc(*differs),
        "answer_right_after_check": share([boxed(e) == s.story.answer for e, (s, _, _) in zip(ends, wrong, strict=True)]),
        "answer_right_uncued": share([boxed(e) == s.story.answer for e, (s, _, _) in zip(uncued, wrong, strict=True)]),
    }


def second_pass(writer: Writer, stories: Sequence[Story], chains: Sequence[str]) -> Figures:
    """Insert `Wait` before the thinking would close."""
    before = share([boxed(c) == s.answer for c, s in zip(chains, stories, strict=True)])
    heads = [prompt(s.problem) + c.split("</think>")[0] + "Wait" for c, s in zip(chains, stories, strict=True)]
    after = share([boxed(t) == s.answer for t, s in zip(writer(heads), stories, strict=True)])
    return {"first_pass": before, "second_pass": after}


def rewriting(writer: Writer, stories: Sequence[Story], chains: Sequence[str]) -> Figures:
    """Shorten somebody's chain: are all its values kept, and how much shorter is it?"""
    thoughts = [c.split("</think>")[0].strip() for c in chains]
    heads = [prompt(REWRITE.format(problem=s.problem, chain=t)) + "\n</think>\n\n" for s, t in zip(stories, thoughts, strict=True)]
    shorts = writer(heads)
    values = [values_of(t.partition("So the answer")[0]) for t in thoughts]
    return {
        "last_value_kept": share([values_of(x)[-1:] == v[-1:] for x, v in zip(shorts, values, strict=True)]),
        "all_values_kept": share([values_of(x) == v for x, v in zip(shorts, values, strict=True)]),
        "tokens_ratio": round(mean(writer.count(x) / writer.count(t) for x, t in zip(shorts, thoughts, strict=True)), 3),
    }


def values_of(text: str) -> list[int]:
    """The last number of each step."""
    return [int(found[-1]) for line in text.split("\n\n") if (found := NUMBER.findall(line))]


def closing(writer: Writer, stories: Sequence[Story]) -> Figures:
    """Cut right chains at a random step and cue the answer: is it the last value known?"""
    rng = random.Random(0)
    cuts = [rng.randint(1, s.level + 1) for s in stories]
    heads = [prompt(s.problem) + "".join(s.steps()[:cut]) + CLOSE for s, cut in zip(stories, cuts, strict=True)]
    texts = writer(heads, limit=12)
    return {"last_value_given": share([boxed(CLOSE + t) == s.values[c - 1] for t, s, c in zip(texts, stories, cuts, strict=True)])}


def asking_for_a_close(writer: Writer, stories: Sequence[Story]) -> float:
    """Whether the marker alone is enough: whole chains, `</think>`, and the right answer follows."""
    heads = [prompt(s.problem) + "".join(s.steps()[:-1]) + conclusion(s.answer) + "</think>" for s in stories]
    return share([boxed(t) == s.answer for t, s in zip(writer(heads, limit=24), stories, strict=True)])


def evaluate(pair: Path, limit: int = 500, say: Callable[[str], None] = print) -> Figures:
    """All figures of a pair; `limit` takes an even sample of the problems."""
    big, small = (Writer(*load(pair / role)) for role in ("big", "small"))
    stories = held_out("benchmark")
    stories = stories[:: max(1, len(stories) // limit)]
    figures: Figures = {"problems": len(stories)}

    def put(name: str, value: object) -> None:
        figures[name] = value
        say(f"{name}: {json.dumps(value)}")

    figure, small_chains = solving(small, stories)
    put("small_greedy", figure)
    figure, sampled = solving(small, stories, TEMPERATURE)
    put("small_sampled", figure)
    figure, _ = solving(big, stories)
    put("big_greedy", figure)
    steps = [step for story, text in zip(stories, sampled, strict=True) for step in read(story, text)]
    put("judge_by_probability", judging(big, small, steps))
    put("score_by_big", scoring(big, steps))
    put("score_by_small", scoring(small, steps))
    put("check_by_big", checking(big, steps))
    put("check_by_small", checking(small, steps))
    put("wait_big_after_small", second_pass(big, stories, small_chains))
    put("wait_small_after_small", second_pass(small, stories, small_chains))
    put("rewrite_by_big", rewriting(big, stories, small_chains))
    put("rewrite_by_small", rewriting(small, stories, small_chains))
    put("close_by_big", {**closing(big, stories), "marker_alone": asking_for_a_close(big, stories)})
    put("close_by_small", {**closing(small, stories), "marker_alone": asking_for_a_close(small, stories)})
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


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pair", type=Path, default=Path("src/speculative/bundled"), help="folder of the pair")
    parser.add_argument("--json", type=Path, help="write the figures here as well")
    parser.add_argument("--limit", type=int, default=500, help="an even sample of the problems")
    options = parser.parse_args()
    figures = evaluate(options.pair, options.limit)
    if options.json:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    print("\n" + table(figures))


if __name__ == "__main__":
    main()
