"""The page at `/` in a real browser. Needs Chromium (Debian: `apt-get install chromium`) where `CHROMIUM` says, or in /usr/bin."""

import asyncio
import re
import subprocess
import sys
from pathlib import Path

import pytest
from live_page import BROWSER, DROP, ENDLESS, Tab, judged_trace, link, opened, written
from playwright.async_api import expect
from serving import pair, serving

from speculative import Pair, Problem, asolve
from speculative.testing import ScriptedEngine

AXE = Path(__file__).parents[2] / "web" / "node_modules" / "axe-core" / "axe.min.js"
HOSTILE = (
    "</script><script>alert(1)</script>\n\n"
    '<img src=x onerror="alert(2)"> \\(<b>\\href{javascript:alert(3)}{x}\\)\n\n'
    "\u202eright to left\u202c \u2066and\u2069 <|big|> <think> a\x07b\n\n"
)

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not BROWSER.exists(), reason=f"needs Chromium at {BROWSER}")]


async def test_both_authors_appear_while_the_chain_is_written(browser):
    with serving(pair(ENDLESS, delay=0.02)) as served:
        tab = await opened(browser, served, link())
        await tab.ask()
        running = tab.page.locator(".run-view.running")
        await running.locator(".run.big").first.wait_for()
        await running.locator(".run.small").first.wait_for()
        assert await running.count() == 1
        await tab.page.keyboard.press("Escape")
        tab.check()


async def test_escape_stops_the_engines(browser):
    with serving(pair(ENDLESS, delay=0.02)) as served:
        tab = await opened(browser, served, link())
        await tab.ask()
        await tab.page.locator(".run-view.running .run").first.wait_for()
        assert served.running
        await tab.page.keyboard.press("Escape")
        await expect(tab.page.locator(".run-view .state")).to_have_text("cancelled")
        served.wait(lambda: served.running == 0)
        await expect(tab.page.get_by_role("button", name="Start")).to_be_enabled()
        tab.check()


async def test_a_finished_chain_is_shown_as_its_trace_tells(browser):
    with serving() as served:
        tab = await opened(browser, served, link())
        await tab.ask()
        view = tab.page.locator(".run-view.done")
        await view.locator(".run").first.wait_for()
        (events,) = served.post(json={**tab.posted[0], "stream": False, "events": True}).json()["speculative"]["events"]
        told = "".join(event["proposal"]["text"] for event in events if event["event"] in ("wrote", "answered"))
        assert await written(view) == told
        assert "answer 4" in await view.locator(".outcome").inner_text()
        kept = await view.locator(".counts tbody td:nth-child(2)").all_inner_texts()
        assert sum(map(int, kept)) == sum(len(event["proposal"]["completion"]["ids"]) for event in events if "proposal" in event) + 2
        tab.check()


async def test_methods_are_compared_side_by_side(browser):
    with serving() as served:
        tab = await opened(browser, served, link("2 + 2?", ("random_switch", {}), ("big_only", {}), ("spec_rewrite", {})))
        await tab.ask()
        await expect(tab.page.locator(".run-view.done")).to_have_count(3)
        assert {ask["method"] for ask in tab.posted} == {"random_switch", "big_only", "spec_rewrite"}
        assert await tab.page.locator(".comparison tbody .label").all_inner_texts() == ["random_switch", "big_only", "spec_rewrite"]
        assert "All answers agree." in await tab.page.locator(".comparison .said").inner_text()
        tab.check()


async def test_wrong_input_is_shown_at_its_field_and_nothing_is_sent(browser):
    with serving() as served:
        tab = await opened(browser, served, link("2 + 2?", ("random_switch", {"big_share": "2"})))
        await tab.ask()
        field = tab.page.locator(".field.bad")
        assert "big_share must be at most 1, got 2" in await field.inner_text()
        assert await tab.page.evaluate("document.activeElement.id") == "0.params.big_share"
        await tab.page.keyboard.press("Control+A")
        await tab.page.keyboard.type("0.5")  # the fold stays open under the typing
        assert await tab.page.locator(".field.bad").count() == 0
        await tab.ask()
        await tab.page.wait_for_selector(".run-view.done")
        assert [ask["params"] for ask in tab.posted] == [{"big_share": 0.5}]
        tab.check()


