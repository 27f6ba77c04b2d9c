"""`speculative doctor`: what the engines are, what they can do, and what to change."""

from __future__ import annotations

from typing import Annotated

import msgspec
from cyclopts import Parameter
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from speculative.cli.engine_flags import DEFAULT_ENGINES, EngineFlags, spec_of
from speculative.cli.interrupt import interruptible, raising
from speculative.cli.loading import Loading
from speculative.cli.screen import put_json, screen
from speculative.engines.base import Engine
from speculative.engines.diagnostics import Finding, broken, look
from speculative.engines.options import EngineOptions, Spec, with_api_key
from speculative.errors import SpeculativeError
from speculative.pair import open_engine


def doctor(
    *,
    engines: EngineFlags = DEFAULT_ENGINES,
    json: Annotated[bool, Parameter(help="print JSON", negative=(), show_default=False)] = False,
) -> int:
    """Look at the engines of the roles: reachable, version, model, template, vocabulary, context, abilities, and what to change."""
    given = {"big": spec_of(engines.big), "small": spec_of(engines.small), "judge": spec_of(engines.judge)}
    options = engines.options()
    findings = [_looked(role, spec, with_api_key(role, options[role])) for role, spec in given.items() if spec]
    same = len({finding.fingerprint for finding in findings}) == 1
    if json:
        put_json({"roles": [msgspec.to_builtins(finding) for finding in findings], "same_vocabulary": same})
    else:
        _show(screen(), findings, same)
    return 1 if any(finding.error for finding in findings) else 0


def _looked(role: str, spec: Spec, options: EngineOptions) -> Finding:
    """One after the other, each opened for itself: one that is dead does not hide the others."""
    try:
        with raising(), Loading() as tell:
            opened = open_engine(spec, options, tell)
    except SpeculativeError as error:
        return broken(role, error)
    return interruptible(_seen(role, opened))


async def _seen(role: str, opened: Engine) -> Finding:
    try:
        return await look(role, opened)
    finally:
        await opened.aclose()


def _show(console: Console, findings: list[Finding], same: bool) -> None:
    table = Table("", *(Column(finding.role, overflow="fold") for finding in findings), box=None, pad_edge=False)
    rows = {
        "state": [finding.error or "well" for finding in findings],
        "engine": [finding.name for finding in findings],
        "server": [finding.server for finding in findings],
        "dialect": [finding.dialect for finding in findings],
        "its chat template": [finding.template for finding in findings],
        "vocabulary": [finding.fingerprint[:12] for finding in findings],
        "context": [f"{finding.context} tokens" if finding.context else "" for finding in findings],
        "abilities": [", ".join(finding.abilities) for finding in findings],
        "wrote": [repr(finding.reply) if finding.reply else "" for finding in findings],
    }
    for name, cells in rows.items():
        table.add_row(name, *(Text(cell) for cell in cells))
    console.print(table)
    if len(findings) > 1 and not any(finding.error for finding in findings):
        console.print(
            Text(
                "one vocabulary: token ids are handed over as they are"
                if same
                else "unlike vocabularies: text is encoded anew at each hand-over"
            )
        )
    for finding in findings:
        for line in finding.advice:
            console.print(Text(f"{finding.role}: {line}"))
