"""Terminal output: colours, struck-through drafts, and at the end the same as `show`."""

import io
import json
import os
import pty
import re
import select
import subprocess
import sys

import msgspec
import pytest
import scripted_cli
from rich.console import Console
from samples import sample
from scripted_cli import STORY

from speculative import Trace
from speculative.cli._output import print_uncropped
from speculative.report.tables import comparison
from speculative.report.terminal import draw
from speculative.stats.summary import summarize

CODES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


@pytest.fixture
def terminal(environment):
    """Runs a command line at a terminal of 80 columns, and gives all that was written."""

    def ran(*argv, delay=0.0, **extra):
        ours, theirs = pty.openpty()
        command = [sys.executable, scripted_cli.__file__, *map(str, argv)]
        settings = {**environment, "DELAY": str(delay), "COLUMNS": "80", "LINES": "40", **extra}
        child = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=settings, close_fds=True)
        os.close(theirs)
        written = b""
        while select.select([ours], [], [], 20)[0]:
            try:
                data = os.read(ours, 65536)
            except OSError:  # the other side is closed
                break
            if not data:
                break
            written += data
        os.close(ours)
        assert child.wait(20) == 0
        return written.decode().replace("\r\n", "\n")

    return ran


def screen(written):
    """The lines that are left on the screen, repainted ones taken away."""
    lines, row, column = [[]], 0, 0
    for part in re.findall(r"\x1b\[[0-9;?]*[A-Za-z]|\n|\r|[^\x1b\n\r]+", written):
        if part == "\n":
            row, column = row + 1, 0
        elif part == "\r":
            column = 0
        elif part.endswith("A") and part.startswith("\x1b["):
            row = max(0, row - int(part[2:-1] or 1))
        elif part == "\x1b[2K":
            lines[row] = []
        elif not part.startswith("\x1b"):
            lines[row][column : column + len(part)] = list(part.rjust(0))
            column += len(part)
        while len(lines) <= row:
            lines.append([])
    return [text for text in ("".join(line).rstrip() for line in lines) if text]


def test_the_chain_streams_in_colours_and_a_table_follows(terminal):
    written = terminal("ask", STORY, "--switch-chunk", 8, delay=0.01)
    assert "\x1b[1;35m" in written
    assert "\x1b[36m" in written
    told = CODES.sub("", written)
    assert "╭─ problem" in told
    assert "✓ right" in told
    assert "together" in told


@pytest.mark.slow
def test_the_text_is_seen_before_the_chain_is_over(terminal):
    written = terminal("ask", STORY, "--method", "big_only", delay=0.01)
    assert CODES.sub("", written).count("Mia starts") > 1


@pytest.mark.slow
@pytest.mark.parametrize("method", ["random_switch", "spec_rewrite", "logprob_subselect"])
def test_at_the_end_the_screen_shows_the_drawing_of_the_trace(terminal, tmp_path, method):
    file = tmp_path / "chain.jsonl"
    asked = terminal("ask", STORY, "--method", method, "--trace", file, delay=0.002)
    console = Console(file=io.StringIO(), force_terminal=True, color_system="256", width=80, highlight=False)
    draw(console, Trace.load(file), "174")
    assert screen(asked) == screen(console.file.getvalue())


@pytest.mark.slow
def test_discarded_text_is_struck_through(terminal):
    written = terminal("ask", STORY, "--method", "spec_rewrite")
    assert re.search(r"\x1b\[[0-9;]*\b9;?[0-9;]*m[^\x1b]*Mia starts", written)


@pytest.mark.slow
def test_without_colours_authors_have_labels(terminal):
    written = terminal("ask", STORY, NO_COLOR="1")
    assert "[small]" in CODES.sub("", written)


@pytest.mark.slow
def test_json_at_a_terminal_is_json_alone(terminal):
    assert json.loads(terminal("ask", STORY, "--json"))["answer"] == "174"


@pytest.mark.slow
def test_a_comparison_shows_bars_and_then_the_table(terminal):
    told = CODES.sub("", terminal("compare", "--methods", "big_only", "--limit", 2, delay=0.001))
    assert "2/2" in told
    assert "95 % interval" in told


@pytest.mark.parametrize("width", [30, 80])
def test_no_number_of_a_table_is_cut_off(width):
    console = Console(file=io.StringIO(), width=width)
    usage = {
        "big": {"produced_tokens": 123456, "discarded_tokens": 456, "seconds": 1730.48},
        "small": {"produced_tokens": 987654, "discarded_tokens": 321, "seconds": 400.77},
    }
    row = msgspec.to_builtins(summarize([sample("p1", "random_switch(big_share=0.25)")])[0]) | {"usage": usage}
    for part in comparison([row]):
        print_uncropped(console, part)
    drawn = console.file.getvalue()
    assert all(number in drawn for number in ("123,456", "987,654", "1,730.48", "400.77", "15.8 to 100.0 %", "0.50"))
    assert width < 80 or max(map(len, drawn.splitlines())) == width
