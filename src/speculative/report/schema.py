"""The published schema of a trace and of what `--json` prints, out of the types themselves."""

from __future__ import annotations

from inspect import cleandoc
from typing import Any, cast

import msgspec

from speculative.result import SavedResult
from speculative.trace.events import AnyEvent
from speculative.trace.trace import VERSION


def trace_schema() -> dict[str, Any]:
    """JSON schema of one event: of every line of a trace but the first."""
    return msgspec.json.schema(AnyEvent) | {"title": f"An event of a trace, version {VERSION}"}


def outcome_schema() -> dict[str, Any]:
    """JSON schema of what `speculative ask --json` prints."""
    return msgspec.json.schema(SavedResult)


TEXT = f"""# Traces and `--json`

A trace is all that happened to one chain, in order. Usage, text and pictures are computed from it and from nothing else
(`speculative.Trace`). `speculative ask --trace FILE` saves one, `speculative show FILE` draws it again, `Trace.load(FILE)` reads it.

This page is generated from the types by `python -m speculative.cli.docs`; a test holds them together.

## The file

JSON lines in UTF-8. The first line is the header `{{"speculative_trace":{VERSION}}}`; the number is the version of the format.
Files of version 1 are still read: they lack `began`, `shared_cache_tokens`, `top_logprobs` and `judgement`. Every other line is
one event; its key `event` names its kind. The first event is `started`, the last is `ended`; a trace without `ended` is of a chain
that was interrupted. `at` is the time when an event was recorded, in seconds since the chain began; a call began at `began` and
ended `seconds` later. The events of a `child` (a chain on the same problem, as in a vote) are nested in it.

Text is made by applying the events in order: `wrote` and `answered` append the text of their proposal, `drafted` proposes without
appending, `accepted` appends the drafts it names, `inserted` appends text that no model wrote, `rewound` cuts back to so many
pieces, `became` takes over a child's text. `cancelled` is a call that ended before it gave anything; what had been written of it is its
`proposal`, which is discarded unless `accepted` names it: so it is when `degraded` says that the role's server is gone and the
survivor goes on behind that text, and at the end of a chain whose time is up. `warmed` with seed 0 happened in the background,
when the clock said so.

Every call to an engine is in exactly one event, as `call`: so the sum over all `call`s, children included, is what the chain cost.

## What `ask --json` and `show --json` print

One object. `trace` holds the version and the events of the file; `usage` is by role, in tokens, and
`produced_tokens = kept_tokens + discarded_tokens`; `seconds` is wall time, `usage[role].seconds` the sum of that role's calls.
`finish_reason` is null when the chain was interrupted. `text` is what a reader sees, `answer` the content of its last
`\\boxed{{…}}` (null if there is none).

"""


def page() -> str:
    """docs/trace.md."""
    parts = [("Schema of an event", trace_schema()), ("Schema of `ask --json`", outcome_schema())]
    return TEXT + "\n".join(f"## {title}\n\n```json\n{pretty(schema)}\n```\n" for title, schema in parts)


def pretty(schema: dict[str, Any]) -> str:
    """Returns a schema as it stands on a page, the same with every version of msgspec."""
    return msgspec.json.format(msgspec.json.encode(_portable(schema), order="sorted"), indent=2).decode()


def _portable(part: Any) -> Any:
    """Removes what versions of msgspec do differently: indents of docstrings, and the names that keys may have."""
    if isinstance(part, list):
        return [_portable(value) for value in cast("list[Any]", part)]
    if not isinstance(part, dict):
        return cleandoc(part) if isinstance(part, str) and "\n" in part else part
    return {name: _portable(value) for name, value in cast("dict[str, Any]", part).items() if name != "propertyNames"}
