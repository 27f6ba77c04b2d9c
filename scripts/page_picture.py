"""Takes a picture of a page that `speculative report` or `speculative show --web` wrote.

    python scripts/page_picture.py PAGE.html PICTURE.png [--size 1200x900] [--problem ID [--label METHOD]] [--part SELECTOR] [--dark]

With a problem, its chains are opened, those of the method first in view. With a part, the picture shows that part of
the page alone. Needs Chromium (`--browser`) and playwright.
"""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from playwright.async_api import async_playwright


async def take(page: str, picture: Path, size: str, problem: str, label: str, part: str, dark: bool, browser: str) -> None:
    width, height = map(int, size.split("x"))
    async with async_playwright() as driver:
        started = await driver.chromium.launch(executable_path=browser)
        look = "dark" if dark else "light"
        tab = await started.new_page(viewport={"width": width, "height": height}, color_scheme=look, reduced_motion="reduce")
        await tab.goto(page + (f"#{problem}" if problem else ""))
        await tab.wait_for_selector("#wait", state="detached")
        if problem:
            row = tab.locator(".problem", has=tab.locator(".column"))
            if label:
                await row.locator(f'button.cell[title^="{label}:"]').click()
                await tab.evaluate("document.activeElement.blur()")
                await tab.mouse.move(0, 0)
            await tab.wait_for_selector(".column .run")
            await row.evaluate("row => row.scrollIntoView()")
        await tab.wait_for_timeout(500)
        await (tab.locator(part) if part else tab).screenshot(path=picture)
        await started.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", type=lambda path: Path(path).resolve().as_uri())
    parser.add_argument("picture", type=Path)
    parser.add_argument("--size", default="1200x900")
    parser.add_argument("--problem", default="")
    parser.add_argument("--label", default="")
    parser.add_argument("--part", default="")
    parser.add_argument("--dark", action="store_true")
    parser.add_argument("--browser", default="/usr/bin/chromium")
    asyncio.run(take(**vars(parser.parse_args())))


if __name__ == "__main__":
    main()
