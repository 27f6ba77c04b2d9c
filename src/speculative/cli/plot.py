"""`speculative plot`: what `compare --json` printed, as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import msgspec
from cyclopts import Parameter

from speculative.cli.files import check_writable
from speculative.errors import SpeculativeError, UsageError
from speculative.report.frontier import draw


def plot(
    results: Annotated[Path, Parameter(help="a file with what `speculative compare --json` printed")],
    /,
    *,
    out: Annotated[Path, Parameter(help="the picture to write; its ending says the kind: svg, png or pdf")] = Path("frontier.svg"),
) -> int:
    """Draw accuracy against the share of tokens that the big model wrote (needs the extra `plots`)."""
    check_writable(out)
    try:
        rows = msgspec.json.decode(results.read_bytes(), type=list[dict[str, object]])
    except msgspec.DecodeError as error:
        raise UsageError(f"{results} is not what `speculative compare --json` prints: {error}") from None
    try:
        draw(rows, out)
    except OSError as error:
        raise SpeculativeError(f"{out}: {error.strerror or error}; the picture is not saved") from None
    return 0
