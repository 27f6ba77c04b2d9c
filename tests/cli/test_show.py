"""A saved trace is drawn as `ask` drew it."""

import json
from xml.etree import ElementTree

import pytest
from scripted_cli import STORY

pytestmark = pytest.mark.usefixtures("scripted")


@pytest.mark.parametrize("method", ["random_switch", "spec_rewrite", "logprob_subselect", "placeholder"])
def test_show_draws_what_ask_drew(cli, tmp_path, method):
    file = tmp_path / "chain.jsonl"
    asked = cli("ask", STORY, "--method", method, "--trace", file)
    assert cli("show", file).out == asked.out
    asked = cli("ask", STORY, "--method", method, "--json", "--trace", file)
    assert json.loads(cli("show", file, "--json").out) == json.loads(asked.out)


def test_the_picture_is_an_svg_that_needs_nothing_else(cli, tmp_path):
    file, picture = tmp_path / "chain.jsonl", tmp_path / "chain.svg"
    cli("ask", STORY, "--method", "spec_rewrite", "--trace", file)
    assert cli("show", file, "--svg", picture).code == 0
    drawn = picture.read_text()
    ElementTree.fromstring(drawn)
    assert "174" in drawn
    assert "line-through" in drawn
    assert "url(http" not in drawn


def test_a_picture_that_cannot_be_written(cli, tmp_path):
    file = tmp_path / "chain.jsonl"
    cli("ask", STORY, "--trace", file)
    ran = cli("show", file, "--svg", tmp_path / "none" / "chain.svg")
    assert ran.code == 1
    assert "none" in ran.one_line()


def test_no_text_of_the_picture_begins_or_ends_in_a_space_or_holds_two(cli, tmp_path):
    file, picture = tmp_path / "chain.jsonl", tmp_path / "chain.svg"
    cli("ask", STORY, "--trace", file)
    cli("show", file, "--svg", picture)
    texts = [(part.text or "", float(part.get("x"))) for part in ElementTree.parse(picture).iter() if part.tag.endswith("}text")]
    assert all(text == text.strip() and "\xa0\xa0" not in text for text, _ in texts)
    right = [x for text, x in texts if text == "✓\xa0right"]
    answer = [x for text, x in texts if text == "answer"]
    assert right[0] - answer[-1] == pytest.approx(12.2 * len("answer 174  "))
