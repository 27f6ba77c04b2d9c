"""Measures whether the viewer keeps up with a long chain, in headless Chromium.

    python bench/page.py [--drafts 1000] [--tokens 20] [--pause 0.002] [--browser /usr/bin/chromium]

A chain has `drafts` drafts with `tokens` tokens each, of which every second one is rejected and written again. First the service
streams it, from a pair that writes five tokens at once and then waits `pause` seconds. Then a trace of such a chain is dropped on the
page and played there in 14 s. The time between two frames is measured in the browser.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import threading
from pathlib import Path
from urllib.parse import quote

from playwright.async_api import async_playwright

from speculative.engines.base import Completion
from speculative.problem import Problem
from speculative.serve.app import opened
from speculative.serve.server import bind, make_server
from speculative.settings import Settings
from speculative.trace.events import Accepted, AnyEvent, Call, Drafted, Ended, EngineCard, Judgement, Proposal, Rejected, Started, Wrote
from speculative.trace.trace import Trace

sys.path.append(str(Path(__file__).parents[1] / "tests" / "serve"))

from long_chain import long_pair

SECOND = 100
"""Tokens that a model writes in a second."""
WORDS = "so it goes on and on and a little further than it went before until the step is long enough to be one of its own kind"
DROP = """async (text) => {
  const data = new DataTransfer();
  data.items.add(new File([text], "chain.jsonl"));
  document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
}"""
FRAMES = """async ([button, word]) => {
  [...document.querySelectorAll("button")].find((one) => one.textContent.includes(button)).click();
  const frames = [];
  let before = performance.now();
  let seen = false;
  await new Promise((resolve) => {
    const frame = (now) => {
      frames.push(now - before);
      before = now;
      const playing = document.querySelector(".state")?.textContent.includes(word);
      seen ||= playing;
      if (playing || !seen) requestAnimationFrame(frame);
      else resolve();
    };
    requestAnimationFrame(frame);
  });
  return frames.slice(1);
}"""


def long_trace(drafts: int, tokens: int) -> Trace:
    """Makes a trace of scored drafts, of which every second one is rejected."""
    cards = {role: EngineCard(role, "plain", "0", 1 << 20) for role in ("big", "small")}
    happened: list[AnyEvent] = [Started(problem=Problem.of("How?"), method="likelihood_verify", params={}, engines=cards, library="bench")]
    at, number = 0.0, 0

    def written(role: str) -> tuple[Call, Proposal]:
        nonlocal at, number
        number += 1
        seconds = tokens / SECOND
        call = Call(role, 1, 10, 0, tokens, 0, seconds, began=at)
        at += seconds
        text = " ".join(WORDS.split()[(number + place) % 26] for place in range(tokens)) + ".\n\n"
        completion = Completion(tuple(range(tokens)), "stop", logprobs=tuple(-0.1 for _ in range(tokens)))
        return call, Proposal(number, None, text, completion, 0, "thinking")

    for place in range(drafts):
        call, proposal = written("small")
        happened.append(Drafted(at=at, call=call, seed=1, proposals=(proposal,)))
        if place % 2:
            happened.append(Accepted(at=at, drafts=(proposal.id,), judgement=Judgement(-0.5, -1.0, "big")))
            continue
        happened.append(Rejected(at=at, drafts=(proposal.id,), reason="the score is too low", judgement=Judgement(-2.0, -1.0, "big")))
        call, proposal = written("big")
        happened.append(Wrote(at=at, call=call, seed=1, proposal=proposal))
    return Trace([*happened, Ended(at=at, finish_reason="stop", seconds=at)])


def link() -> str:
    """Returns the part of the page's address that asks for the chain."""
    contender = {"name": "likelihood_verify", "typed": {"threshold": "-1"}, "wrappers": []}
    settings = {"problem": "How?", "contenders": [contender], "seed": "1", "temperature": "", "tokens": "60000", "seconds": ""}
    return "#ask=" + quote(json.dumps(settings))


async def watch(url: str, browser: str, trace: Trace | None = None) -> dict[str, float]:
    """Asks for the chain, or plays the trace, on the page, and returns what was measured there."""
    async with async_playwright() as driver:
        started = await driver.chromium.launch(executable_path=browser)
        page = await started.new_page(viewport={"width": 1280, "height": 900})
        await page.goto(url if trace else f"{url}/{link()}")
        await page.locator("#problem").wait_for()
        if trace:
            await page.evaluate(DROP, trace.dump().decode())
            await page.locator(".run").first.wait_for()
        frames = sorted(await page.evaluate(FRAMES, ["Replay", "replay"] if trace else ["Start", "writing"]))
        kept = [int(text.replace(",", "")) for text in await page.locator(".counts tbody td:nth-child(2)").all_inner_texts()]
        drafts = await page.locator(".drafts").count() + await page.locator(".run.accepted").count()
        await started.close()
    return {
        "tokens": sum(kept),
        "drafts": drafts,
        "frames": len(frames),
        "seconds": sum(frames) / 1000,
        "under_50_ms": sum(frame < 50 for frame in frames) / len(frames),
        "p95_ms": frames[int(0.95 * (len(frames) - 1))],
        "longest_ms": frames[-1],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--drafts", type=int, default=1000)
    parser.add_argument("--tokens", type=int, default=20)
    parser.add_argument("--pause", type=float, default=0.002)
    parser.add_argument("--browser", default="/usr/bin/chromium")
    given = parser.parse_args()
    settings = Settings(port=0, log_level="error")
    server, bound = make_server(settings, opened(long_pair(given.drafts, given.tokens, given.pause))), bind(settings)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    try:
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        found = {"streamed": asyncio.run(watch(url, given.browser))}
        found["replayed"] = asyncio.run(watch(url, given.browser, long_trace(given.drafts, given.tokens)))
        print(json.dumps(found, indent=2))
    finally:
        server.stop()
        thread.join()
        bound.close()


if __name__ == "__main__":
    main()
