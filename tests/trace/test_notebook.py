"""Results and traces show themselves in notebooks."""

import re
from html.parser import HTMLParser
from pathlib import Path

from speculative import Pair, Problem, asolve
from speculative.testing import ScriptedEngine
from speculative.trace.notebook import COLOURS, OTHER
from speculative.trace.trace import Trace

HOSTILE = "<script>alert(1)</script> \"'& \u202e\n\nThen so.</think>\n\n\\boxed{<b>7</b>}"
STYLE = Path(__file__).parents[2] / "web" / "src" / "style" / "base.css"


class Reader(HTMLParser):
    """Collects the names of elements and their text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)

    def handle_data(self, data):
        self.text += data


async def shown():
    async with Pair(ScriptedEngine(HOSTILE), ScriptedEngine(HOSTILE)) as pair:
        return await asolve(Problem.of("How?", seed=3), "random_switch", pair=pair, unit="step")


async def test_a_result_shows_its_text_and_usage():
    result = await shown()
    read = Reader(result._repr_html_())
    for segment in result.trace.segments():
        assert segment.text in read.text
    assert "random_switch: answer <b>7</b>" in read.text
    assert f"{result.usage['big'].produced_tokens:,}" in read.text


async def test_text_of_models_stays_text():
    read = Reader((await shown())._repr_html_())
    assert set(read.tags) <= {"div", "p", "b", "span", "table", "thead", "tbody", "tr", "th", "td"}
    assert "<script>alert(1)</script>" in read.text


async def test_a_trace_shows_itself_and_an_empty_one_too():
    result = await shown()
    assert "random_switch" in result.trace._repr_html_()
    assert "without a beginning" in Trace([])._repr_html_()


def test_the_colours_are_those_of_the_page():
    style = STYLE.read_text(encoding="utf-8")
    for author, (light, dark, _) in {**COLOURS, "method": OTHER}.items():
        assert re.findall(rf"--{author}: (#\w+);", style) == [light, dark]
