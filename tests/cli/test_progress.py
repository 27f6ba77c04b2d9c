"""Progress while servers load."""

import logging
import sys

from speculative.cli import _progress as progress


def test_a_terminal_sees_one_line_and_a_file_a_line_now_and_then(monkeypatch, capfd):
    monkeypatch.setattr(progress, "PAUSE", 0.0)
    with progress.LoadingLine() as tell:
        tell("loading a model (15 s): so far")
    assert capfd.readouterr().err == "speculative: loading a model (15 s): so far\n"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "10")
    with progress.LoadingLine() as tell:
        tell("one")
        tell("two that has no room")
    assert capfd.readouterr().err == "\r\033[Kone\r\033[Ktwo that \r\033[K"


def test_warnings_of_engines_cannot_control_the_terminal(monkeypatch, capfd, caplog):
    caplog.set_level(logging.WARNING, progress.ENGINES.name)  # (an evaluation in this process makes the root quieter)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress.LoadingLine() as tell:
        tell("one")
        progress.ENGINES.warning("%s runs there", "\x1b[2J a stranger")
    assert capfd.readouterr().err == "\r\033[Kone\r\033[Kspeculative: warning: \ufffd[2J a stranger runs there\n"
    progress.ENGINES.warning("nobody loads")
    assert "speculative" not in capfd.readouterr().err
