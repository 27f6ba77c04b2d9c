"""Measures whether the service's page keeps up with a long chain, in headless Chromium.

    python bench/page.py [--steps 1000] [--tokens 20] [--pace 0.001] [--browser /usr/bin/chromium]

A scripted pair writes a chain of `steps` drafts with `tokens` tokens each; every second draft is rejected and written again. The page
watches, and the time between two of its frames is measured in the browser from the first text to the end.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import threading
import time
from urllib.parse import quote

from playwright.async_api import async_playwright

from speculative.pair import Pair
from speculative.serve.app import opened
from speculative.serve.server import bind, make_server
from speculative.settings import Settings
from speculative.testing import ScriptedEngine

WIDTH = 2
"""Bytes of a token."""
FRAMES = """() => {
  window.frames_ms = [];
  let before = 0;
  const frame = (now) => {
    if (before) window.frames_ms.push(now - before);
    before = now;
    if (!document.querySelector(".run-view.done, .run-view.failed")) requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
}"""


def script(steps: int, tokens: int) -> str:
    """Returns a chain's text, of which every step has so many tokens."""
    size = tokens * WIDTH
    lines = [f"Step {number}: so it goes on, and on, and on, and on and on".ljust(size)[: size - 2] + "\n\n" for number in range(steps)]
    return "".join(lines) + "</think>\n\nThe answer is \\boxed{7}.<|im_end|>"


async def watch(url: str, budget: int, browser: str) -> dict[str, float]:
    """Asks on the page and returns what was measured there."""
    contender = {"name": "likelihood_verify", "typed": {"threshold": "-1"}, "wrappers": []}
    settings = {"problem": "How?", "contenders": [contender], "seed": "1", "temperature": "", "tokens": str(budget), "seconds": ""}
    async with async_playwright() as driver:
        started = await driver.chromium.launch(executable_path=browser)
        page = await started.new_page(viewport={"width": 1280, "height": 900})
        await page.goto(f"{url}/#ask={quote(json.dumps(settings))}")
        await page.get_by_role("button", name="Start").click()
        await page.locator(".run").first.wait_for()
        began = time.perf_counter()
        await page.evaluate(FRAMES)
        await page.locator(".run-view.done").wait_for(timeout=600_000)
        seconds = time.perf_counter() - began
        frames = sorted(await page.evaluate("window.frames_ms"))
        kept = [int(text.replace(",", "")) for text in await page.locator(".counts tbody td:nth-child(2)").all_inner_texts()]
        drafts = await page.locator(".drafts").count() + await page.locator(".run.accepted").count()
        await started.close()
    return {
        "tokens": sum(kept),
        "drafts": drafts,
        "seconds": seconds,
        "frames": len(frames),
        "under_50_ms": sum(frame < 50 for frame in frames) / len(frames),
        "p95_ms": frames[int(0.95 * (len(frames) - 1))],
        "longest_ms": frames[-1],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--tokens", type=int, default=20)
    parser.add_argument("--pace", type=float, default=0.001, help="seconds for each token")
    parser.add_argument("--browser", default="/usr/bin/chromium")
    given = parser.parse_args()
    text = script(given.steps, given.tokens)
    judged = iter(range(given.steps * 2))
    engines = Pair(
        ScriptedEngine(text, name="B", delay=given.pace, width=WIDTH, scores=lambda *_: -2.0 if next(judged) % 2 else -0.5),
        ScriptedEngine(text, name="S", delay=given.pace, width=WIDTH),
    )
    settings = Settings(port=0, log_level="error")
    server, bound = make_server(settings, opened(engines)), bind(settings)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
    thread.start()
    try:
        url = f"http://127.0.0.1:{bound.getsockname()[1]}"
        print(json.dumps(asyncio.run(watch(url, 4 * given.steps * given.tokens, given.browser)), indent=2))
    finally:
        server.stop()
        thread.join()
        bound.close()


if __name__ == "__main__":
    main()