async def test_a_refusal_of_the_service_is_shown_at_its_field(browser):
    with serving(max_drafts=4) as served:
        tab = await opened(browser, served, link("2 + 2?", ("logprob_subselect", {"sgen": "8"})))
        await tab.ask()
        await tab.page.wait_for_selector(".run-view.failed")
        assert "8 drafts" in await tab.page.locator(".field.bad .mistake").inner_text()
        tab.trouble = [line for line in tab.trouble if "400" not in line]  # the browser's own line for the status
        tab.check()


async def test_a_link_has_the_settings(browser):
    with serving() as served:
        tab = await opened(browser, served, link("What is \u00fc?", ("random_switch", {"big_share": "0.25"}), ("big_only", {}), seed="77"))
        await tab.page.get_by_text("Copy the link").click()
        again = await opened(browser, served, "#" + tab.page.url.partition("#")[2])
        assert await again.page.locator("#problem").input_value() == "What is \u00fc?"
        assert await again.page.locator(".chooser select").evaluate_all("all => all.map(one => one.value)") == ["random_switch", "big_only"]
        assert await again.page.locator("#seed").input_value() == "77"
        assert await again.page.locator('[id="0.params.big_share"]').input_value() == "0.25"


async def test_a_link_that_cannot_be_read_is_ignored(browser):
    with serving() as served:
        tab = await opened(browser, served, "#ask=%7B%22problem%22%3A1%7D")
        assert await tab.page.locator("#problem").input_value()
        tab.check()


async def test_a_dropped_trace_opens_and_its_threshold_can_be_moved(browser):
    trace = await judged_trace()
    with serving() as served:
        tab = await opened(browser, served)
        await tab.page.evaluate(DROP, ["chain.jsonl", trace.dump().decode()])
        view = tab.page.locator(".run-view")
        await view.locator(".run").first.wait_for()
        text = await written(view)
        assert text == "".join(segment.text for segment in trace.segments())
        await view.locator(".threshold summary").click()
        steps = await view.locator(".steps li").count()
        assert steps == sum(getattr(event, "judgement", None) is not None for event in trace.events)
        measured = "mean log-probability of a token (nats), from big"
        assert await view.locator(".threshold .hint").inner_text() == f"Scores: {measured}."
        pill = view.get_by_role("note", name=re.compile(rf"^kept: score .*: {re.escape(measured)}; threshold -"))
        assert await pill.first.get_attribute("title") == await pill.first.get_attribute("aria-label")
        slider = view.locator("input[type=range]")
        await slider.focus()
        await tab.page.keyboard.press("End")
        assert "The first other decision is at step 1" in await view.locator(".threshold .said").inner_text()
        assert await view.locator(".steps .changed.rewrite").count() > 0
        assert tab.posted == []
        tab.check()


async def test_a_file_that_is_not_a_trace_is_refused_in_words(browser):
    with serving() as served:
        tab = await opened(browser, served)
        for text in ("", "hello", "{}", '{"speculative_trace":9}', '{"speculative_trace":3}\n{"event":"wrote"'):
            await tab.page.evaluate(DROP, ["<b>x</b>.jsonl", text])
            await expect(tab.page.locator(".results .mistake")).to_contain_text("<b>x</b>.jsonl cannot be opened")
        tab.check()


SHOWN = "all => all.map(one => one.textContent)"


@pytest.mark.parametrize("method", ["spec_rewrite", "logprob_subselect", "random_switch"])
async def test_runs_are_kept_by_the_browser_and_open_after_a_reload(browser, method):
    """A page that was built while the chain came looks like one that is built from its whole trace."""
    with serving(pair(delay=0.005)) as served:
        tab = await opened(browser, served, link("2 + 2?", (method, {})))
        await tab.ask()
        await tab.page.wait_for_selector(".run-view.done")
        folds = await tab.page.locator(".drafts summary").evaluate_all(SHOWN)
        assert bool(folds) == (method != "random_switch")
        before = await written(tab.page)
        await tab.page.locator(".history").wait_for()
        await tab.page.reload()
        await tab.page.locator(".history summary").click()
        await tab.page.locator(".entry").click()
        await tab.page.locator(".run-view .run").first.wait_for()
        assert await written(tab.page) == before
        assert await tab.page.locator(".drafts summary").evaluate_all(SHOWN) == folds
        assert len(tab.posted) == 1
        await tab.page.get_by_role("button", name="Forget all").click()
        assert await tab.page.locator(".history").count() == 0
        tab.check()


