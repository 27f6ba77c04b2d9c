"""The page tells what is known of a text and of a call, and a fault or a click elsewhere does not end what runs."""

import re

import pytest
from live_page import BROWSER, DROP, LONG, judged_trace, link, opened, written
from playwright.async_api import expect
from serving import pair, serving

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not BROWSER.exists(), reason=f"needs Chromium at {BROWSER}")]

STEPS = "One step.\n\nAnother.</think>\n\n\\boxed{4}.<|im_end|>"
LIKELY = {"top": lambda seen: {"a": -0.1}}


async def test_text_under_the_pointer_tells_tokens_probability_entropy_and_seconds(browser):
    with serving(pair(**LIKELY)) as served:
        tab = await opened(browser, served, link())
        await tab.ask()
        await tab.page.wait_for_selector(".run-view.done")
        await tab.page.locator(".text .run").first.hover(position={"x": 4, "y": 8})
        facts = await tab.page.locator(".facts").inner_text()
        assert re.fullmatch(r"(big|small) wrote · \d+ tokens · mean log-probability -0.1 nats · mean entropy 0\.\d\d nats · \S+ s", facts)
        tab.check()


async def test_an_engine_without_log_probabilities_is_named(browser):
    with serving(pair(abilities=pair()["big"].abilities - {"logprobs", "top"})) as served:
        tab = await opened(browser, served, link())
        await tab.page.get_by_text("big: B (gives no log-probabilities)", exact=False).wait_for()
        await tab.ask()
        await tab.page.wait_for_selector(".run-view.done")
        await tab.page.locator(".text .run").first.hover(position={"x": 4, "y": 8})
        await expect(tab.page.locator(".facts")).to_contain_text("log-probability and entropy not known")
        tab.check()


async def test_a_block_of_the_time_line_tells_its_call_and_lights_its_text(browser):
    with serving(pair(STEPS, delay=0.002)) as served:
        tab = await opened(browser, served, link("2 + 2?", ("step_verify", {})))
        await tab.ask()
        await tab.page.wait_for_selector(".run-view.done")
        tracks = tab.page.locator(".track-of-time")
        facts = tab.page.locator(".facts")
        for x in range(2, 300, 2):  # the first call begins when the chain has its turn on the machine
            await tracks.nth(1).hover(position={"x": x, "y": 3})
            if (await facts.inner_text()).startswith("small drafted"):
                break
        await expect(facts).to_have_text(re.compile(r"small drafted · [\d.]+ s, from .* on · \d+ tokens"))
        await tracks.nth(1).click(position={"x": x, "y": 3})
        await tab.page.locator(".text .draft.small.lit").wait_for()
        assert await tab.page.locator(".lanes .marked").count() == 1
        calls = tab.page.get_by_role("slider", name="calls of the chain in time")
        await calls.focus()
        await tab.page.keyboard.press("ArrowRight")
        await expect(facts).to_have_text(re.compile(r"big was asked \(judge\) · "))
        await expect(calls).to_have_attribute("aria-valuetext", re.compile("big was asked"))
        await tab.page.keyboard.press("End")
        await expect(facts).to_have_text(re.compile("big wrote the answer · "))
        await tab.page.locator(".text .run.big.lit").wait_for()
        tab.check()


async def test_the_bar_under_the_pointer_tells_its_text(browser):
    with serving(pair(STEPS)) as served:
        tab = await opened(browser, served, link("2 + 2?", ("step_verify", {})))
        await tab.ask()
        await tab.page.wait_for_selector(".run-view.done")
        bar = tab.page.locator(".run-view svg.bar")
        box = await bar.bounding_box()
        await bar.hover(position={"x": 2, "y": 1})
        await expect(tab.page.locator(".facts")).to_contain_text("wrote · ")
        await bar.hover(position={"x": 2, "y": box["height"] - 1})
        await expect(tab.page.locator(".facts")).to_contain_text("drafted, ")
        assert await tab.page.locator(".lit").count() == 0
        tab.check()


async def test_an_entry_of_the_history_opens_beside_a_chain_that_is_written(browser):
    with serving(pair(LONG * 4, delay=0.01)) as served:
        tab = await opened(browser, served, link("2 + 2?", ("big_only", {}), tokens="40"))
        await tab.ask()
        await tab.page.wait_for_selector(".run-view.done")
        await tab.page.locator(".history summary").click()
        await tab.page.evaluate("hash => { location.hash = hash; }", link("3 + 3?", ("small_only", {}), tokens="4000"))
        await expect(tab.page.locator("#problem")).to_have_value("3 + 3?")
        for engine in served.engines.values():
            engine.delay = 0.1  # it goes on until it is cancelled, however slow the browser is
        await tab.ask()
        await tab.page.locator(".run-view.running .run").first.wait_for()
        await tab.page.locator(".entry").click()
        await tab.page.locator(".beside .run-view.done .run").first.wait_for()
        assert await tab.page.locator(".runs .run-view.running").count() == 1
        assert served.running
        await tab.page.evaluate(DROP, ["chain.jsonl", (await judged_trace()).dump().decode()])
        await expect(tab.page.locator(".beside .label")).to_have_text("likelihood_verify")
        assert await tab.page.locator(".runs .run-view.running").count() == 1
        await tab.page.get_by_role("button", name="Close").click()
        assert await tab.page.locator(".beside").count() == 0
        await tab.page.keyboard.press("Escape")
        await expect(tab.page.locator(".run-view .state")).to_have_text("cancelled")
        tab.check()


@pytest.mark.parametrize("fault", ["Number.prototype.toLocaleString", "SVGElement.prototype.replaceChildren"])
async def test_a_view_that_cannot_be_drawn_does_not_end_the_page(browser, fault):
    """One fault is met while the view is made, the other one while it is painted."""
    with serving() as served:
        tab = await opened(browser, served, link())
        await tab.page.evaluate(f"() => {{ window.whole = {fault}; {fault} = () => {{ throw new Error('a fault'); }}; }}")
        await tab.ask()
        await expect(tab.page.locator(".results [role=alert]")).to_have_text("✗ random_switch(unit=step) cannot be shown: a fault")
        await expect(tab.page.get_by_role("button", name="Start")).to_be_enabled()
        await tab.page.evaluate(f"() => {{ {fault} = window.whole; }}")
        await tab.ask()
        await tab.page.wait_for_selector(".run-view.done")
        assert "four" in await written(tab.page)
        tab.check()


async def test_what_the_service_would_refuse_is_told_at_the_form(browser):
    with serving(max_param=64, max_prompt=1024) as served:
        tab = await opened(browser, served, link("2" * 1025, ("likelihood_verify", {"step_tokens": "65"})))
        await tab.ask()
        assert "at most 1024 bytes" in await tab.page.locator(".problem-box .mistake").inner_text()
        assert "at most 64, got 65" in await tab.page.locator('.field.bad:has([id="0.params.step_tokens"])').inner_text()
        wrapped = link("2 + 2?").replace(
            "%22wrappers%22%3A%20%5B%5D", "%22wrappers%22%3A%20%5B%7B%22name%22%3A%22nope%22%2C%22typed%22%3A%7B%7D%7D%5D"
        )
        await tab.page.evaluate("hash => { location.hash = hash; }", wrapped)
        await tab.ask()
        await expect(tab.page.locator(".wrapper.bad .mistake")).to_have_text("the service has no wrapper nope; remove it")
        assert tab.posted == []
        await tab.page.get_by_role("button", name="remove nope").click()
        await tab.ask()
        await tab.page.wait_for_selector(".run-view.done")
        tab.check()
