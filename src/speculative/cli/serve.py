"""`speculative serve`: the OpenAI-compatible service."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from speculative.cli.engine_flags import DEFAULT_ENGINES, EngineFlags
from speculative.serve.server import pair_opener
from speculative.serve.server import serve as run
from speculative.settings import ROLES, Settings
from speculative.splitreason.service import SplitReasonService


def serve(*, settings: Annotated[Settings | None, Parameter(name="*")] = None, engines: EngineFlags = DEFAULT_ENGINES) -> None:
    """Serve the pair over HTTP, in the words of the OpenAI API, until Ctrl-C or SIGTERM.

    Every setting can also stand in the environment (SPECULATIVE_PORT), in .env, or in speculative.toml, which holds the presets too.
    """
    chosen = settings or Settings()
    given = {role: list(getattr(engines, role)) for role in ROLES if getattr(engines, role) != getattr(DEFAULT_ENGINES, role)}
    chosen = chosen.model_copy(update=given)
    run(chosen, pair_opener(chosen, engines.options()), extensions=[SplitReasonService().mount])
