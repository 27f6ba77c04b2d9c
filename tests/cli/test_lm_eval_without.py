"""`speculative lm-eval` where the package lm-eval is not installed."""

import pytest

from speculative.cli import commands


@pytest.mark.parametrize("argv", [(), ("run", "--model", "speculative", "--tasks", "stories")])
def test_a_missing_extra_is_one_line(cli, monkeypatch, argv):
    monkeypatch.setattr("speculative.cli.lm_eval.find_spec", lambda name: None)
    ran = cli("lm-eval", *argv)
    assert ran.code == 2
    assert ran.one_line().startswith("speculative: speculative lm-eval needs the package lm-eval; install the extra lm-eval with: ")


@pytest.mark.parametrize("argv", [("--help",), ("-h",), ("run", "--help")])
def test_help_is_shown_without_the_extra_and_says_how_to_install_it(cli, monkeypatch, argv):
    monkeypatch.setattr("speculative.cli.lm_eval.find_spec", lambda name: None)
    ran = cli("lm-eval", *argv)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith("Usage: speculative lm-eval ")
    assert "--model_args" in ran.out
    assert "install the extra lm-eval with: " in ran.out


def test_it_is_listed(cli):
    assert "lm-eval" in commands.COMMANDS
    assert "lm-eval" in cli("--help").out
