"""The command line: one file a command, imported when that command is run."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from speculative.cli.commands import COMMANDS
from speculative.cli.errors import reported, streams
from speculative.cli.interrupt import SIGNALLED
from speculative.version import VERSION

if TYPE_CHECKING:
    from cyclopts import App

ABOUT = "A big and a small reasoning model write one chain of thought together."
MORE = "Start with: speculative ask      Every command has its own --help."


def main(argv: Sequence[str] | None = None) -> None:
    """The entry point of `speculative`. Signals come first: the imports below take long enough for a Ctrl-C."""
    SIGNALLED.install()
    code = streams() or run(sys.argv[1:] if argv is None else argv)
    SIGNALLED.first = None
    sys.exit(code)


def run(argv: Sequence[str]) -> int:
    """Runs one command line; says what to exit with. Every user's mistake is one line on standard error."""

    def work() -> object:
        if argv[:1] == ["lm-eval"]:
            from speculative.cli.lm_eval import lm_eval

            return lm_eval(argv[1:])
        made = app(*argv[:1])
        if argv[:1] == ["ask"]:
            from speculative.cli.ask import prepare

            return made(prepare(made, list(argv)))
        if argv[:1] == ["eval"]:
            from speculative.cli.eval import prepare

            return made(prepare(made, list(argv)))
        return made(list(argv))

    code = reported(work)
    if SIGNALLED.late and not code:
        return reported(SIGNALLED.tell)
    return code


def app(asked: str = "") -> App:
    """The commands, none of them imported yet. The one that is asked for says more of itself: its own docstring is its help."""
    from cyclopts import App

    from speculative.cli.screen import Screen

    made = App(
        name="speculative",
        help=ABOUT,
        help_epilogue=MORE,
        help_format="plaintext",
        version=VERSION,
        console=Screen(),
        exit_on_error=False,
        print_error=False,
        result_action="return_value",
        suppress_keyboard_interrupt=False,
    )
    for name, about in COMMANDS.items():
        module = name.replace("-", "_")
        made.command(f"speculative.cli.{module}:{module}", name=name, help=None if name == asked else about)
    return made
