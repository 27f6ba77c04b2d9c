"""The page shows a run in a real browser: replies, facts, counts, replays, and a long chain."""

import asyncio
import json
import re

import pytest
from live_page import BROWSER, DROP, ENDLESS, judged_trace, link, opened, written
from long_chain import long_pair
from playwright.async_api import expect
from serving import pair, serving

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not BROWSER.exists(), reason=f"needs Chromium at {BROWSER}")]


def around(wrapper, typed):
    """A link whose method has a wrapper."""
    contender = {"name": "small_only", "typed": {}, "wrappers": [{"name": wrapper, "typed": typed}]}
    others = {"seed": "1", "temperature": "", "tokens": "", "seconds": ""}
    return "#ask=" + json.dumps({"problem": "2 + 2?", "contenders": [contender], **others})


async def test_an_error_of_a_wrapper_stands_at_its_own_field(browser):
    with serving() as served:
        tab = await opened(browser, served, around("vote", {"ballots": "1000"}))
        await tab.ask()
        await tab.page.wait_for_selector(".run-view.failed")
        field = tab.page.locator('.field.bad:has([id="0.with.0.ballots"])')
        assert "at most 64 chains" in await field.locator(".mistake").inner_text()
        await field.locator("input").fill("2")
        await tab.page.locator('[id="0.with.0.plans"]').fill("a,b=3")
        await tab.ask()
        await tab.page.wait_for_selector(".run-view.done")
        assert tab.posted[-1]["with"] == ['vote(ballots=2, plans="a,b=3")']


async def test_arrow_keys_in_the_bar_tell_the_facts_of_the_text(browser):
    with serving() as served:
        tab = await opened(browser, served, link())
        await tab.ask()
        await tab.page.wait_for_selector(".run-view.done")
        await tab.page.get_by_role("slider", name="place in the chain").focus()
        await tab.page.keyboard.press("Home")
        facts = tab.page.locator(".facts")
        await expect(facts).to_contain_text("mean log-probability -0.1 nats · mean entropy 0.00 nats")
        first = await facts.inner_text()
        assert re.match(r"(big|small) wrote · \d+ tokens ", first)
        await tab.page.keyboard.press("End")
        await expect(facts).not_to_have_text(first)
        tab.check()


async def test_a_judges_reply_stands_behind_its_step(browser):
    with serving(pair("One step.\n\nAnother.</think>\n\n\\boxed{4}.<|im_end|>")) as served:
        tab = await opened(browser, served, link("2 + 2?", ("step_verify", {})))
        await tab.ask()
        await tab.page.wait_for_selector(".run-view.done")
        order = await tab.page.locator(".text .sheet > *").evaluate_all("all => all.map(one => one.className + ' ' + one.textContent)")
        reply = next(place for place, one in enumerate(order) if "big was asked (judge) and replied:" in one)
        assert order[reply - 1].startswith("drafts ")
        tab.check()


async def test_a_click_on_the_stripe_of_discarded_tokens_lights_their_draft(browser):
    with serving(pair("One step.\n\nAnother.</think>\n\n\\boxed{4}.<|im_end|>")) as served:
        tab = await opened(browser, served, link("2 + 2?", ("step_verify", {})))
        await tab.ask()
        await tab.page.wait_for_selector(".run-view.done")
        bar = tab.page.locator(".run-view svg.bar")
        box = await bar.bounding_box()
        await bar.click(position={"x": 2, "y": box["height"] - 1})
        await expect(tab.page.locator(".text .lit")).to_have_class(re.compile("draft small"))
        await bar.click(position={"x": 2, "y": 1})
        await tab.page.locator(".text .run.lit").wait_for()
        tab.check()


async def test_the_answer_is_in_sight_when_a_chain_ends(browser):
    steps = "".join(f"Step {number}.\n\n" for number in range(40))
    rows = "\\\\\\\\".join("1" * 12)
    script = f"{steps}</think>\n\n\\(\\begin{{matrix}}{rows}\\end{{matrix}}\\)\n\nThe answer is \\boxed{{4}}.<|im_end|>"
    with serving(pair(script)) as served:
        tab = await opened(browser, served, link("2 + 2?", ("big_only", {})))
        await tab.ask()
        await tab.page.locator(".run-view.done .typeset").last.wait_for()
        await tab.page.wait_for_function("""() => {
            const box = document.querySelector(".run-view .text");
            return box.scrollHeight > 2 * box.clientHeight && box.scrollHeight - box.scrollTop - box.clientHeight < 2;
        }""")
        tab.check()


