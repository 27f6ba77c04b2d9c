"""The command line: one file a command, imported when that command is run."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from cyclopts import App

from speculative.cli.commands import COMMANDS
from speculative.cli.errors import reported
from speculative.version import VERSION

ABOUT = "A big and a small reasoning model write one chain of thought together."
MORE = "Start with: speculative ask      Every command has its own --help."


def main(argv: Sequence[str] | None = None) -> None:
    """The entry point of `speculative`."""
    sys.exit(run(sys.argv[1:] if argv is None else argv))


def run(argv: Sequence[str]) -> int:
    """Runs one command line; says what to exit with. Every user's mistake is one line on standard error."""

    def work() -> object:
        made = app()
        if argv[:1] == ["ask"]:
            from speculative.cli.ask import prepare

            return made(prepare(made, list(argv)))
        return made(list(argv))

    return reported(work)


def app() -> App:
    """The commands, none of them imported yet."""
    made = App(
        name="speculative",
        help=ABOUT,
        help_epilogue=MORE,
        version=VERSION,
        exit_on_error=False,
        print_error=False,
        result_action="return_value",
        suppress_keyboard_interrupt=False,
    )
    for name, about in COMMANDS.items():
        made.command(f"speculative.cli.{name}:{name}", name=name, help=about)
    return made
