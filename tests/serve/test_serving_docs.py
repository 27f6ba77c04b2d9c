"""The commands of docs/serving.md, on a service of the scripted pair."""

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

from serving import serving

from speculative.settings import Settings

TEXT = (Path(__file__).parents[2] / "docs/serving.md").read_text()


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


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
