"""A new method is one file of the user's: its parameters are flags, validated, and in `--help`."""

import json

import pytest
from scripted_cli import STORY

METHOD = '''from pydantic import Field
from speculative import Method

class Mine(Method):
    """Big begins, small goes on."""

    first_tokens: int = Field(12, ge=4, le=99, description="tokens of big at the beginning")
    eager: bool = Field(False, description="whether small may answer")

    async def think(self, chain):
        await chain.write("big", max_tokens=self.first_tokens)
        await chain.write("small")
'''


@pytest.fixture
def mine(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text(METHOD)
    assert len(METHOD.splitlines()) <= 15
    return f"{file}:Mine"


@pytest.mark.usefixtures("scripted")
def test_it_runs_with_its_parameters(cli, mine):
    told = json.loads(cli("ask", STORY, "--json", "--method", mine, "--first-tokens", 5, "--eager").out)
    assert told["method"] == "mine"
    assert told["params"] == {"answer_by": "big", "first_tokens": 5, "eager": True}
    assert told["usage"]["big"]["kept_tokens"] >= 5


def test_its_parameters_are_in_the_help(cli, mine):
    told = " ".join(cli("ask", "--method", mine, "--help").out.replace("│", " ").split())
    assert "Parameters of mine" in told
    assert "--first-tokens INT tokens of big at the beginning (at least 4, at most 99) [default: 12]" in told
    assert "--eager --no-eager whether small may answer [default: no]" in told.replace("--eager whether", "--eager --no-eager whether")
    assert "--switch-ratio" not in told


def test_its_parameters_are_validated(cli, mine):
    ran = cli("ask", STORY, "--method", mine, "--first-tokens", 3)
    assert ran.code == 2
    assert "first_tokens must be at least 4, got '3'" in ran.one_line()


def test_methods_describes_it(cli, mine):
    told = cli("methods", mine).out
    assert "Big begins, small goes on." in told
    assert "first_tokens" in told
    assert "at least 4, at most 99" in told
    schema = json.loads(cli("methods", mine, "--json").out)["schema"]
    assert schema["properties"]["first_tokens"]["minimum"] == 4


@pytest.mark.usefixtures("scripted")
def test_it_is_compared_like_any_other(cli, mine):
    rows = json.loads(cli("compare", "--methods", f"{mine}(first_tokens=4)", "--limit", 2, "--json").out)
    assert rows[0]["params"]["first_tokens"] == 4


def test_a_field_that_cannot_be_read_as_one_word_is_left_to_the_method(cli, tmp_path):
    file = tmp_path / "odd.py"
    file.write_text(
        "from speculative import Method\n\nclass Odd(Method):\n    '''Odd.'''\n\n    shares: list[float]\n\n"
        "    async def think(self, chain):\n        await chain.write('big')\n"
    )
    ran = cli("ask", STORY, "--method", file, "--shares", "some")
    assert ran.code == 2
    assert "shares" in ran.one_line()
    assert "--shares must have a value" in cli("ask", STORY, "--method", file).one_line()


def test_methods_spells_the_path_to_it(cli, mine):
    assert f"On the command line: --method {mine} --first-tokens …" in " ".join(cli("methods", mine).out.split())


@pytest.mark.parametrize("path", ["./x.jsonl", "x.jsonl", "folder/mine", "./mine.txt:Mine"])
def test_a_file_without_a_method_is_an_error(cli, path):
    ran = cli("ask", STORY, "--method", path)
    assert ran.code == 2
    assert ran.one_line() == f"speculative: method: a method's file must end in .py, got {path!r}; write FILE.py:CLASS\n"


@pytest.mark.usefixtures("scripted")
@pytest.mark.parametrize("body", ["raise SystemExit(0)", "await asyncio.create_task(leave())", "await asyncio.gather(leave())"])
def test_an_exit_in_a_method_is_an_error_with_its_line(cli, tmp_path, body):
    file = tmp_path / "leaving.py"
    file.write_text(
        "import asyncio\nfrom speculative import Method\n\nasync def leave():\n    raise SystemExit(0)\n\n"
        f"class Leaving(Method):\n    async def think(self, chain):\n        {body}\n"
    )
    ran = cli("ask", STORY, "--method", str(file))
    assert ran.code == 1
    line = 9 if "raise" in body else 5
    assert "SystemExit" in ran.one_line()
    assert f"leaving.py, line {line})" in ran.one_line()
