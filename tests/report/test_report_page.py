"""The pages in a real browser. Needs Chromium (Debian: `apt-get install chromium`) where `CHROMIUM` says, or in /usr/bin."""

import json
import os
from pathlib import Path

import pytest
from made import METHODS, real_run, sample, saying
from playwright.async_api import async_playwright, expect

from speculative import Pair, Problem, asolve
from speculative.cli import run
from speculative.report.chain_page import chain_page
from speculative.report.timeline import Timeline
from speculative.runs.folder import RunFolder
from speculative.testing import ScriptedEngine

BROWSER = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
AXE = Path(__file__).parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not BROWSER.exists(), reason=f"needs Chromium at {BROWSER}")]

STROKES = """async () => {
  for (const drafts of document.querySelectorAll(".drafts")) drafts.open = true;
  await new Promise((resolve) => setTimeout(resolve));  // drafts are made when they are opened
  await new Promise((resolve) => requestAnimationFrame(resolve));
  const source = (element) => {
    const copy = element.cloneNode(true);
    for (const formula of copy.querySelectorAll(".formula")) formula.remove();
    return [...copy.querySelectorAll(".words")].map((words) => words.textContent).join("");
  };
  const found = [];
  for (const element of document.querySelector(".text").querySelectorAll(".run, .note, .draft")) {
    if (element.matches(".note")) found.push({ text: element.textContent, status: "note" });
    else if (element.matches(".draft")) {
      found.push({ author: element.querySelector(".who").textContent, text: source(element), status: "discarded" });
    }
    else if (element.hasAttribute("data-more")) found.at(-1).text += source(element);
    else found.push({ author: element.dataset.author, text: source(element), status: "kept" });
  }
  return found;
}"""


class Tab:
    """A page of the browser; `trouble` is all that it complained of, `asked` all that it asked a network for."""

    def __init__(self, page):
        self.page, self.trouble, self.asked = page, [], []
        page.on("console", lambda message: self.trouble.append(message.text))
        page.on("pageerror", lambda error: self.trouble.append(str(error)))
        page.on("dialog", lambda dialog: self.trouble.append(f"dialog {dialog.message}"))
        page.on("request", lambda request: self.asked.append(request.url))

    async def open(self, path):
        await self.page.goto(path.as_uri())
        await self.page.wait_for_selector("#wait", state="detached")
        return self.page

    def check(self, path):
        assert self.trouble == []
        assert set(self.asked) == {path.as_uri()}


