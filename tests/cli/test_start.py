"""The first minutes: how the command starts, and what it imports."""

import os
import re
import signal
import subprocess
import sys

import pytest

from speculative import __version__
from speculative.plan.layout import LAYOUTS

IMPLEMENTATIONS = (
    "speculative.engines.local",
    "speculative.engines.http",
    "speculative.engines.vllm",
    "numpy",
    "onnxruntime",
    "aiohttp",
    "fastapi",
)


def test_the_package_runs_as_a_module(environment):
    ran = subprocess.run([sys.executable, "-m", "speculative", "--version"], env=environment, capture_output=True, text=True, check=True)
    assert ran.stdout == f"{__version__}\n"


@pytest.mark.parametrize(
    ("argv", "absent"),
    [("--version", ("speculative.engines", "cyclopts", "pydantic")), ("--help", IMPLEMENTATIONS), ("methods", IMPLEMENTATIONS)],
)
def test_it_imports_no_more_than_it_needs(environment, argv, absent):
    program = f"import sys; from speculative.cli import run; run([{argv!r}]); sys.stderr.write(' '.join(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert not set(absent) & set(ran.stderr.split())


def test_bash_completes_commands_and_flags(cli, tmp_path):
    script = tmp_path / "speculative.bash"
    script.write_text(cli("completion", "bash").out)

    def completed(*words):
        program = f'source {script}; COMP_WORDS=({" ".join(words)}); COMP_CWORD={len(words) - 1}; _speculative; echo "${{COMPREPLY[@]}}"'
        return subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=True).stdout.split()

    assert sorted(completed("speculative", "com")) == ["compare", "completion"]
    assert completed("speculative", "ask", "--see") == ["--seed"]
    assert completed("speculative", "ask", "--switch-r") == ["--switch-ratio"]
    assert completed("speculative", "ask", "--method", "rand") == ["random_switch"]
    assert completed("speculative", "ask", "--with", "vo") == ["vote"]
    assert completed("speculative", "eval", "st") == ["stories"]
    assert completed("speculative", "eval", "stories", "--method", "big_o") == ["big_only"]
    assert completed("speculative", "compare", "--methods", "small_o") == ["small_only"]
    assert completed("speculative", "methods", "early") == ["early_exit"]
    assert completed("speculative", "tune", "likelihood_v") == ["likelihood_verify"]
    assert completed("speculative", "tune", "likelihood_verify", "--task", "gsm") == ["gsm8k"]
    assert completed("speculative", "plan", "rand") == ["random_switch"]
    assert completed("speculative", "plan", "--layout", "c") == [name for name in LAYOUTS if name.startswith("c")]
    assert completed("speculative", "plan", "--profile", "h200-32b-1") == ["h200-32b-1.5b"]


@pytest.mark.slow
@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_other_shells_have_a_script_too(cli, shell):
    assert "speculative" in cli("completion", shell).out


def at_a_terminal(environment, argv, reply):
    """Starts the command with a terminal as its standard error; sends SIGTERM when `reply` was seen there. What was written there."""
    near, far = os.openpty()
    with subprocess.Popen([sys.executable, "-m", "speculative", *argv], env=environment, stderr=far, stdout=subprocess.DEVNULL) as child:
        os.close(far)
        written = b""
        try:
            while piece := os.read(near, 4096):
                written += piece
                if reply in written:
                    reply = b"\0 seen"
                    child.send_signal(signal.SIGTERM)
        except OSError:  # the other end is closed
            pass
        child.wait()
    os.close(near)
    return written.decode()


@pytest.mark.slow
def test_serve_greets_a_person_with_its_address_its_pages_and_an_example(environment):
    written = at_a_terminal(environment, ["serve", "--port", "0"], b"ready engines=")
    assert re.search(r"serves at http://127\.0\.0\.1:\d+/v1 \(its pages: http://127\.0\.0\.1:\d+/docs;", written)
    assert re.search(r"curl http://127\.0\.0\.1:\d+/v1/chat/completions", written)
    assert written.count("serves at") == 1
    assert re.search(r"^\d\d:\d\d:\d\d draining chains=0 seconds=30.0\r$", written, re.MULTILINE)
    assert '{"time"' not in written
