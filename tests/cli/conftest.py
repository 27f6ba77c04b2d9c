import os
import subprocess
import sys
from pathlib import Path

import pytest
import scripted_cli

import speculative
from speculative.cli import run

SOURCE = Path(speculative.__file__).parents[1]


class Ran:
    """What one command line did."""

    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    def one_line(self):
        """The only line on standard error."""
        assert self.err.count("\n") == 1
        assert "Traceback" not in self.err
        return self.err


@pytest.fixture
def cli(capsys):
    """Runs a command line in this process."""

    def ran(*argv):
        return Ran(run([str(arg) for arg in argv]), *capsys.readouterr())

    return ran


@pytest.fixture
def scripted(monkeypatch):
    """The bundled pair is a scripted one."""
    monkeypatch.setattr("speculative.pair.open_engine", scripted_cli.scripted)


@pytest.fixture
def environment():
    """The environment of a child process, with warnings as errors."""
    kept = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR", "COLUMNS")}
    return {**kept, "PYTHONPATH": str(SOURCE), "PYTHONWARNINGS": "error", "TERM": "xterm-256color"}


@pytest.fixture
def process(environment, tmp_path):
    """Starts a command line as a process of its own, on the scripted pair or on the one that ships."""
    started = []

    def start(*argv, delay=0.0, stall=0, real=False, stdin=None, stdout=subprocess.PIPE, **more):
        program = ["-m", "speculative"] if real else [scripted_cli.__file__]
        told = {**environment, "DELAY": str(delay), "STALL": str(stall), "BEGUN": str(tmp_path / "begun"), **more}
        command = [sys.executable, *program, *map(str, argv)]
        child = subprocess.Popen(command, env=told, stdin=stdin, stdout=stdout, stderr=subprocess.PIPE)
        started.append(child)
        return child

    yield start
    for child in started:
        child.kill()
        child.communicate()
