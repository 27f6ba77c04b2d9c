"""Public data sets, from a server with the hub's interface and from the cache."""

import json
import os
import subprocess
import sys
import threading
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from speculative.evaluate.tasks import TASKS

pytestmark = pytest.mark.slow

SHA = "0123456789abcdef0123456789abcdef01234567"
GPQA = {"Question": "Why?", "Correct Answer": "so", "Incorrect Answer 1": "a", "Incorrect Answer 2": "b", "Incorrect Answer 3": "c"}
ROWS = {
    "Maxwell-Jia/AIME_2024": {"ID": "2024-I-1", "Problem": "Find n.", "Solution": "x", "Answer": 204},
    "simplescaling/aime24_figures": {"id": 60, "problem": "Find n. [asy]", "solution": "x", "answer": "204"},
    "simplescaling/aime24_nofigures": {"id": 60, "problem": "Find n.", "solution": "x", "answer": "204"},
    "math-ai/aime25": {"problem": "Find n.", "answer": "70", "id": "0"},
    "TIGER-Lab/AIME25": {"id": "0", "question": "Find n.", "answer": "70"},
    "MathArena/aime_2026": {"problem_idx": 1, "problem": "Find n.", "answer": 277},
    "MathArena/hmmt_feb_2026": {"problem_idx": 1, "problem": "Find r.", "answer": "\\frac{1}{2}", "problem_type": ["Algebra"]},
    "HuggingFaceH4/MATH-500": {"problem": "x?", "solution": "s", "answer": "p - q", "subject": "Algebra", "level": 5, "unique_id": "t/1"},
    "simplescaling/openaimath": {"problem": "x?", "solution": "s", "answer": "p - q", "subject": "Algebra", "level": 5},
    "openai/gsm8k": {"question": "How many?", "answer": "9 * 2 = 18\n#### 18"},
    "Idavidrein/gpqa": GPQA,
}
SCRIPT = """
import sys, msgspec
from speculative import SpeculativeError
from speculative.evaluate.tasks import TASKS, load
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = load(TASKS[name])
    except SpeculativeError as error:
        found[name] = str(error)
sys.stdout.write(msgspec.json.encode(found).decode())
"""


class Hub(BaseHTTPRequestHandler):
    """As much of the hub as `datasets` asks for. What is in `gated` is behind a gate."""

    protocol_version = "HTTP/1.1"
    gated = frozenset()

    def log_message(self, *args):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = self.path.partition("?")[0].removeprefix("/api").removeprefix("/datasets/")
        name = "/".join(path.split("/")[:2])
        rest = path.removeprefix(name)
        if name not in ROWS:
            return self.reply(404, b"", {"X-Error-Code": "RepoNotFound"})
        if name in self.gated:
            return self.reply(403, b"{}", {"X-Error-Code": "GatedRepo", "X-Error-Message": f"Access to dataset {name} is restricted."})
        data = f"{json.dumps(ROWS[name])}\n".encode()
        task = next(task for task in TASKS.values() if task.dataset == name)
        config = (
            f"---\nconfigs:\n- config_name: {task.config or 'default'}\n  data_files:\n  - split: {task.split}\n    path: d.jsonl\n---\n"
        )
        files = {"d.jsonl": data, "README.md": config.encode()}
        if "/resolve/" in rest:
            content = files.get(rest.rpartition("/")[2])
            if content is None:
                return self.reply(404, b"", {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": SHA})
            return self.reply(200, content, {"ETag": f'"{sha1(content).hexdigest()}"', "X-Repo-Commit": SHA})
        listed = [{"type": "file", "oid": "a" * 40, "size": len(content), "path": file} for file, content in files.items()]
        about = {"id": name, "sha": SHA, "private": False, "tags": [], "siblings": [{"rfilename": file} for file in files]}
        return self.reply(200, json.dumps(listed if "/tree/" in rest else about).encode(), {"Content-Type": "application/json"})

    def reply(self, code, body, headers):
        self.send_response(code)
        for key, value in {**headers, "Content-Length": len(body)}.items():
            self.send_header(key, str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@pytest.fixture
def hub():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def loaded(folder, names, **environment):
    told = {**os.environ, "HF_HOME": str(folder), "HF_HUB_DISABLE_TELEMETRY": "1", **environment}
    done = subprocess.run([sys.executable, "-c", SCRIPT, *names], env=told, capture_output=True, text=True, timeout=100, check=True)
    return json.loads(done.stdout)


def test_every_public_data_set_is_read(hub, tmp_path):
    names = [name for name, task in TASKS.items() if task.dataset]
    found = loaded(tmp_path, names, HF_ENDPOINT=hub)
    gold = {name: ",".join(one["answer"] for one in problems) for name, problems in found.items()}
    assert gold.pop("gpqa_diamond") in "ABCD"
    assert gold == {
        **dict.fromkeys(["aime24", "aime24_figures", "aime24_nofigures"], "204"),
        **dict.fromkeys(["aime25", "aime25_nofigures"], "70"),
        "aime26": "277",
        "hmmt_feb26": "\\frac{1}{2}",
        **dict.fromkeys(["math500", "openai_math"], "p - q"),
        "gsm8k": "18",
    }
    assert f"({found['gpqa_diamond'][0]['answer']}) so" in found["gpqa_diamond"][0]["problem"]
    assert loaded(tmp_path, names, HF_ENDPOINT=hub, HF_HUB_OFFLINE="1") == found


def test_a_data_set_that_cannot_be_loaded_is_an_error(hub, tmp_path, monkeypatch):
    monkeypatch.setattr(Hub, "gated", frozenset({"Idavidrein/gpqa"}))
    gate = loaded(tmp_path, ["gpqa_diamond"], HF_ENDPOINT=hub)["gpqa_diamond"]
    assert "Idavidrein/gpqa cannot be loaded" in gate
    assert "set HF_TOKEN" in gate
    offline = loaded(tmp_path, ["aime24"], HF_ENDPOINT=hub, HF_HUB_OFFLINE="1")["aime24"]
    assert "Maxwell-Jia/AIME_2024 cannot be loaded" in offline
    assert "name a file with --data" in offline
