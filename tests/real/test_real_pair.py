"""Two real models of unlike families on llama.cpp: Gemma 3 270M is big, SmolLM2 135M is small.

    GGUF_FOLDER=$(scripts/gguf.sh) pytest -m real

`speculative up` holds both servers for all tests; the commands name the files, and so use those servers. Without the files or llama.cpp's
server these tests are skipped; in CI (`CI=true`) they fail.
"""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from pathlib import Path

import pytest

import speculative
from speculative.engines.http.engine import OpenAIEngine
from speculative.engines.tokenizers import loader
from speculative.errors import UnsupportedMethodError
from speculative.methods.registry import names, registered
from speculative.methods.wrapper import Wrapper
from speculative.pair import Pair

pytestmark = [pytest.mark.real, pytest.mark.timeout(600)]

FILES = {"big": "gemma-3-270m.gguf", "small": "SmolLM2-135M-Instruct.gguf"}
ARGS = "--ctx-size 8192 --parallel 4 --threads 1"
TOKENS = 16
QUESTION = "Ann has 3 pens and buys 4 more. How many pens does she have now?"
ROWS = [
    {
        "question": "A baker packs 6 rolls into each of 4 bags and sells 5 rolls from the tray. How many rolls did the baker handle?",
        "answer": "In the bags are 6*4=<<6*4=24>>24 rolls.\nTogether with the tray these are 24+5=<<24+5=29>>29 rolls.\n#### 29",
    },
    {
        "question": "A tram has 48 seats. A quarter of them are empty, and 7 people stand. How many people are on the tram?",
        "answer": "Empty: 48/4=<<48/4=12>>12 seats.\nTaken are 48-12=<<48-12=36>>36 seats.\nWith standers 36+7=<<36+7=43>>43.\n#### 43",
    },
]
TEXTS = [
    "One step.\n\nAnother step.\n",
    "def add(a, b):\n    if a:\n\t\treturn a + b\n\n\n    return b\n",
    "a  b   c    d        e\t\tf \n g\r\nh",
    "<table>\n<tr><td>1</td></tr>\n</table>",
    "Zürich, 東京, naïve, 🦊, ½, x² ≤ 3\u00a0€",
    "Close with </think> or <|im_end|> or <end_of_turn>, said the text.",
]


@pytest.fixture(scope="session")
def files():
    folder = Path(os.environ.get("GGUF_FOLDER") or Path.home() / ".cache" / "speculative" / "gguf").expanduser()
    found = {role: folder / name for role, name in FILES.items()}
    if not all(file.is_file() for file in found.values()):
        refuse = pytest.fail if os.environ.get("CI", "").lower() in ("1", "true") else pytest.skip
        refuse(f"{folder} lacks {' or '.join(FILES.values())}; GGUF_FOLDER=$(scripts/gguf.sh) names a folder that has them")
    return found


@pytest.fixture(scope="session")
def flags(files):
    """The words that name the pair, the same for every command."""
    return [word for role, file in files.items() for word in (f"--{role}", str(file), f"--{role}-args", ARGS)]


@pytest.fixture(scope="session")
def environment(tmp_path_factory):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SPECULATIVE_")}
    return {**clean, "XDG_STATE_HOME": str(tmp_path_factory.mktemp("state")), "COLUMNS": "120"}


@contextmanager
def command(environment, *words, **settings):
    """A command that runs beside the test, and is ended with it."""
    with subprocess.Popen([sys.executable, "-m", "speculative", *words], env=environment, text=True, **settings) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            finally:
                process.kill()


@pytest.fixture(scope="session")
def urls(flags, environment):
    """The addresses of both servers, which `speculative up` holds."""
    with command(environment, "up", *flags, stdout=subprocess.PIPE) as up:
        line = up.stdout.readline()
        found = dict(re.findall(r"--(big|small) (\S+)", line))
        assert set(found) == {"big", "small"}, line
        yield found


@pytest.fixture(scope="session")
def tokenizers(files):
    """Read once: Gemma's 262,144 tokens take seconds."""
    return {role: loader.read(file) for role, file in files.items()}


@pytest.fixture
async def pair(urls, tokenizers):
    connect = OpenAIEngine.connect
    async with Pair(*[await connect(urls[role], tokenizer=tokenizers[role]) for role in ("big", "small")]) as opened:
        yield opened