async def test_two_chains_stand_beside_each_other_on_a_desktop(browser):
    with serving() as served:
        tab = await opened(browser, served, link("2 + 2?", ("random_switch", {}), ("big_only", {})))
        await tab.ask()
        await expect(tab.page.locator(".run-view.done")).to_have_count(2)
        first, second = [await one.bounding_box() for one in await tab.page.locator(".run-view").all()]
        assert first["y"] == second["y"]
        assert first["x"] + first["width"] <= second["x"]
        assert await tab.page.locator(".comparison .wide").evaluate("one => one.scrollWidth <= one.clientWidth")  # the costs are in sight


async def test_a_preset_fills_the_form_with_its_parameters_and_wrappers(browser):
    preset = {"method": "random_switch", "params": {"big_share": 0.25}, "wrappers": ["vote(ballots=2)"]}
    with serving(presets={"fast": preset}) as served:
        tab = await opened(browser, served, link("2 + 2?", ("big_only", {})))
        await tab.page.get_by_label("method 1", exact=True).select_option("preset:fast")
        assert await tab.page.locator('[id="0.params.big_share"]').input_value() == "0.25"
        await tab.ask()
        await tab.page.wait_for_selector(".run-view.done")
        assert {name: tab.posted[0][name] for name in ("method", "params", "with")} == {
            "method": "random_switch",
            "params": {"big_share": 0.25},
            "with": ["vote(ballots=2)"],
        }
        tab.check()


async def test_a_seed_a_temperature_and_budgets_are_sent(browser):
    with serving() as served:
        tab = await opened(browser, served, link("2 + 2?", ("big_only", {}), seed="7", tokens="50"))
        await tab.page.locator("#temperature").evaluate("one => one.closest('details').open = true")
        await tab.page.locator("#temperature").fill("0.5")
        await tab.page.locator("#seconds").fill("9")
        await tab.ask()
        await tab.page.wait_for_selector(".run-view.done")
        sent = {name: tab.posted[0][name] for name in ("seed", "temperature", "max_tokens", "max_seconds")}
        assert sent == {"seed": 7, "temperature": 0.5, "max_tokens": 50, "max_seconds": 9}


async def test_cancel_ends_a_replay(browser):
    with serving() as served:
        tab = await opened(browser, served, link())
        await tab.ask()
        await tab.page.wait_for_selector(".run-view.done")
        cancel = tab.page.get_by_role("button", name="Cancel")
        await expect(cancel).to_be_disabled()
        await tab.page.get_by_role("button", name="Replay slowly").click()
        await cancel.click()
        await expect(tab.page.locator(".run-view .state")).to_contain_text("finished")
        await expect(cancel).to_be_disabled()
        tab.check()


async def test_cancelled_chains_keep_their_text_and_counts_and_do_not_differ(browser):
    with serving(pair(ENDLESS, delay=0.02)) as served:
        tab = await opened(browser, served, link("2 + 2?", ("big_only", {}), ("small_only", {})))
        await tab.ask()
        running = tab.page.locator(".run-view.running")
        await expect(running.filter(has=tab.page.locator(".text", has_text="Step"))).to_have_count(2)
        await tab.page.keyboard.press("Escape")
        await expect(tab.page.locator(".run-view.cancelled")).to_have_count(2)
        for view in await tab.page.locator(".run-view").all():
            assert "Step" in await written(view)
        rows = await tab.page.locator(".comparison tbody tr").all_inner_texts()
        assert all(re.search(r"≈ [1-9]", row) for row in rows), rows
        assert "No chain has an answer." in await tab.page.locator(".comparison .said").inner_text()
        tab.check()


async def test_a_vote_counts_while_it_runs_and_keeps_its_text_when_it_is_cancelled(browser):
    with serving(pair(ENDLESS, delay=0.02)) as served:
        tab = await opened(browser, served, around("vote", {"ballots": "3"}))
        await tab.ask()
        view = tab.page.locator(".run-view.running")
        await expect(view.locator(".child")).to_have_count(3)
        await expect(view.locator(".counts")).to_contain_text(re.compile(r"small\s*0\s*≈ [1-9][\d,]{2}"))
        await expect(view.locator(".lanes path.small")).to_have_count(1)
        await tab.page.keyboard.press("Escape")
        view = tab.page.locator(".run-view.cancelled")
        await view.get_by_label("open drafts").check()
        await expect(view.locator(".draft .words")).to_have_count(3)
        texts = await view.locator(".draft .words").all_inner_texts()
        assert all("Step" in text for text in texts)
        assert re.search(r"≈ [1-9]", await view.locator(".counts").inner_text())
        await expect(view.locator(".lanes path.small")).to_have_count(1)
        tab.check()


