"""Results and traces show themselves in notebooks."""

import re
from html.parser import HTMLParser
from pathlib import Path

from speculative import Pair, Problem, asolve
from speculative.testing import ScriptedEngine
from speculative.trace.notebook import COLOURS, COLUMNS, LARGEST, OFTEN_ZERO, OTHER, chain_html
from speculative.trace.state import Segment
from speculative.trace.trace import Trace
from speculative.trace.usage import Usage

HOSTILE = "<script>alert(1)</script> \"'& \u202e\n\nThen so.</think>\n\n\\boxed{<b>7</b>}"
WEB = Path(__file__).parents[2] / "web" / "src"
STYLE, LINES, USAGE = WEB / "style" / "base.css", WEB / "style" / "chain.css", WEB / "view" / "usage.ts"


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


def test_the_lines_of_authors_are_those_of_the_page():
    rules = re.findall(r"([^{}]+)\{([^{}]*)\}", re.sub(r"/\*.*?\*/", "", LINES.read_text(encoding="utf-8"), flags=re.DOTALL))
    lines = {
        selector.strip().removeprefix("."): line[1]
        for selectors, body in rules
        if (line := re.search(r"--line: (\w+);", body))
        for selector in selectors.split(",")
    }
    assert {author: line for author, (_, _, line) in {**COLOURS, "method": OTHER, "other": OTHER}.items()} == lines


def test_the_columns_of_the_usage_are_those_of_the_page():
    source = USAGE.read_text(encoding="utf-8")
    columns = source[source.index("const COLUMNS") : source.index("const OFTEN_ZERO")]
    assert dict(re.findall(r'\["(\w+)", "(\w+)"\]', columns)) == COLUMNS
    assert list(COLUMNS) == re.findall(r'\["(\w+)", "\w+"\]', columns)
    (zero,) = re.findall(r"const OFTEN_ZERO = \[(.*)\];", source)
    assert re.findall(r'"(\w+)"', zero) == list(OFTEN_ZERO)


def test_roles_stand_in_the_order_of_the_page_without_columns_of_zeros():
    usage = {"small": Usage(requests=2, produced_tokens=7), "big": Usage(requests=1, scored_tokens=5)}
    html = chain_html([], usage, "a chain")
    assert re.findall(r"<tr><th>(\w+)</th>", html) == ["big", "small"]
    head = re.findall(r"<th>([a-z ]+)</th>", html.partition("</thead>")[0])
    assert head == ["tokens of", "calls", "prompt", "scored", "produced", "kept", "discarded", "seconds"]


async def test_an_output_costs_a_notebook_little():
    result = await shown()
    assert len(result._repr_html_()) < 4000 + 20 * len(result.reasoning)


def test_a_huge_chain_is_cut():
    pieces = [Segment("big" if number % 2 else "small", "thinking", "word " * 1000, 1000) for number in range(100)]
    html = chain_html(pieces, {}, "a chain")
    assert len(html) < 1.5 * LARGEST
    left = 500_000 - Reader(html).text.count("word ") * 5
    assert f"{left:,} more characters; `speculative show` has them." in Reader(html).text
    assert left < 310_000
    assert "more characters" not in chain_html(pieces[:30], {}, "a chain")


def test_a_chain_that_changes_its_author_often_stays_small():
    pieces = [Segment("big" if number % 2 else "small", "thinking", "word ", 1) for number in range(20_000)]
    html = chain_html(pieces, {}, "a chain")
    assert len(html) < 1.5 * LARGEST
    assert "more characters" in html
    assert re.findall(r'title="(\w+): (\d+) tokens"', html) == [("small", "10000"), ("big", "10000")]
