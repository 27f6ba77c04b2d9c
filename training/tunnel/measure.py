"""Measure every bar of the bundled pair from its shipped files, on a GPU or on a CPU.

python -m training.tunnel.measure --json figures.json --chains chains.jsonl

On a GPU it takes minutes, on a CPU hours: take samples there (`--limit`, `--tries`, `--judged`, `--corrected`). What the file of figures
holds is not measured again: the same command goes on after an interruption. `--pair` measures other exported models.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from statistics import fmean, mean, median
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor

from training.decode import Cached, load, score, write
from training.model import Model
from training.reading import boxed
from training.stories import held_out as first_stories
from training.tunnel.bars import table
from training.tunnel.base import Problem
from training.tunnel.batches import REHEARSAL
from training.tunnel.dialect import CHECK, CLOSE, CONCLUSION, HINTS, INSTRUCTIONS, RIGHT, SCORE, TAGS, WAIT, WRONG, instructed, prompt
from training.tunnel.documents import rewrite
from training.tunnel.moves import DeadEndError
from training.tunnel.problems import LADDERS, SECOND, held_out
from training.tunnel.reading import Read, read
from training.tunnel.writer import Writer

TEMPERATURE = 0.6
LIMIT = 2400
MOST = 40 if REHEARSAL else LIMIT  # tokens that any measurement writes
LENGTHS = (0, 200, 400, 700, 1100, LIMIT + 1)
WHOLE = (0, 1024, 2048, 3072, 4096)
FOLDER = Path("src/speculative/bundled")
PACED, ROUNDS = 200, 7  # tokens of a timed call, calls
END_OF_STEP = ".ĊĊ"  # as the vocabulary spells it
Figures = dict[str, Any]


def share(hits: Sequence[bool]) -> float:
    """The part that is true."""
    return round(sum(hits) / len(hits), 4) if hits else 0.0


def auc(wrong: Sequence[float], right: Sequence[float]) -> float:
    """Chance that a wrong one scores above a right one, ties half."""
    if not wrong or not right:
        return 0.0
    a, b = torch.tensor(wrong), torch.tensor(right).sort().values
    below, upto = torch.searchsorted(b, a), torch.searchsorted(b, a, right=True)
    return round(((below + upto).double() / 2).mean().item() / len(b), 4)


@torch.inference_mode()
def last_logs(model: Model, tokenizer: Tokenizer, texts: Sequence[str]) -> Tensor:
    """Log-probabilities of what follows each text, (texts, vocabulary)."""
    device = model.model.embed_tokens.weight.device
    encoded = [e.ids for e in tokenizer.encode_batch(list(texts))]
    found: list[Tensor] = [torch.empty(0)] * len(texts)
    order = sorted(range(len(texts)), key=lambda i: len(encoded[i]))
    for first in range(0, len(order), 64):
        rows = order[first : first + 64]
        length = max(len(encoded[i]) for i in rows)
        padding = torch.tensor([length - len(encoded[i]) for i in rows], device=device)
        ids = torch.tensor([[0] * (length - len(encoded[i])) + encoded[i] for i in rows], device=device)
        hidden = model(ids, torch.arange(length, device=device), Cached(model.shape.layers, padding, length))[:, -1]
        for row, logs in zip(rows, torch.log_softmax(model.logits(hidden), -1).cpu(), strict=True):
            found[row] = logs
    return torch.stack(found)


def soft_verdict(model: Model, tokenizer: Tokenizer, texts: Sequence[str]) -> list[float]:
    """The share of right against wrong in the next token."""
    logs = last_logs(model, tokenizer, texts)
    right, wrong = (logs[:, tokenizer.token_to_id(mark)].double() for mark in (RIGHT, WRONG))
    return (right - wrong).tolist()


class Pair:
    """Models by name, and the problems."""

    def __init__(self, folder: Path, problems: Sequence[Problem]) -> None:
        self.models = {
            name: load(folder / name) for name in ("big", "small", "asking", "reward") if (folder / name / "config.json").exists()
        }
        self.problems = problems

    def think(self, name: str, heads: Sequence[str], temperature: float = 0.0, seed: int = 0, limit: int = LIMIT) -> list[str]:
        """The text that a model writes behind each head."""
        model, tokenizer = self.models[name]
        written = write(model, tokenizer, heads, temperature=temperature, limit=min(limit, MOST), seed=seed)
        return [tokenizer.decode(ids, skip_special_tokens=False) for ids in written]


def by(problems: Sequence[Problem], hits: Sequence[float], attribute: str) -> dict[str, float]:
    """The mean of the hits by level or family."""
    groups: dict[Any, list[float]] = defaultdict(list)
    for problem, hit in zip(problems, hits, strict=True):
        groups[getattr(problem, attribute)].append(hit)
    return {str(key): round(mean(group), 3) for key, group in groups.items()}


def solving(pair: Pair, name: str, temperature: float = 0.0) -> tuple[Figures, list[str]]:
    """Accuracy, tokens and steps."""
    tokenizer = pair.models[name][1]
    texts = pair.think(name, [prompt(p.text) for p in pair.problems], temperature)
    hits = [boxed(text) == p.answer for text, p in zip(texts, pair.problems, strict=True)]
    tokens = [len(e.ids) for e in tokenizer.encode_batch([text.partition("</think>")[0] for text in texts])]
    return {
        "accuracy": share(hits), "level": by(pair.problems, hits, "level"), "family": by(pair.problems, hits, "family"),
        "tokens_median": median(tokens), "tokens_mean": round(mean(tokens)), "tokens_max": max(tokens),
        "wait": share([WAIT in text for text in texts]), "ends": share(["</think>" in text for text in texts]),
        "by_length": by_length(hits, tokens),
    }, texts  # fmt: skip


def by_length(hits: Sequence[bool], tokens: Sequence[int], edges: Sequence[int] = LENGTHS) -> dict[str, list[float]]:
    """Accuracy, and the number of chains, by tokens."""
    groups = {(low, high): [h for h, t in zip(hits, tokens, strict=True) if low <= t < high] for low, high in pairwise(edges)}
    return {f"{low}-{high}": [share(group), len(group)] for (low, high), group in groups.items()}


def stepping(pair: Pair, texts: Sequence[str]) -> tuple[Figures, list[Read]]:
    """Steps of small up to its first wrong one: how many are right, and where the wrong ones stand."""
    steps = [step for p, text in zip(pair.problems, texts, strict=True) for step in read(p, text)]
    wrong = [s for s in steps if not s.right]
    return {"right": len(steps) - len(wrong), "wrong": len(wrong), "share_right": share([s.right for s in steps])}, steps


def entropies(pair: Pair, steps: Sequence[Read]) -> Figures:
    """Small's entropy on the first token of steps, and its confidence within them."""
    model, tokenizer = pair.models["small"]
    logs = last_logs(model, tokenizer, [prompt(s.problem.text) + s.chain for s in steps])
    entropy = (-(logs.exp() * logs).sum(-1)).tolist()
    heads = [e.ids for e in tokenizer.encode_batch([prompt(s.problem.text) + s.chain for s in steps])]
    tails = [e.ids for e in tokenizer.encode_batch([s.text for s in steps])]
    values = score(model, heads, tails)
    confident = [mean(v > -0.0488 for v in row) for row in values]
    figures: Figures = {}
    for name, which in (("wrong", False), ("right", True)):
        rows = [i for i, s in enumerate(steps) if s.right is which]
        figures[name] = {
            "first_token_entropy": round(fmean([entropy[i] for i in rows] or [0.0]), 4),
            "confident_tokens": round(fmean([confident[i] for i in rows] or [0.0]), 4),
        }
    bad = [i for i, s in enumerate(steps) if not s.right]
    good = [i for i, s in enumerate(steps) if s.right]
    figures["auc_of_entropy"] = auc([entropy[i] for i in bad], [entropy[i] for i in good])
    figures["auc_of_overconfidence"] = auc([confident[i] for i in bad], [confident[i] for i in good])
    figures["auc_of_least_likely"] = auc([-min(values[i]) for i in bad], [-min(values[i]) for i in good])
    order = sorted(range(len(steps)), key=lambda i: min(values[i]))
    first = set(order[: len(order) // 5])
    figures["errors_in_least_likely_fifth"] = share([i in first for i in bad])
    return figures


def judging(pair: Pair, steps: Sequence[Read]) -> Figures:
    """Verdicts of every model on small's steps."""
    figures: Figures = {}
    heads = [prompt(s.problem.text) + s.chain + s.text for s in steps]
    for name, cue in (("big", SCORE), ("small", SCORE), ("reward", "")):
        if name in pair.models:
            values = soft_verdict(*pair.models[name], [head + cue for head in heads])
            wrong, right = ([v for v, s in zip(values, steps, strict=True) if s.right is which] for which in (False, True))
            figures[name] = {"auc": auc([-v for v in wrong], [-v for v in right]),
                             "wrong_low": share([v < 0 for v in wrong]), "right_low": share([v < 0 for v in right])}  # fmt: skip
    model, tokenizer = pair.models["big"]
    befores = [e.ids for e in tokenizer.encode_batch([prompt(s.problem.text) + s.chain for s in steps])]
    tails = [e.ids for e in tokenizer.encode_batch([s.text for s in steps])]
    values = [mean(row) for row in score(model, befores, tails)]
    wrong, right = ([v for v, s in zip(values, steps, strict=True) if s.right is which] for which in (False, True))
    figures["log_probability_of_big"] = auc([-v for v in wrong], [-v for v in right])
    return figures


def correcting(pair: Pair, steps: Sequence[Read]) -> Figures:
    """Checks with a cue and without."""
    figures: Figures = {}
    heads = [prompt(s.problem.text) + s.chain + s.text for s in steps]
    inner = [i for i, s in enumerate(steps) if not s.truth.startswith("So the answer")]
    for name in ("big", "small"):
        model, tokenizer = pair.models[name]
        cued = [tokenizer.decode(ids) for ids in write(model, tokenizer, [heads[i] + CHECK for i in inner], limit=60, stop=END_OF_STEP)]
        same = {i: reply == f" {steps[i].short}" for i, reply in zip(inner, cued, strict=True)}
        free = pair.think(name, heads, limit=LIMIT)
        wrong = [i for i, s in enumerate(steps) if not s.right]
        figures[name] = {
            "check_right_after_wrong": share([same[i] for i in wrong if i in same]),
            "check_right_after_right": share([same[i] for i in inner if steps[i].right]),
            "wait_after_wrong": share([free[i].startswith(WAIT) for i in wrong]),
            "wait_after_right": share([free[i].startswith(WAIT) for i, s in enumerate(steps) if s.right]),
            "answer_right_after_wrong": share([boxed(free[i]) == steps[i].problem.answer for i in wrong]),
        }
    return figures


def hinting(pair: Pair) -> Figures:
    """Small with big's hints, of three lengths, from the beginning."""
    figures: Figures = {}
    heads = [prompt(p.text) for p in pair.problems]
    for cue in HINTS:
        model, tokenizer = pair.models["big"]
        hints = [tokenizer.decode(ids) for ids in write(model, tokenizer, [h + cue for h in heads], limit=120, stop=END_OF_STEP)]
        texts = pair.think("small", [f"{h}{cue}{hint}" for h, hint in zip(heads, hints, strict=True)])
        figures[cue] = {"small": share([boxed(t) == p.answer for t, p in zip(texts, pair.problems, strict=True)]),
                        "tokens": round(mean(len(tokenizer.encode(h).ids) for h in hints))}  # fmt: skip
    return figures


def closing(pair: Pair) -> Figures:
    """Cut right chains in the middle and ask for the answer: is it what is known?"""
    figures: Figures = {}
    heads: list[str] = []
    wanted: list[int] = []
    for place, problem in enumerate(pair.problems):
        walked = list(problem.walk())
        cut = walked[: 1 + place % len(walked)]
        heads.append(prompt(problem.text) + "".join(step.text for _, step in cut) + CLOSE)
        state, step = cut[-1]
        wanted.append(problem.guess({**state, **step.update}))
    for name in ("big", "small"):
        model, tokenizer = pair.models[name]
        texts = [tokenizer.decode(ids) for ids in write(model, tokenizer, heads, limit=8)]
        figures[name] = share([text.partition("}")[0] == str(value) for text, value in zip(texts, wanted, strict=True)])
    return figures


def second_pass(pair: Pair, problems: Sequence[Problem]) -> Figures:
    """Cue a second pass where a right chain would close: is its answer right, by all tokens of the context?"""
    figures: Figures = {}
    heads = [prompt(p.text) + "".join(step.text for _, step in p.walk()) + CONCLUSION.format(value=p.answer) + WAIT for p in problems]
    for name in ("big", "small"):
        tokenizer = pair.models[name][1]
        texts = pair.think(name, heads)
        whole = [len(e.ids) for e in tokenizer.encode_batch([head + text for head, text in zip(heads, texts, strict=True)])]
        hits = [boxed(text) == p.answer for text, p in zip(texts, problems, strict=True)]
        figures[name] = {"right": share(hits), "by_context": by_length(hits, whole, WHOLE), "longest": max(whole)}
    return figures


def going_on(pair: Pair, problems: Sequence[Problem]) -> Figures:
    """Go on from the middle of a right chain that somebody else wrote, to the right answer."""
    figures: Figures = {}
    walked = [list(p.walk()) for p in problems]
    heads = [prompt(p.text) + "".join(s.text for _, s in steps[: len(steps) // 2]) for p, steps in zip(problems, walked, strict=True)]
    for name in ("big", "small"):
        texts = pair.think(name, heads)
        figures[name] = share([boxed(text) == p.answer for text, p in zip(texts, problems, strict=True)])
    return figures


def rewriting(pair: Pair, problems: Sequence[Problem]) -> Figures:
    """Rewrite chains, right ones and others, in short: word for word as the recipe would, and how much of their tokens is left."""
    figures: Figures = {}
    heads: list[str] = []
    wanted: list[str] = []
    for place, problem in enumerate(problems):
        try:
            head, *rest = rewrite(Writer(random.Random(place), problem))
        except DeadEndError:
            continue
        heads.append(head.text + "".join(span.text for span in rest if not span.weight))
        wanted.append(rest[-2].text)
    for name in ("big", "small"):
        model, tokenizer = pair.models[name]
        texts = [tokenizer.decode(ids) for ids in write(model, tokenizer, heads, limit=min(1200, MOST))]
        figures[name] = {"same": share([text == short for text, short in zip(texts, wanted, strict=True)]), "chains": len(texts)}
    return figures


def old_stories(pair: Pair, limit: int) -> Figures:
    """The benchmark of the task `stories`, as the family of tales."""
    stories = random.Random(0).sample(first_stories("benchmark"), limit)
    figures: Figures = {}
    for name in ("big", "small"):
        texts = pair.think(name, [prompt(story.problem) for story in stories], limit=400)
        figures[name] = share([boxed(text) == story.answer for text, story in zip(texts, stories, strict=True)])
    return figures


def weighing(folder: Path) -> Figures:
    """Megabytes of the weights of every model."""
    sizes = {path.parent.name: path.stat().st_size / 1e6 for path in sorted(folder.glob("*/model.safetensors"))}
    return {**{name: round(size, 1) for name, size in sizes.items()}, "all": round(sum(sizes.values()), 1)}


def pacing(folder: Path, text: str) -> Figures:
    """Milliseconds of a token of each model, in the bundled engine, in turn on one core each."""
    from speculative.engines.base import CallStats, Decoding
    from speculative.engines.local import BundledEngine

    ends: dict[str, list[float]] = defaultdict(list)

    async def whole() -> None:
        engines = {name: BundledEngine.open(folder / name) for name in ("big", "small")}
        for turn in range(ROUNDS + 1):
            for name, engine in engines.items():
                stats, began = CallStats(), time.perf_counter()
                await engine.complete([engine.tokenizer.encode(text)], Decoding(PACED), key="", stats=stats)
                if turn:  # the first call also reads the prompt
                    ends[name].append(1000 * (time.perf_counter() - began) / stats.produced_tokens)
        for engine in engines.values():
            await engine.aclose()

    asyncio.run(whole())
    found = {name: round(median(values), 3) for name, values in ends.items()}
    return {**found, "ratio": round(found["big"] / found["small"], 2)}


def tries(pair: Pair, name: str, problems: Sequence[Problem], count: int) -> Figures:
    """How often a model solves each problem at a temperature."""
    texts = pair.think(name, [prompt(p.text) for p in problems for _ in range(count)], TEMPERATURE, seed=1)
    rates = [mean(boxed(t) == p.answer for t in texts[i * count : (i + 1) * count]) for i, p in enumerate(problems)]
    return {
        "mean": round(mean(rates), 4),
        "between_20_and_80": share([0.2 <= r <= 0.8 for r in rates]),
        "level": by(problems, rates, "level"),
    }


def asking(pair: Pair) -> Figures:
    """How the asking model asks when nobody answers: how often, and how often it is right all the same."""
    figures: Figures = {}
    for method in INSTRUCTIONS:
        texts = pair.think("asking", [prompt(instructed(p.text, method)) for p in pair.problems], limit=700)
        asks = [sum(text.count(tag) for tag in TAGS if not tag.startswith("</")) for text in texts]
        figures[method] = {"asks_at_all": share([a > 0 for a in asks]), "asks_a_chain": round(mean(asks), 2),
                           "right_alone": share([boxed(t) == p.answer for t, p in zip(texts, pair.problems, strict=True)])}  # fmt: skip
    return figures


def stages(pair: Pair, options: argparse.Namespace) -> Mapping[str, Callable[[], object]]:
    """Every figure by its name, what matters most first: a measurement may be ended early."""
    problems = pair.problems
    # families take turns in the files: every second problem would be three of them
    few = random.Random(0).sample(problems, min(options.tries, len(problems)))

    @cache
    def solved(name: str, temperature: float = 0.0) -> tuple[Figures, list[str]]:
        return solving(pair, name, temperature)

    @cache
    def steps() -> tuple[Figures, list[Read]]:
        return stepping(pair, solved("small", TEMPERATURE)[1])

    def judged(count: int) -> list[Read]:
        found = steps()[1]
        return [found[place * len(found) // count] for place in range(count)] if count < len(found) else found

    def written() -> str:
        chains = {"big": solved("big")[1], "small": solved("small")[1], "small_sampled": solved("small", TEMPERATURE)[1]}
        rows = [
            {"problem": p.text, "answer": p.answer, **{name: texts[i] for name, texts in chains.items()}} for i, p in enumerate(problems)
        ]
        options.chains.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return options.chains.name

    found: dict[str, Callable[[], object]] = {
        "big": lambda: solved("big")[0],
        "small": lambda: solved("small")[0],
        "small_sampled": lambda: solved("small", TEMPERATURE)[0],
        "chains": written,
        "steps": lambda: steps()[0],
        "judging": lambda: judging(pair, judged(options.judged)),
        "entropies": lambda: entropies(pair, judged(options.judged)),
        "big_16_tries": lambda: tries(pair, "big", few, 16),
        "weights": lambda: weighing(options.pair),
        "pace": lambda: pacing(options.pair, problems[-1].text),
        "closing": lambda: closing(pair),
        "going_on": lambda: going_on(pair, few),
        "rewriting": lambda: rewriting(pair, few),
        "second_pass": lambda: second_pass(pair, few),
        "correcting": lambda: correcting(pair, judged(options.corrected)),
        "hinting": lambda: hinting(pair),
        "asking": lambda: asking(pair),
        "old_stories": lambda: old_stories(pair, options.limit),
    }
    left_out = {"chains": not options.chains, "asking": "asking" not in pair.models, "pace": find_spec("msgspec") is None,
                "old_stories": "tales" not in LADDERS[options.ladder].families}  # fmt: skip
    return {name: stage for name, stage in found.items() if not left_out.get(name)}


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pair", type=Path, default=FOLDER, help="folder of the models")
    parser.add_argument("--ladder", choices=list(LADDERS), default=SECOND.name, help="the problems: those that ship, or harder ones")
    parser.add_argument("--json", type=Path, required=True, help="the figures; those that it holds are not measured again")
    parser.add_argument("--chains", type=Path, help="write all chains here")
    parser.add_argument("--limit", type=int, default=500, help="a random sample of the problems")
    parser.add_argument("--tries", type=int, default=64, help="problems that are tried 16 times")
    parser.add_argument("--judged", type=int, default=6000, help="steps of small that are judged, an even sample")
    parser.add_argument("--corrected", type=int, default=1200, help="steps of small behind which big and small write on, an even sample")
    options = parser.parse_args()
    problems = held_out("benchmark", LADDERS[options.ladder])
    problems = random.Random(0).sample(problems, options.limit) if options.limit < len(problems) else problems
    figures: Figures = json.loads(options.json.read_text()) if options.json.exists() else {}
    began = time.monotonic()
    for name, stage in stages(Pair(options.pair, problems), options).items():
        if name not in figures:
            figures[name] = stage()
            print(f"[{time.monotonic() - began:.0f} s] {name}: {json.dumps(figures[name])}", flush=True)
            options.json.write_text(json.dumps(figures, indent=1) + "\n")
    print(f"\n{table(figures)}")


if __name__ == "__main__":
    main()
