"""Takes pictures of the service's page.

One is after a run, one is of a comparison, and an animated one is of a slow replay.

python scripts/live_pictures.py FOLDER

It starts the service on the bundled pair. Needs Chromium (`--browser`), playwright and pillow.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

from PIL import Image
from playwright.async_api import Page, async_playwright

PROBLEM = (
    "A: Max has 37 shells.\n"
    "B: Sara has 40 shells.\n"
    "C: Max gets half of the shells of Sara.\n"
    "D: Max buys 6 boxes with 4 shells each.\n"
    "E: Sara finds 2 bags of 8 shells.\n"
    "F: Max sells 8 boxes with 8 shells each.\n"
    "G: Sam takes 3 shells from Max.\n"
    "H: Sara loses 4 coins.\n"
    "I: Max is 33 years old.\n"
    "J: Lena gives Sara 43 shells.\n"
    "How many shells do Sara and Max have together at the end?"
)
WATCHED = {"name": "likelihood_verify", "typed": {}, "wrappers": []}
OTHER = {"name": "big_only", "typed": {}, "wrappers": []}
SEED = "4"
EVERY_S, FRAMES = 0.4, 40


def address(url: str, *contenders: dict[str, object]) -> str:
    """Returns the link that holds these settings."""
    settings = {"problem": PROBLEM, "contenders": contenders, "seed": SEED, "temperature": "", "tokens": "", "seconds": ""}
    return f"{url}/#ask={quote(json.dumps(settings))}"


async def ask(page: Page, url: str, *contenders: dict[str, object]) -> None:
    """Opens the page with these settings, asks, and waits for the end."""
    await page.goto("about:blank")
    await page.goto(address(url, *contenders))
    await page.get_by_role("button", name="Start").click()
    for place in range(len(contenders)):
        await page.locator(".run-view.done").nth(place).wait_for()


async def animate(page: Page, target: Path) -> None:
    """Plays the chain again, slowly, and saves what is seen as an animated picture."""
    await page.locator(".results").evaluate("one => one.scrollIntoView()")
    await page.get_by_role("button", name="Replay slowly").click()
    await page.locator(".state", has_text="replay").wait_for()
    frames: list[Image.Image] = []
    for _ in range(FRAMES):
        shot = await page.locator(".run-view").screenshot()
        frames.append(Image.open(io.BytesIO(shot)).convert("RGB"))
        if await page.locator(".state", has_text="replay").count() == 0:
            break
        await page.wait_for_timeout(1000 * EVERY_S)
    width, height = max(one.width for one in frames), max(one.height for one in frames)
    even = [Image.new("RGB", (width, height), "#fdfdfc") for _ in frames]
    for sheet, frame in zip(even, frames, strict=True):
        sheet.paste(frame)
    small = [one.resize((width * 4 // 5, height * 4 // 5), Image.Resampling.LANCZOS).quantize(64, dither=Image.Dither.NONE) for one in even]
    waits = [int(1000 * EVERY_S)] * (len(small) - 1) + [4000]
    small[0].save(target, save_all=True, append_images=small[1:], duration=waits, loop=0, optimize=True)


async def take(url: str, folder: Path, browser: str) -> None:
    """Takes all pictures."""
    async with async_playwright() as driver:
        started = await driver.chromium.launch(executable_path=browser)
        page = await started.new_page(viewport={"width": 1280, "height": 860}, color_scheme="light", reduced_motion="reduce")
        await ask(page, url, WATCHED)  # the first run warms the models up
        await ask(page, url, WATCHED)
        await page.get_by_label("open drafts").check()
        await page.evaluate("scrollTo(0, 0)")
        await page.wait_for_timeout(500)
        await page.screenshot(path=folder / "page.png")
        await page.get_by_label("open drafts").uncheck()
        await animate(page, folder / "page.gif")
        await ask(page, url, WATCHED, OTHER)
        await page.evaluate("scrollTo(0, 0)")
        await page.wait_for_timeout(500)
        await page.screenshot(path=folder / "page-compare.png")
        await started.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--browser", default="/usr/bin/chromium")
    given = parser.parse_args()
    command = [sys.executable, "-m", "speculative", "serve", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as service:
        assert service.stderr is not None
        try:
            listening = json.loads(service.stderr.readline())
            asyncio.run(take(listening["url"].removesuffix("/v1"), given.folder, given.browser))
        finally:
            service.terminate()


if __name__ == "__main__":
    main()
