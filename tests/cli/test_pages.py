"""The pages that are made from the code are up to date: `python -m speculative.cli.docs` writes them."""

import importlib
import re
from pathlib import Path

import pytest

from speculative.cli.commands import COMMANDS, MODULES
from speculative.cli.docs import PAGES, help_of, main, pretty, trace_page
from speculative.trace.events import AnyEvent

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_up_to_date(name):
    assert (DOCS / name).read_text(encoding="utf-8") == PAGES[name](), "run python -m speculative.cli.docs"


@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "lm-eval"])
def test_the_help_of_a_command_says_all_that_its_function_does(name):
    about = getattr(importlib.import_module(f"speculative.cli.{MODULES.get(name, name).replace('-', '_')}"), name.replace("-", "_")).__doc__
    assert " ".join(about.split()) in " ".join(help_of(name).split())


@pytest.mark.slow
def test_the_command_writes_them(tmp_path):
    main(str(tmp_path))
    assert {page.name for page in tmp_path.iterdir()} == set(PAGES)


def test_every_kind_of_event_is_in_the_schema():
    page = trace_page()
    named = {name for pair in re.findall(r'"const": ?"(\w+)"|"enum": ?\[\s*"(\w+)"\s*\]', page) for name in pair if name}
    assert {kind.__name__.lower() for kind in AnyEvent.__args__} <= named
    assert "finish_reason" in page.partition("## Schema of `ask --json`")[2]


def test_the_pages_do_not_depend_on_the_version_of_msgspec():
    """0.22 keeps the indent of a docstring's lines; 0.23 removes it, and lists the keys that a mapping may have."""
    old = {"description": "One.\n\n    Two.", "additionalProperties": {"type": "number"}}
    new = {"description": "One.\n\nTwo.", "additionalProperties": {"type": "number"}, "propertyNames": {"enum": ["api"]}}
    assert pretty({"$defs": [old]}) == pretty({"$defs": [new]})
