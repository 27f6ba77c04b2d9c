"""The command line, with one file for each command."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING

from speculative import __version__
from speculative.cli._errors import check_streams, run_reporting_errors
from speculative.cli._signals import SIGNALLED
from speculative.cli.commands import COMMANDS, MODULES

if TYPE_CHECKING:
    from cyclopts import App

ABOUT = "A big and a small reasoning model write one chain of thought together."
MORE = "Start with: speculative ask      Every command has its own --help."


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command line of this process and exits with its code."""
    SIGNALLED.install()
    code = check_streams() or run(sys.argv[1:] if argv is None else argv)
    SIGNALLED.first = None
    sys.exit(code)


def _with_stdin(argv: Sequence[str]) -> list[str]:
    """Spells `-` as a path, since the parser takes it for an unknown flag."""
    before = ["", *argv]
    return ["./-" if token == "-" and (argv[0] == "show" or before[place] == "--data") else token for place, token in enumerate(argv)]


def run(argv: Sequence[str]) -> int:
    """Runs one command line and returns its exit code."""

    def work() -> object:
        if list(argv) == ["--version"]:
            sys.stdout.write(f"{__version__}\n")
            return 0
        if argv[:1] == ["lm-eval"]:
            from speculative.cli.lm_eval import lm_eval

            return lm_eval(argv[1:])
        made, tokens = build_app(*argv[:1]), _with_stdin(argv)
        if argv[:1] == ["ask"]:
            from speculative.cli.ask import prepare

            return made(prepare(made, tokens))
        if argv[:1] == ["eval"]:
            from speculative.cli.eval import prepare

            return made(prepare(made, tokens))
        return made(tokens)

    code = run_reporting_errors(work)
    if SIGNALLED.late and not code:
        return run_reporting_errors(SIGNALLED.tell)
    return code


def build_app(command: str = "") -> App:
    """Builds the parser without importing the commands.

    The help of `command` is its own docstring; the others show their line of the list.
    """
    from cyclopts import App

    from speculative.cli._output import PipeAwareConsole, join_lines

    made = App(
        name="speculative",
        help=ABOUT,
        help_epilogue=MORE,
        help_format="plaintext",
        version=__version__,
        console=PipeAwareConsole(),
        exit_on_error=False,
        print_error=False,
        result_action="return_value",
        suppress_keyboard_interrupt=False,
    )
    for name, about in COMMANDS.items():
        function = name.replace("-", "_")
        module = f"speculative.cli.{MODULES.get(name, function)}"
        text = join_lines(getattr(import_module(module), function)) if name == command else about
        made.command(f"{module}:{function}", name=name, help=text)
    return made
