"""The commands of docs/serving.md, on a service of the scripted pair."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from serving import serving

from speculative.serve import errors
from speculative.settings import Settings

TEXT = (Path(__file__).parents[2] / "docs/serving.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


@pytest.mark.slow
def test_the_requests_of_the_document_are_answered():
    with serving() as served:
        requests = [
            match for block in blocks("sh") for match in re.findall(r"curl http://127.0.0.1:\d+(/\S+) .*?-d '(.*?)'", block, re.DOTALL)
        ]
        assert len(requests) == 2
        for path, body in requests:
            reply = served.post(path, json.loads(body))
            assert reply.status_code == 200, reply.text
        for program, output in zip(blocks("python"), ("stop {", "completed The answer is", "small"), strict=True):
            code = program.replace("http://127.0.0.1:8080", served.url)
            done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=100, check=False)
            assert done.returncode == 0, done.stderr
            assert output in done.stdout


def test_the_settings_of_the_document_are_settings():
    (text,) = blocks("toml")
    found = Settings(**tomllib.loads(text))
    assert found.presets["fast"].build()
    assert found.servers["big"].gpus == "0,1"


def test_every_error_code_is_documented_and_plain():
    """The table of codes is the interface: a class that gets another name changes none of them."""
    folder = Path(errors.__file__).parent
    written = {code for file in folder.glob("*.py") for code in re.findall(r'code="([^"]+)"', file.read_text(encoding="utf-8"))}
    codes = {*written, "engine_error", *(code for code, _ in errors.FAILURES.values())}
    assert all(re.fullmatch("[a-z][a-z_]+", code) for code in codes)
    table = TEXT.partition("| code | status | cause |")[2].partition("\n\n")[0]
    assert set(re.findall("`([a-z_]+)`", table)) == codes