async def test_the_slider_has_the_bounds_of_the_methods_own_threshold(browser):
    trace = await judged_trace()
    with serving() as served:
        tab = await opened(browser, served)
        await tab.page.evaluate(DROP, ["chain.jsonl", trace.dump().decode()])
        await tab.page.locator(".threshold summary").click()
        await tab.page.locator("input[type=range]").focus()
        await tab.page.keyboard.press("End")
        await expect(tab.page.locator(".threshold output")).to_have_text("0")


async def test_scores_without_a_threshold_say_why_there_is_no_slider(browser):
    text = (await judged_trace()).dump().decode()
    alone = re.sub(r'"threshold":-?[\d.]+,"role"', '"threshold":null,"role"', text)
    assert alone != text
    with serving() as served:
        tab = await opened(browser, served)
        await tab.page.evaluate(DROP, ["chain.jsonl", alone])
        await tab.page.get_by_text("so no other threshold can be tried", exact=False).wait_for()
        await tab.page.get_by_text("compares none of them with a threshold").wait_for()
        assert await tab.page.locator(".threshold").count() == 0


async def test_prices_and_command_lines_are_those_of_the_service(browser, tmp_path):
    file = tmp_path / "prices.toml"
    row = "{prompt = 1.0, cached = 1.0, produced = 1.0}"
    file.write_text(f'[api]\ncurrency = "CHF"\n[api.prices]\nbig = {row}\nsmall = {row}\n', encoding="utf-8")
    with serving(prices=file, big=["bundled:small"], small=["http://10.0.0.7:8000/v1"]) as served:
        tab = await opened(browser, served, link())
        await tab.ask()
        await tab.page.wait_for_selector(".run-view.done")
        figure = tab.page.locator(".figures div", has_text="cost of 1,000 such chains")
        assert "CHF" in await figure.inner_text()
        assert await figure.get_attribute("title") == "at the service's own prices"
        await tab.page.locator(".copy").get_by_role("button", name="command line").click()
        await expect(tab.page.locator(".copied pre")).to_contain_text('--big bundled:small --small "$SPECULATIVE_SMALL"')


async def trace_of(page):
    """The file that the page offers for a finished chain."""
    async with page.expect_download() as offered:
        await page.get_by_role("button", name="Download the trace").click()
    file = await (await offered.value).path()
    return (await asyncio.to_thread(file.read_bytes)).decode()


@pytest.mark.timeout(600)
async def test_a_chain_of_20_000_tokens_with_1_000_drafts_is_drawn_while_it_streams(browser):
    """Times are measured by `bench/page.py`; here all of it arrives, and all of it is drawn."""
    with serving(long_pair(1000, 20)) as served:
        tab = await opened(browser, served, link("How?", ("likelihood_verify", {"threshold": "-1"}), tokens="60000"))
        tab.page.set_default_timeout(300_000)
        await tab.ask()
        await tab.page.locator(".run-view.running .drafts").nth(20).wait_for()  # drawn while it is written
        await tab.page.wait_for_selector(".run-view.done")
        assert "answer 4" in await tab.page.locator(".outcome").inner_text()
        kept = [int(text.replace(",", "")) for text in await tab.page.locator(".counts tbody td:nth-child(2)").all_inner_texts()]
        assert sum(kept) > 20_000
        assert await tab.page.locator(".drafts").count() == 500
        assert await tab.page.locator(".run.accepted").count() >= 500
        shown = await written(tab.page)
        assert [int(step) for step in re.findall(r"big goes on with step (\d+),", shown)] == list(range(1, 501))
        assert [int(step) for step in re.findall(r"small goes on with step (\d+),", shown)] == list(range(1, 1001, 2))
        assert await tab.page.locator(".threshold summary").inner_text() == "Try another threshold (1,000 judged steps)"
        await tab.page.evaluate(DROP, ["chain.jsonl", await trace_of(tab.page)])  # opened at once, most of it was never in sight
        await tab.page.locator("svg.bar").click()
        lit = tab.page.locator(".text .lit").first
        await lit.wait_for()
        await tab.page.wait_for_function("""() => {
            const [box, one] = [".text", ".lit"].map((name) => document.querySelector(name).getBoundingClientRect());
            return one.top > box.top && one.bottom < box.bottom;
        }""")
        tab.check()
