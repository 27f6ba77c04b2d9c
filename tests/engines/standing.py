"""A stand-in for vLLM, for the tests of how servers are started and ended: it loads, answers, has children, and says what it was told."""

import sys
import time
from pathlib import Path

import unlike

import speculative

SCRIPT = """
import asyncio, signal, subprocess, sys, time
sys.path.insert(0, {sources!r})
from speculative.engines.tokenizers import loader
from speculative.testing.fake_server import FakeServer
from speculative.testing import ScriptedEngine
from pathlib import Path

args = sys.argv[1:]
def flag(name):
    return args[args.index(name) + 1] if name in args else None

print("args", args, flush=True)
while "--until" in args and not Path(flag("--until")).exists():
    time.sleep(0.02)
if "--broken" in args:
    print("out of memory", flush=True)
    sys.exit(3)
if "--slow" in args:
    if "--deaf" in args:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("deaf", flush=True)
    time.sleep(60)
deaf = "signal.signal(signal.SIGTERM, signal.SIG_IGN)" if "--deaf" in args else ""
child = subprocess.Popen([sys.executable, "-c", f"import signal,time\\n{{deaf}}\\ntime.sleep(600)"])
class Stand(ScriptedEngine):
    tokenizer = loader.read(Path(flag("--model")) / "tokenizer.json")
    async def complete(self, prefixes, decoding, *, key, stats):
        from speculative.engines.base import Completion
        return [[Completion(tuple(self.tokenizer.encode("7")), "length")] * decoding.n for _ in prefixes]
async def main():
    server = FakeServer(Stand(""), model=flag("--served-model-name") or flag("--model"), source=flag("--model"))
    server.scale_out = "--enable-scale-out" in args
    await server.start(int(flag("--port")))
    await asyncio.sleep(600)
asyncio.run(main())
"""

PROGRAM = """
import time
from speculative.engines.vllm import guard, launch as starting
guard.GRACE = 0.3
running = starting.start_and_wait(starting.LaunchConfig({model!r}, {python!r}, {settings}))
print(running.process.pid, flush=True)
time.sleep(600)
"""


def build(folder):
    """A command that stands for the Python that has vLLM, and a model's folder."""
    script, python = folder / "stand_in.py", folder / "python"
    script.write_text(SCRIPT.format(sources=str(Path(speculative.__file__).parents[1])))
    flags = folder / "site" / "vllm" / "entrypoints" / "launchers" / "cli_args.py"  # it is asked for its flags, by `-c`
    flags.parent.mkdir(parents=True)
    flags.write_text("enable_scale_out: bool = False\n")
    (folder / "site" / "vllm" / "__init__.py").touch()
    asked = f'if [ "$1" = -c ]; then PYTHONPATH={folder}/site exec {sys.executable} "$@"; fi'
    python.write_text(f'#!/bin/sh\n{asked}\nshift 2\nexec {sys.executable} {script} "$@"\n')
    python.chmod(0o755)
    unlike.byte_level(folder / "model")
    return str(python), str(folder / "model")


def program(stand_in, settings):
    """A program that starts a server, tells its guard's number, and stays."""
    python, model = stand_in
    return [sys.executable, "-c", PROGRAM.format(model=model, python=python, settings=settings)]


def command(stand_in, *words):
    """The command as it is typed, with the stand-in for vLLM."""
    return [sys.executable, "-m", "speculative", *words, "--vllm", stand_in[0]]


def lives(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def until(condition, seconds=100):
    """Whether it comes true in time."""
    deadline = time.monotonic() + seconds
    while not (true := condition()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return true


def gone(pids, seconds=100):
    return until(lambda: not any(lives(pid) for pid in pids), seconds)
