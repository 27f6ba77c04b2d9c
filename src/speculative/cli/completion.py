"""`speculative completion`: the completion script of a shell."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import Parameter

from speculative.cli import ask, build_app
from speculative.cli import eval as evaluation
from speculative.cli._output import write_line

Shell = Literal["bash", "zsh", "fish"]


def completion(shell: Annotated[Shell, Parameter(help="the shell that the script is for")], /) -> int:
    """Print the completion script of a shell.

    For bash: `speculative completion bash > ~/.local/share/bash-completion/completions/speculative`. For zsh, write it to a file
    `_speculative` in a folder of `$fpath`; for fish, to `~/.config/fish/completions/speculative.fish`.
    """
    app = build_app()
    for command in (ask, evaluation):
        command.prepare(app, [command.__name__.rpartition(".")[2]])  # with the parameters of the default method
    write_line(app.generate_completion(shell=shell))
    return 0