@pytest.fixture
async def tab():
    async with async_playwright() as driver:
        browser = await driver.chromium.launch(executable_path=BROWSER)
        yield Tab(await browser.new_page(viewport={"width": 1200, "height": 900}))
        await browser.close()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run folder of real chains, made once."""
    return real_run(tmp_path_factory.mktemp("made") / "run", epochs=2)


PROFILE = ("--profile", "h200-32b-1.5b", "--gpu-hour", "3.6")


def reported(tmp_path, *folders, more=()):
    page = tmp_path / "report.html"
    assert run(["report", *map(str, folders), "--out", str(page), *more]) == 0
    return page


async def texts(page, selector):
    return await page.locator(selector).all_inner_texts()


async def test_the_report_shows_every_method_and_problem(tab, tmp_path, folder):
    path = reported(tmp_path, folder)
    page = await tab.open(path)
    assert await texts(page, "#methods .sorted >> nth=0 >> tbody th .label") == list(METHODS)
    assert await texts(page, ".problem .id") == ["p0", "p1", "p2", "p3"]
    assert await page.locator(".point").count() == len(METHODS)
    assert await page.locator(".problem >> nth=0 >> button.cell").count() == len(METHODS)
    assert "speculative compare" in await page.locator("#provenance").inner_text()
    tab.check(path)


async def test_a_profile_has_a_section_of_predictions(tab, tmp_path, folder, capsys):
    path = reported(tmp_path, folder, more=(*PROFILE, "--json"))
    rows = {row["label"]: row["on_hardware"] for row in json.loads(capsys.readouterr().out)}
    page = await tab.open(path)
    told = await page.locator("#hardware").inner_text()
    for words in ("Predicted, not measured", "h200-32b-1.5b", "two NVIDIA H200", "vLLM 0.26.0", "2026-", "big and small on a GPU each"):
        assert words in told
    assert await texts(page, "#hardware tbody th .label") == list(METHODS)
    titles = await texts(page, "#hardware thead th")
    assert titles == [
        "method",
        *("seconds, 1 chain", "chains per GPU-hour, 1 chain", "seconds, 256 chains", "chains per GPU-hour, 256 chains"),
        *("against big, 256 chains", "money, 1,000 chains"),
    ]
    for place, label in enumerate(METHODS):
        cells = await texts(page, f"#hardware tbody tr >> nth={place} >> td")
        alone, crowd = rows[label][0], rows[label][-1]
        figures = [alone["latency_s"], alone["chains_per_gpu_hour"], crowd["latency_s"], crowd["chains_per_gpu_hour"]]
        assert [float(cell.replace(",", "")) for cell in cells[:4]] == pytest.approx(figures, rel=0.01)
        assert cells[5] == f"{1000 * crowd['money']:.3g}"
    await page.locator("#hardware thead button >> nth=1").click()
    assert (await texts(page, "#hardware tbody th .label"))[0] == "small_only"
    tab.check(path)


async def test_without_a_profile_no_section_predicts(tab, tmp_path, folder):
    page = await tab.open(reported(tmp_path, folder))
    assert await page.locator("#hardware").count() == 0


@pytest.mark.skipif(not AXE.exists(), reason="needs axe-core: npm ci in web/")
@pytest.mark.parametrize("look", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1280])
async def test_axe_finds_no_violation_in_the_report(tab, tmp_path, folder, look, width):
    path = reported(tmp_path, folder, more=PROFILE)
    page = await tab.open(path)
    await page.set_viewport_size({"width": width, "height": 900})
    await page.emulate_media(color_scheme=look, reduced_motion="reduce")
    await page.evaluate(AXE.read_text(encoding="utf-8"))
    found = await page.evaluate("axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice']})")
    assert [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in found["violations"]] == []
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    if width == 375:  # no name of a method is cut in two
        broken = await page.locator("#methods .sorted tbody th .label").evaluate_all(
            "all => all.filter(one => one.getClientRects().length > 1 && !one.textContent.includes('_')).length"
        )
        assert broken == 0


async def test_accuracy_is_drawn_against_each_cost(tab, tmp_path, folder):
    path = reported(tmp_path, folder)
    page = await tab.open(path)
    titles = set()
    for choice in await page.locator(".axes label").all():
        await choice.click()
        titles.add(await page.locator(".plot .title").text_content())
        assert await page.locator(".point").count() == len(METHODS)
        assert await page.locator(".plot path.coin").count() == 1
    assert len(titles) == await page.locator(".axes label").count() >= 4
    await page.locator(".point >> nth=0").focus()
    assert "big_only" in await page.locator(".frontier .said").inner_text()
    tab.check(path)


async def test_methods_that_an_axis_leaves_out_are_named(tab, tmp_path):
    with RunFolder(tmp_path / "run") as made:
        for label, crowd in (("big_only", 1.0), ("small_only", 1.0), ("mine", 64.0)):
            made.append(sample(label, mean_concurrency=crowd))
    page = await tab.open(reported(tmp_path, tmp_path / "run"))
    left = page.locator(".frontier .hint")
    assert not await left.is_visible()
    await page.locator(".axes label", has_text="time").first.click()
    assert "Left out: mine" in await left.inner_text()


async def test_the_table_is_sorted_by_a_click_and_by_the_keyboard(tab, tmp_path, folder):
    page = await tab.open(reported(tmp_path, folder))
    heading = page.locator("#methods .sorted >> nth=0 >> th button", has_text="big tokens")
    numbers = "#methods .sorted >> nth=0 >> tbody td:nth-child(5)"
    await heading.click()
    up = [float(text.replace(",", "")) for text in await texts(page, numbers)]
    assert up == sorted(up)
    await page.keyboard.press("Enter")
    down = [float(text.replace(",", "")) for text in await texts(page, numbers)]
    assert down == sorted(up, reverse=True)
    assert await page.locator("th[aria-sort=descending]").count() == 1


async def test_problems_are_filtered(tab, tmp_path, folder):
    page = await tab.open(reported(tmp_path, folder))
    found = page.locator(".problem")
    await page.get_by_label("level").select_option("1")
    assert await texts(page, ".problem .id") == ["p0", "p2"]
    await page.get_by_label("level").select_option("")
    await page.get_by_role("searchbox").fill("who has 3")
    await expect(page.locator(".problem")).to_have_count(1)
    assert await texts(page, ".problem .id") == ["p3"]
    await page.get_by_role("searchbox").fill("")
    await expect(page.locator(".problem")).to_have_count(4)
    await page.get_by_label("verdict").select_option("none")
    assert await found.count() == 0
    await page.get_by_label("verdict").select_option("split")
    assert await found.count() == 4
    await page.locator(".chips summary").click()
    await page.get_by_role("button", name="none").click()
    assert await found.count() == 0
    await page.get_by_role("checkbox", name="small_only").check()
    assert await page.locator(".problem >> nth=0 >> .cell").count() == 1


async def test_chains_stand_side_by_side_with_their_verdicts(tab, tmp_path, folder):
    path = reported(tmp_path, folder)
    page = await tab.open(path)
    await page.locator(".opener >> nth=0").click()
    columns = page.locator(".column")
    assert await columns.count() == 2 * len(METHODS)
    await page.wait_for_selector(".column .run")
    outcome = await columns.nth(0).locator(".outcome").inner_text()
    assert outcome.startswith(("✓ right 7", "✗ wrong 8"))
    assert "At last so." in await columns.nth(0).locator(".text").inner_text()
    assert not await page.locator(".column .run .who >> nth=0").evaluate("one => one.offsetWidth > 1")
    await page.get_by_label("author labels").check()
    assert await page.locator(".column .run .who >> nth=0").evaluate("one => one.offsetWidth > 1")
    await page.locator(".problem >> nth=0 >> .cell >> nth=5").click()
    assert "logprob_subselect" in await page.evaluate("document.activeElement.getAttribute('aria-label')")
    await page.wait_for_selector(".column:focus .drafts")
    await page.get_by_label("open drafts").check()
    assert await page.locator(".column[aria-label^=logprob] .drafts[open]").count() > 0
    await page.locator(".opener >> nth=0").click()
    assert await columns.count() == 0
    tab.check(path)


@pytest.mark.parametrize("method", ["random_switch", "spec_rewrite", "logprob_subselect", "placeholder", "vote(ballots=3)*big_only"])
async def test_a_page_shows_the_timeline_of_its_trace(tab, tmp_path, method):
    wrapper, _, name = method.rpartition("*")
    script = "First this.\n\nThen that.\n\n" * 3 + "So.</think>\n\nIt is \\boxed{7}."
    async with Pair(ScriptedEngine(script), ScriptedEngine(script)) as pair:
        result = await asolve(Problem.of("How?"), name, wrappers=[wrapper] if wrapper else [], pair=pair)
    path = tmp_path / "chain.html"
    path.write_bytes(chain_page(result.trace, "7"))
    page = await tab.open(path)
    shown = await page.evaluate(STROKES)
    timeline = Timeline(result.trace)
    for status in ("kept", "note"):
        assert told(shown, status) == "".join(span.text for span in timeline.spans if span.status == status)
    for author in ("big", "small", "method"):
        own = [span for span in shown if span.get("author") == author]
        assert told(own, "kept") == "".join(span.text for span in timeline.spans if (span.author, span.status) == (author, "kept"))
    assert {span["text"] for span in shown if span["status"] == "discarded"} == {
        span.text for span in timeline.spans if span.status == "discarded"
    }
    assert "✓ right" in await page.locator(".outcome").inner_text()
    tab.check(path)


def told(spans, status):
    return "".join(span["text"] for span in spans if span["status"] == status)


HOSTILE = [
    "</script><script>alert(1)</script>",
    '<img src=x onerror="alert(2)"><svg onload=alert(3)>',
    "<!--<script>",
    "\u202eright to left\u202c \u2066and\u2069 עברית",
    "a\x00b\x07c\x1b[31m\r\nd",
    "😀👩\u200d👧" * 50,
    "x" * 200_000,
    "\u0301" * 500,
    "javascript:alert(4)",
    "line\n" * 5_000,
]


async def test_text_of_models_stays_text(tab, tmp_path):
    path = tmp_path / "chain.html"
    path.write_bytes(chain_page(saying(*HOSTILE, asked=HOSTILE[1], rejected=HOSTILE[:5], answer="\\boxed{<b>7</b>}")))
    page = await tab.open(path)
    shown = await page.evaluate(STROKES)
    kept = [span["text"] for span in shown if span["status"] == "kept"]
    assert kept[:-1] == HOSTILE
    assert {span["text"] for span in shown if span["status"] == "discarded"} == set(HOSTILE[:5])
    assert await page.locator("img, .text svg, .text b:not(summary b), iframe, a").count() == 0
    wide = await page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert wide <= 0
    tab.check(path)


async def test_hostile_names_stay_text_in_a_report(tab, tmp_path):
    with RunFolder(tmp_path / "run") as kept:
        for text in HOSTILE[:6]:
            one = sample(text, f"p{text}", level=text[:50], task="<b>task</b>", gold=text, found=text, why=text, correct=False)
            kept.append(one, saying(*HOSTILE[:6], asked=text))
    path = reported(tmp_path, tmp_path / "run")
    page = await tab.open(path)
    for opener in await page.locator(".opener").all():
        await opener.click()
    await page.wait_for_selector(".run")
    assert await page.locator("img, iframe, a, main script").count() == 0
    assert await page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    tab.check(path)


async def test_missing_chains_are_named(tab, tmp_path, folder):
    made = real_run(tmp_path / "run", labels=["big_only"], problems=3)
    files = sorted((made / "traces").iterdir())
    files[0].unlink()
    files[1].write_text("{}")
    with RunFolder(made) as kept:
        kept.append(sample(problem="p9", params=kept.samples[0].params, answer="only the answer"))
    path = reported(tmp_path, made)
    page = await tab.open(path)
    for opener in await page.locator(".opener").all():
        await opener.click()
    await expect(page.locator(".missing")).to_have_count(3)
    told = " ".join(await texts(page, ".missing"))
    assert "missing" in told
    assert "not a trace" in told
    assert "only the answer" in await page.locator(".problem >> nth=3").inner_text()
    tab.check(path)


async def test_an_address_leads_to_a_problem(tab, tmp_path, folder):
    path = reported(tmp_path, folder)
    await tab.page.goto(f"{path.as_uri()}#p2")
    await tab.page.wait_for_selector(".column .run")
    assert await tab.page.locator(".problem:has(.column)").get_attribute("data-problem") == "p2"
    await tab.page.locator(".opener >> nth=3").click()
    assert tab.page.url.endswith("#p3")


async def test_several_tasks_are_chosen_from(tab, tmp_path, folder):
    other = real_run(tmp_path / "other", labels=["big_only"], problems=2, task="gsm8k")
    page = await tab.open(reported(tmp_path, folder, other))
    await page.locator(".top .choice label", has_text="gsm8k").click()
    assert await page.locator(".problem").count() == 2
    assert "gsm8k" in await page.locator(".lead").inner_text()


async def test_nothing_is_wider_than_a_phone(tab, tmp_path, folder):
    await tab.page.set_viewport_size({"width": 360, "height": 700})
    page = await tab.open(reported(tmp_path, folder))
    await page.locator(".opener >> nth=0").click()
    await page.wait_for_selector(".column .run")
    assert await page.evaluate("document.documentElement.scrollWidth") <= 360