async def test_a_service_with_a_key_asks_for_it_and_the_browser_does_not_keep_it(browser):
    with serving(api_key="secret") as served:
        context = await browser.new_context()
        tab = Tab(await context.new_page(), served.url)
        await tab.page.goto(served.url)
        for key in ("wrong", "secret"):
            await tab.page.get_by_label("Key", exact=True).fill(key)
            await tab.page.keyboard.press("Enter")
            if key == "wrong":
                await expect(tab.page.locator(".mistake")).to_have_text("The service does not take this key.")
        await tab.page.wait_for_selector("#problem")
        await tab.ask()
        await tab.page.wait_for_selector(".run-view.done")
        kept = await tab.page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href])")
        assert "secret" not in kept
        await tab.page.reload()
        await tab.page.get_by_label("Key", exact=True).wait_for()


async def test_text_of_models_and_names_stays_text(browser):
    text = HOSTILE + "x" * 10_000 + "\n\n" + "</think>\n\n\\boxed{<b>4</b>}<|im_end|>"
    with serving(pair(text)) as served:
        tab = await opened(browser, served, link("<script>alert(9)</script>", ("big_only", {})))
        await tab.ask()
        view = tab.page.locator(".run-view.done")
        await view.wait_for()
        shown = await written(view)
        assert "<script>alert(1)</script>" in shown
        assert await tab.page.locator(".text img, .text script, .text a, .text iframe").count() == 0
        assert await tab.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        tab.check()


async def test_a_line_of_ten_million_letters_is_shown_as_text(browser):
    async with Pair(ScriptedEngine("One.</think>\n\nSo.", name="B"), ScriptedEngine("One.</think>\n\nSo.", name="S")) as engines:
        trace = (await asolve(Problem.of("How?"), "big_only", pair=engines)).trace
    text = trace.dump().decode().replace("One.", "<i>" + "x" * 10_000_000)
    with serving() as served:
        tab = await opened(browser, served)
        await tab.page.evaluate(DROP, ["chain.jsonl", text])
        view = tab.page.locator(".run-view")
        await view.locator(".run").first.wait_for()
        shown = await written(view)
        assert len(shown) == len("<i>" + "\n\nSo.") + 10_000_000
        assert shown.startswith("<i>xxx")
        assert await tab.page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        tab.check()


@pytest.mark.parametrize("path", ["/", "/page/live.js", "/page/style.css", "/page/math.js"])
def test_the_page_is_served_with_a_strict_policy(served, path):
    reply = served.get(path)
    assert reply.status_code == 200
    policy = reply.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"https?:", policy)


@pytest.mark.parametrize("name", ["page.py", "../page.py", "%2e%2e/marks.py", "x.js", "index.html"])
def test_no_other_file_is_served(served, name):
    assert served.get(f"/page/{name}").status_code == 404


@pytest.mark.skipif(not AXE.exists(), reason="needs axe-core: npm ci in web/")
@pytest.mark.parametrize("look", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 1280])
async def test_axe_finds_no_violation(browser, look, width):
    with serving() as served:
        size = {"width": width, "height": 900}
        methods = [("spec_rewrite", {}), ("logprob_subselect", {})]
        tab = await opened(browser, served, link("2 + 2?", *methods), color_scheme=look, viewport=size, reduced_motion="reduce")
        await tab.page.evaluate(AXE.read_text(encoding="utf-8"))
        await check_axe(tab.page)
        await tab.ask()
        await expect(tab.page.locator(".run-view.done")).to_have_count(2)
        await tab.page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
        await tab.page.get_by_label("open drafts").first.check()
        await check_axe(tab.page)
        assert await tab.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def check_axe(page):
    found = await page.evaluate("axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice']})")
    assert [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in found["violations"]] == []


async def test_the_page_is_used_with_the_keyboard_alone(browser):
    with serving() as served:
        tab = await opened(browser, served)
        seen = []
        for _ in range(40):
            await tab.page.keyboard.press("Tab")
            seen.append(await tab.page.evaluate("document.activeElement.textContent + document.activeElement.id"))
        for wanted in ("problem", "Parameters and wrappers", "Compare with another", "Start", "Copy the link"):
            assert any(wanted in one for one in seen), wanted


