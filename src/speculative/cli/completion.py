"""`speculative completion`: the completion script of a shell."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from speculative.cli import ask, build_app
from speculative.cli import eval as evaluation
from speculative.cli._output import write_line
from speculative.evaluate.tasks import TASKS
from speculative.methods.registry import names
from speculative.plan.layout import LAYOUTS
from speculative.plan.profile import shipped
from speculative.plan.programs import PROGRAMS

Shell = Literal["bash", "zsh", "fish"]


def completion(shell: Annotated[Shell, Parameter(help="the shell that the script is for")], /) -> int:
    """Print the completion script of a shell.

    For bash: `speculative completion bash > ~/.local/share/bash-completion/completions/speculative`. For zsh, write it to a file
    `_speculative` in a folder of `$fpath`; for fish, to `~/.config/fish/completions/speculative.fish`.
    """
    app = build_app()
    for command in (ask, evaluation):
        command.prepare(app, [command.__name__.rpartition(".")[2]])  # with the parameters of the default method
    for command, words in _words().items():
        _offer(app, command, words)
    write_line(app.generate_completion(shell=shell))
    return 0


def _words() -> dict[str, Mapping[str, Sequence[str]]]:
    """Returns the words that are offered as values, by command and parameter.

    The commands take other values too, such as paths, so their own parameters have no choices.
    """
    methods, wrappers = names(), names(wrappers=True)
    chosen = {"method": methods, "with_": wrappers}
    return {
        "ask": chosen,
        "eval": {"target": list(TASKS), **chosen},
        "compare": {"methods": methods},
        "tune": {"method": methods, "task": list(TASKS)},
        "methods": {"name": [*methods, *wrappers]},
        "plan": {"method": ["all", *PROGRAMS], "profile": shipped(), "layout": list(LAYOUTS)},
    }


def _offer(app: App, name: str, words: Mapping[str, Sequence[str]]) -> None:
    """Replaces a command by one that offers words for its parameters."""
    command: Any = app[name].default_command
    signature = inspect.signature(command, eval_str=True)
    assert words.keys() <= signature.parameters.keys()

    def with_words(parameter: inspect.Parameter) -> inspect.Parameter:
        offered = Parameter(choices=words[parameter.name], show_choices=False)
        return parameter.replace(annotation=Annotated[parameter.annotation, offered])

    def run(*args: Any, **given: Any) -> int:
        return command(*args, **given)

    changed = [with_words(one) if one.name in words else one for one in signature.parameters.values()]
    copy: Callable[..., int] = run
    copy.__signature__ = signature.replace(parameters=changed)  # pyright: ignore[reportFunctionMemberAccess]
    copy.__doc__ = command.__doc__
    del app[name]
    app.command(copy, name=name)