def run(environment, *words):
    """A command that has to succeed; returns what it writes."""
    done = subprocess.run([sys.executable, "-m", "speculative", *words], env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def test_doctor_knows_both_models_by_their_files(urls, flags, environment):
    found = json.loads(run(environment, "doctor", "--json", *flags))
    roles = {role["role"]: role for role in found["roles"]}
    assert not found["same_vocabulary"]
    for role, one in roles.items():
        assert one["error"] is None
        assert one["name"] == f"{Path(FILES[role]).stem} at {urls[role]}"
        assert one["server"].startswith("llama.cpp ")
        assert set(one["abilities"]) == {"cached", "choices", "continue", "ids", "logprobs", "stream", "top"}
        assert one["context"] == 2048
        assert one["reply"]
        assert one["dialect"] == {"big": "gemma", "small": "chatml-plain"}[role]


@pytest.mark.parametrize("role", ["big", "small"])
async def test_our_ids_are_the_servers_and_no_byte_is_lost(pair, role):
    engine = pair[role]
    for text in TEXTS:
        ids = engine.tokenizer.encode(text)
        assert engine.tokenizer.to_bytes(ids).decode() == text
        answer = json.loads(await engine.client.post("/tokenize", {"content": text, "parse_special": False, "add_special": False}, ""))
        told = json.loads(await engine.client.post("/detokenize", {"tokens": ids}, ""))
        assert told["content"] == text
        assert ids == answer["tokens"]


def check(result):
    """What has to hold of every chain, whatever such small models write."""
    assert result.finish_reason in ("stop", "length", "loop")
    for usage in result.usage.values():
        assert usage.produced_tokens == usage.kept_tokens + usage.discarded_tokens
    kept = sum(usage.kept_tokens for usage in result.usage.values())
    assert 0 < kept <= TOKENS + 16
    text = "".join(segment.text for segment in result.trace.segments())
    assert "\ufffd" not in text


METHODS = {
    "random_switch": {"switch_chunk": 6},
    "logprob_subselect": {"sgen": 4, "stok": 4, "sdecay": 2, "ltok": 4},
    "spec_rewrite": {},
}


@pytest.mark.parametrize("method", [name for name in names() if "judge" not in registered()[name].needs])
async def test_every_method_runs_over_the_pair(pair, method):
    running = speculative.asolve(QUESTION, method, pair=pair, max_tokens=TOKENS, seed=3, **METHODS.get(method, {}))
    if any("score" in abilities for abilities in registered()[method].needs.values()):  # llama.cpp does not score a given text
        with pytest.raises(UnsupportedMethodError, match="needs score"):
            await running
        return
    check(await running)


@pytest.mark.parametrize("wrapper", sorted(name for name, kind in registered().items() if issubclass(kind, Wrapper)))
async def test_every_wrapper_runs_over_the_pair(pair, wrapper):
    result = await speculative.asolve(QUESTION, "random_switch", wrappers=[wrapper], pair=pair, max_tokens=TOKENS, seed=3, switch_chunk=8)
    check(result)


async def test_steps_are_seen_in_both_vocabularies(pair):
    """Blank lines are tokens of their own in one vocabulary and pieces of tokens in the other."""
    for role in ("big", "small"):
        tokenizer = pair[role].tokenizer
        ids = tokenizer.encode("First, add 3.\n\nThen take 2.\n\nDone")
        assert b"".join(tokenizer.to_bytes([number]) for number in ids).count(b"\n\n") == 2


def test_the_service_answers_streamed_and_whole_alike(urls, flags, environment, tmp_path):
    ask = {"messages": [{"role": "user", "content": QUESTION}], "max_tokens": TOKENS, "seed": 5, "temperature": 0}
    with command(environment, "serve", "--port", "0", *flags, stderr=subprocess.PIPE, cwd=tmp_path) as service:
        url = next(said["url"] for said in map(_event, service.stderr) if said.get("event") == "listening").removesuffix("/v1")
        _wait_ready(url)
        whole = json.loads(_post(f"{url}/v1/chat/completions", ask))
        streamed = [
            json.loads(line.removeprefix("data: "))
            for line in _post(f"{url}/v1/chat/completions", {**ask, "stream": True, "stream_options": {"include_usage": True}}).splitlines()
            if line.startswith("data: {")
        ]
    message = whole["choices"][0]["message"]
    deltas = [choice["delta"] for chunk in streamed for choice in chunk["choices"]]
    assert message["content"] or message.get("reasoning")
    for field in ("content", "reasoning"):
        assert "".join(delta.get(field) or "" for delta in deltas) == (message.get(field) or "")
    assert whole["usage"]["completion_tokens"] <= TOKENS
    assert [chunk["usage"] for chunk in streamed if chunk.get("usage")][-1]["completion_tokens"] == whole["usage"]["completion_tokens"]


def test_problems_of_ones_own_are_evaluated(urls, flags, environment, tmp_path):
    data = tmp_path / "mine.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    words = ["--data", str(data), "--method", "random_switch", "--switch-chunk", "8", "--no-controls", "--max-tokens", str(TOKENS)]
    shown = run(environment, "eval", "gsm8k", *words, "--out", str(tmp_path / "run"), *flags)
    assert "random_switch" in shown
    samples = [json.loads(line) for file in (tmp_path / "run").glob("**/samples.jsonl") for line in file.read_text().splitlines()]
    assert {sample["gold"] for sample in samples if "gold" in sample} <= {"29", "43"}
    assert len(samples) == 2


def _event(line):
    try:
        return json.loads(line)
    except ValueError:
        return {}


def _wait_ready(url):
    """The service listens while its engines open."""
    ends = time.monotonic() + 300
    while time.monotonic() < ends:
        try:
            with urllib.request.urlopen(f"{url}/ready", timeout=60):
                return
        except urllib.error.HTTPError as error:
            if error.code != 503:
                raise
            time.sleep(0.2)
    raise AssertionError("the service did not become ready")


def _post(url, body):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=300) as answer:
        return answer.read().decode()
