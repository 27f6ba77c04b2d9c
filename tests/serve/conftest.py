import pytest
from live_page import BROWSER
from playwright.async_api import async_playwright
from serving import serving


@pytest.fixture(scope="module")
def served():
    with serving() as running:
        yield running


@pytest.fixture
async def browser():
    async with async_playwright() as driver:
        started = await driver.chromium.launch(executable_path=BROWSER)
        yield started
        await started.close()
