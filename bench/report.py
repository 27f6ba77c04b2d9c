"""Measures the size of a report, and the time to write it and to open it in a browser.

    python bench/report.py [--chains 2000] [--tokens 8000] [--runs 5] [--json FILE] [--keep DIR]

Makes a run folder of that size and writes its report with the command; on a busy machine use the seconds of processor time. The text
is technical English (sentences of Python's help topics in random order) between lines of arithmetic; deflate shrinks it less than
solutions of MATH-500. Every chain has a hand-over every 16 tokens, and a fifth of the small model's text is rejected. "open" is from the
navigation to the first drawn problem, in headless Chromium (`--browser`), "a chain" from the click on a problem to its first text.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import re
import shutil
import statistics
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from pydoc_data.topics import topics
from typing import Any

from playwright.async_api import async_playwright

from speculative.cli import run
from speculative.engines.base import Completion
from speculative.problem import Problem
from speculative.runs.folder import RunFolder
from speculative.runs.sample import Sample
from speculative.trace.events import Accepted, Answered, AnyEvent, Call, Drafted, Ended, EngineCard, Proposal, Rejected, Started, Wrote
from speculative.trace.trace import Trace

METHODS, CHUNK = 10, 16
TOKENIZER = 150_000
PIECE = re.compile(r" ?[A-Za-z_]{1,12}| ?\d{1,4}|[^\sA-Za-z\d_]+|\s+")
"""About four characters, as a model's tokens are."""


def pieces(chance: random.Random) -> Iterator[str]:
    """Endless text, token by token."""
    prose = [" ".join(sentence.split()) for text in topics.values() for sentence in re.split(r"(?<=[.:])\s", text)]
    sentences = [sentence for sentence in prose if 30 < len(sentence) < 300]
    while True:
        a, b = chance.randrange(2, 900), chance.randrange(2, 90)
        told = [chance.choice(sentences) for _ in range(chance.randrange(1, 4))]
        yield from PIECE.findall(f"{' '.join(told)} So {a} * {b} + {a} = {a * b + a}.\n\n")


class Writer:
    """Makes the events of one chain."""

    def __init__(self, chance: random.Random) -> None:
        self.chance, self.text, self.number = chance, pieces(chance), 0

    def proposal(self, parent: int | None = None) -> Proposal:
        self.number += 1
        text = "".join(next(self.text) for _ in range(CHUNK))
        ids = tuple(self.chance.randrange(TOKENIZER) for _ in range(CHUNK))
        return Proposal(self.number, parent, text, Completion(ids, "length"), 0, "thinking")

    def events(self, problem: Problem, tokens: int) -> Iterator[AnyEvent]:
        cards = {role: EngineCard(f"bench:{role}", "plain", "0", 32768) for role in ("big", "small")}
        yield Started(problem=problem, method="bench", params={}, engines=cards, library="bench")
        for place in range(tokens // CHUNK):
            role = "big" if self.chance.random() < 0.3 else "small"
            if role == "small" and self.chance.random() < 0.2:
                draft = self.proposal()
                yield Drafted(call=_call(role), seed=place, proposals=(draft,))
                yield Rejected(drafts=(draft.id,), reason="the big model did not agree")
            if place % 7:
                yield Wrote(call=_call(role), seed=place, proposal=self.proposal())
            else:
                draft = self.proposal()
                yield Drafted(call=_call(role), seed=place, proposals=(draft,))
                yield Accepted(drafts=(draft.id,))
        done = Completion((1, 2, 3), "end", end_id=0)
        yield Answered(call=_call("big", 4), seed=0, cue="", proposal=Proposal(self.number + 1, None, "\\boxed{7}", done, 0, "answer"))
        yield Ended(finish_reason="stop", seconds=100.0)


def _call(role: str, tokens: int = CHUNK) -> Call:
    return Call(role, 1, 1000, 990, tokens, 0, 0.2)


def fill(folder: Path, chains: int, tokens: int) -> dict[str, Any]:
    """A run folder of that size; how well its text is deflated, by itself."""
    chance = random.Random(0)
    raw = packed = small = 0
    with RunFolder(folder) as kept:
        for number in range(chains):
            method, place = number % METHODS, number // METHODS
            problem = Problem.of(f"Problem {place}: " + "".join(piece for piece, _ in zip(pieces(chance), range(80), strict=False)))
            trace = Trace(list(Writer(chance).events(problem, tokens)))
            text = trace.ledger.text("thinking").encode()
            raw, packed = raw + len(text), packed + (len(zlib.compress(text, 9)) if number < 20 else 0)
            small = raw if number < 20 else small
            kept.append(_sample(method, place, trace, chance), trace)
    return {"bytes of text": raw, "deflated text, part": packed / small}


def _sample(method: int, place: int, trace: Trace, chance: random.Random) -> Sample:
    name = "random_switch" if method > 4 else f"method_{method}"
    params = {"big_share": method / 10} if method > 4 else {}
    return Sample(
        task="bench",
        label=f"{name}({method})",
        method=name,
        params=params,
        settings={},
        problem=f"p{place:04}",
        level=str(place % 5),
        epoch=0,
        seed=place,
        gold="7",
        answer="\\boxed{7}",
        found="7",
        vote="7",
        correct=chance.random() < 0.4 + method / 20,
        why="equal to the gold answer",
        finish_reason="stop",
        seconds=100.0,
        usage=trace.usage(),
    )


async def opened(page: Path, browser: str) -> dict[str, float]:
    """Seconds, in a browser that was just started."""
    async with async_playwright() as driver:
        started = await driver.chromium.launch(executable_path=browser)
        tab = await started.new_page()
        await tab.goto(page.as_uri())
        await tab.wait_for_selector(".problem")
        drawn = await tab.evaluate("performance.now()")
        begin = time.perf_counter()
        await tab.click(".opener >> nth=0")
        await tab.wait_for_selector(".run")
        chain = time.perf_counter() - begin
        await started.close()
    return {"open, s": drawn / 1000, "a chain, s": chain}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chains", type=int, default=2000)
    parser.add_argument("--tokens", type=int, default=8000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--browser", default="/usr/bin/chromium")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--keep", type=Path, help="make the folder here and leave it")
    arguments = parser.parse_args()
    folder = arguments.keep or Path(tempfile.mkdtemp())
    try:
        made = fill(folder / "run", arguments.chains, arguments.tokens)
        page = folder / "report.html"
        begin, worked = time.perf_counter(), time.process_time()
        if run(["report", str(folder / "run"), "--out", str(page)]):
            raise SystemExit("the report was not written")
        made |= {"write, s": time.perf_counter() - begin, "write, s of processor": time.process_time() - worked}
        made["size, MB"] = page.stat().st_size / 1e6
        runs = [asyncio.run(opened(page, arguments.browser)) for _ in range(arguments.runs)]
    finally:
        if not arguments.keep:
            shutil.rmtree(folder)
    for name, value in made.items():
        print(f"{name:22}{value:>14,.2f}")
    for name in runs[0]:
        values = [one[name] for one in runs]
        print(f"{name:22}{statistics.median(values):>14.2f}{min(values):>9.2f}{max(values):>9.2f}")
    if arguments.json:
        told = {"command": sys.argv, "made": made, "runs": runs}
        arguments.json.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