async def test_a_button_keeps_the_focus_while_its_chain_runs(browser):
    with serving() as served:
        tab = await opened(browser, served, link())
        start = tab.page.get_by_role("button", name="Start")
        await start.focus()
        await tab.page.keyboard.press("Enter")
        await tab.page.locator(".run-view.done").wait_for()
        await expect(start).to_be_focused()
        tab.check()


async def test_the_row_of_buttons_does_not_cover_the_field_with_the_focus(browser):
    with serving() as served:
        tab = await opened(browser, served, link())
        await tab.page.evaluate("document.querySelectorAll('.ask details').forEach(one => one.open = true)")
        await tab.page.focus("#problem")
        for _ in range(25):
            await tab.page.keyboard.press("Tab")
            covered = await tab.page.evaluate("""() => {
                const one = document.activeElement, box = one.getBoundingClientRect(), row = document.querySelector(".go");
                return !row.contains(one) && document.querySelector(".ask").contains(one)
                    && row.contains(document.elementFromPoint(box.left + box.width / 2, box.top + box.height / 2)) && one.id;
            }""")
            assert covered is False


async def test_copied_code_works_as_pasted(browser):
    with serving() as served:
        tab = await opened(browser, served, link('It\'s "2 + 2"?\nOr 3?', ("random_switch", {"big_share": "0.5"})))
        await tab.page.locator("#seed").evaluate("one => one.closest('details').open = true")
        await tab.page.get_by_role("button", name="Start").click()
        await tab.page.wait_for_selector(".run-view.done")
        for title, command in (("Python", [sys.executable, "-c"]), ("curl", ["bash", "-c"])):
            await tab.page.locator(".copy").get_by_role("button", name=title, exact=True).click()
            code = await tab.page.locator(f'.copied pre[data-kind="{title}"]').inner_text()
            done = await asyncio.to_thread(subprocess.run, [*command, code], capture_output=True, text=True, timeout=60)
            assert "boxed{4}" in done.stdout, done.stderr
        await tab.page.locator(".copy").get_by_role("button", name="command line").click()
        await expect(tab.page.locator(".copied pre")).to_contain_text("speculative ask")
        line = await tab.page.locator(".copied pre").inner_text()
        command = ["bash", "-c", line.replace("speculative ask", "printf '%s\\0'", 1)]
        words = (await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, timeout=60)).stdout
        assert words.split("\0")[:-1] == ['It\'s "2 + 2"?\nOr 3?', "--method", "random_switch", "--big-share", "0.5", "--seed", "1"]


async def test_text_that_was_seen_stays_after_a_cancel(browser):
    with serving(pair(ENDLESS, delay=0.02)) as served:
        tab = await opened(browser, served, link("2 + 2?", ("big_only", {})))
        await tab.ask()
        await tab.page.locator(".run-view.running .text", has_text="Step").first.wait_for()
        await tab.page.keyboard.press("Escape")
        await expect(tab.page.locator(".run-view .state")).to_have_text("cancelled")
        await tab.page.locator(".note", has_text="cut off here").wait_for()
        assert "Step" in await written(tab.page)


async def test_a_damaged_trace_leaves_the_page_as_it_was(browser):
    trace = await judged_trace()
    with serving() as served:
        tab = await opened(browser, served)
        damaged = trace.dump().decode().replace('"finish_reason":"stop","seconds":', '"finish_reason":"stop","seconds":"soon","x":')
        await tab.page.evaluate(DROP, ["bad.jsonl", damaged])
        await expect(tab.page.locator(".results .mistake")).to_contain_text("seconds is missing or has another type")
        first, *lines = trace.dump().decode().splitlines()
        await tab.page.evaluate(DROP, ["back.jsonl", "\n".join([first, lines[0], '{"event":"rewound","at":0,"pieces":2}', *lines[1:]])])
        await expect(tab.page.locator(".results .mistake")).to_contain_text(
            "event 2 of the trace (line 3) is damaged: pieces must be from 0 to 0"
        )
        await tab.page.evaluate(DROP, ["good.jsonl", trace.dump().decode()])
        await tab.page.locator(".run-view .run").first.wait_for()
        tab.check()
