"""`speculative serve`: the OpenAI-compatible service."""

from __future__ import annotations

import logging
import sys
from typing import Annotated, Any

from cyclopts import Parameter

from speculative.cli._flags import DEFAULT_ENGINES, EngineFlags
from speculative.serve.server import opening
from speculative.serve.server import serve as run
from speculative.settings import ROLES, Settings

GREETING = """Speculative Reasoning serves at {url} (its pages: {root}/docs; Ctrl-C ends it). One example:

  curl {url}/chat/completions -H 'Content-Type: application/json'{key} \\
    -d '{{"model": "speculative", "messages": [{{"role": "user", "content": "Ann has 3 pens. How many pens has she?"}}]}}'

"""


def serve(*, settings: Annotated[Settings | None, Parameter(name="*")] = None, engines: EngineFlags = DEFAULT_ENGINES) -> None:
    """Serve the pair over HTTP with the OpenAI API, until Ctrl-C or SIGTERM.

    Every setting can also stand in the environment (SPECULATIVE_PORT), in .env, or in speculative.toml, which holds the presets too.
    """
    chosen = settings or Settings()
    given = {role: list(getattr(engines, role)) for role in ROLES if getattr(engines, role) != getattr(DEFAULT_ENGINES, role)}
    chosen = chosen.model_copy(update=given)
    log, greeter = logging.getLogger("speculative.serve"), Greeter()
    if sys.stderr.isatty():
        log.addHandler(greeter)
    try:
        run(chosen, opening(chosen, engines.options()))
    finally:
        log.removeHandler(greeter)


class Greeter(logging.Handler):
    """Writes where the service listens, and an example, for a person at a terminal."""

    def emit(self, record: logging.LogRecord) -> None:
        fields: dict[str, Any] = getattr(record, "fields", {})
        if record.getMessage() == "listening":
            url = str(fields["url"])
            key = " -H 'Authorization: Bearer KEY'" if fields["authentication"] else ""
            sys.stderr.write(GREETING.format(url=url, root=url.removesuffix("/v1"), key=key))
            sys.stderr.flush()
