"""The page of a service in a real browser, and what its tests do there."""

import json
import os
from pathlib import Path
from urllib.parse import quote

from speculative import Pair, Problem, asolve
from speculative.testing import ScriptedEngine

BROWSER = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
LONG = "".join(f"Step {number} of it.\n\n" for number in range(60)) + "</think>\n\nThe answer is \\boxed{4}.<|im_end|>"
ENDLESS = "".join(f"Step {number} of it.\n\n" for number in range(3000))
"""A text that a chain is still writing when the test has done with it."""


class Tab:
    """A page of a service; `trouble` is all that it complained of, `asked` the addresses that it asked for."""

    def __init__(self, page, url):
        self.page, self.url, self.trouble, self.asked, self.posted = page, url, [], [], []
        page.on("console", lambda message: self.trouble.append(message.text))
        page.on("pageerror", lambda error: self.trouble.append(str(error)))
        page.on("dialog", lambda dialog: self.trouble.append(f"dialog {dialog.message}"))
        page.on("request", self._note)

    def _note(self, request):
        self.asked.append(request.url)
        if request.method == "POST":
            self.posted.append(json.loads(request.post_data))

    async def open(self, hash=""):
        await self.page.goto(f"{self.url}/{hash}")
        await self.page.wait_for_selector("#problem")
        return self.page

    async def ask(self):
        await self.page.focus("#problem")
        await self.page.keyboard.press("Enter")

    def check(self):
        """Nothing was complained of, and nothing was asked of another address."""
        assert self.trouble == []
        assert all(url.startswith((f"{self.url}/", "blob:")) for url in self.asked)


async def opened(browser, served, hash="", **options):
    context = await browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
    tab = Tab(await context.new_page(), served.url)
    await tab.open(hash)
    return tab


def link(problem="2 + 2?", *methods, seed="1", tokens=""):
    contenders = [{"name": name, "typed": typed, "wrappers": []} for name, typed in methods or [("random_switch", {"unit": "step"})]]
    settings = {"problem": problem, "contenders": contenders, "seed": seed, "temperature": "", "tokens": tokens, "seconds": ""}
    return "#ask=" + quote(json.dumps(settings))


async def written(view):
    """The text of the chain; a formula counts as its source."""
    return await view.locator(".run .words").evaluate_all("""all => all.map(one => {
        const copy = one.cloneNode(true);
        for (const formula of copy.querySelectorAll(".formula")) formula.remove();
        return copy.textContent;
    }).join("")""")


DROP = """async ([name, text]) => {
  const data = new DataTransfer();
  data.items.add(new File([text], name));
  document.body.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
}"""


async def judged_trace():
    script = "First this.\n\nThen that.\n\nAt last so.</think>\n\nThe answer is \\boxed{7}."
    async with Pair(ScriptedEngine(script, name="B"), ScriptedEngine(script, name="S")) as engines:
        return (await asolve(Problem.of("How?"), "likelihood_verify", pair=engines, threshold=-1.0)).trace
