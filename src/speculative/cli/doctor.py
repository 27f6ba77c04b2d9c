"""`speculative doctor`: checks the engines."""

from __future__ import annotations

from typing import Annotated

import msgspec
from cyclopts import Parameter
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from speculative.cli._flags import DEFAULT_ENGINES, EngineFlags, join_specs
from speculative.cli._output import open_console, write_json
from speculative.cli._progress import LoadingLine
from speculative.cli._signals import raise_on_signal, run_interruptible
from speculative.engines.base import Engine
from speculative.engines.diagnostics import Finding, broken, inner_engines, look
from speculative.engines.options import EngineOptions, Spec, with_api_key
from speculative.engines.vllm.mps import ALONE, share_without_mps
from speculative.errors import SpeculativeError
from speculative.pair import open_engine

SHARED = f"shares its GPU with another server without MPS, so {ALONE}; start both with `speculative up`, or under nvidia-cuda-mps-control"


def doctor(
    *,
    engines: EngineFlags = DEFAULT_ENGINES,
    json: Annotated[bool, Parameter(help="print JSON", negative=(), show_default=False)] = False,
) -> int:
    """Check the engines of the roles, and advise changes.

    For each it shows the status, version, model, template, tokenizer, context and abilities.
    """
    given = {"big": join_specs(engines.big), "small": join_specs(engines.small), "judge": join_specs(engines.judge)}
    options = engines.options()
    checked = [_check(role, spec, with_api_key(role, options[role])) for role, spec in given.items() if spec]
    findings = [finding for several in checked for finding in several]
    for finding in findings:
        if not finding.error and not {"continue", "reward"} & set(finding.abilities):
            finding.advice.append(f"it only replies to conversations; it can serve {_methods_that_ask(finding.role) or 'no method'}")
    if share_without_mps([one for spec in given.values() for one in ([spec] if isinstance(spec, str) else spec)]):
        findings[0].advice.append(SHARED)
    same = len({finding.fingerprint for finding in findings if "/" not in finding.role}) == 1
    if json:
        write_json({"roles": [msgspec.to_builtins(finding) for finding in findings], "same_vocabulary": same})
    else:
        _show(open_console(), findings, same)
    return 1 if any(finding.error for finding in findings) else 0


def _check(role: str, spec: Spec, options: EngineOptions) -> list[Finding]:
    """Opens and checks one engine, and those of the pair in a tower.

    A dead engine does not keep the others from being checked.
    """
    try:
        with raise_on_signal(), LoadingLine() as tell:
            opened = open_engine(spec, options, tell)
    except SpeculativeError as error:
        return [broken(role, error)]
    return run_interruptible(_look_and_close(role, opened))


def _methods_that_ask(role: str) -> str:
    """Returns the methods for which a role continues no text, as they are spelled."""
    from speculative.methods.registry import registered
    from speculative.methods.spec import format_method

    return ", ".join(sorted(format_method(name, method.asks_with) for name, method in registered().items() if role in method.asks_only))


async def _look_and_close(role: str, opened: Engine) -> list[Finding]:
    try:
        return await _look(role, opened)
    finally:
        await opened.aclose()


async def _look(role: str, opened: Engine) -> list[Finding]:
    """Checks an engine. The engines of a tower's pair follow it, as `small/big`."""
    below = [await _look(f"{role}/{inner}", engine) for inner, engine in inner_engines(opened).items()]
    return [await look(role, opened), *(finding for several in below for finding in several)]


def _show(console: Console, findings: list[Finding], same: bool) -> None:
    table = Table("", *(Column(finding.role, overflow="fold") for finding in findings), box=None, pad_edge=False)
    rows = {
        "status": [finding.error or "ok" for finding in findings],
        "engine": [finding.name for finding in findings],
        "server": [finding.server for finding in findings],
        "dialect": [finding.dialect for finding in findings],
        "its chat template": [finding.template for finding in findings],
        "vocabulary": [finding.fingerprint[:12] for finding in findings],
        "context": [f"{finding.context} tokens" if finding.context else "" for finding in findings],
        "abilities": [", ".join(finding.abilities) or ("" if finding.error else "replies only") for finding in findings],
        "wrote": [repr(finding.reply) if finding.reply else "" for finding in findings],
    }
    for name, cells in rows.items():
        table.add_row(name, *(Text(cell) for cell in cells))
    console.print(table)
    if len(findings) > 1 and not any(finding.error for finding in findings):
        console.print(
            Text(
                "equal tokenizers: token ids are handed over as they are"
                if same
                else "different tokenizers: text is encoded again at each hand-over"
            )
        )
    for finding in findings:
        for line in finding.advice:
            console.print(Text(f"{finding.role}: {line}"))
