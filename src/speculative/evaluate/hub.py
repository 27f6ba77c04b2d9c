"""Public data sets, through the package `datasets` (extra `eval`). It keeps what it fetched: later runs need no network."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from typing import Any

from speculative.engines.hub import unreachable
from speculative.errors import MissingExtraError, SpeculativeError
from speculative.secret import secret

NEXT = "fetch it where there is a network, or name a JSON-lines file with --data"


def rows(dataset: str, config: str | None, split: str) -> Iterator[Mapping[str, Any]]:
    """The rows of a data set. `HF_TOKEN` (environment or `.env`) is for those behind a gate.

    Raises `UsageError` without the package, and `SpeculativeError` that names the data set if it cannot be had.
    """
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    if unreachable():
        os.environ["HF_HUB_OFFLINE"] = "1"  # the package looks into its cache only, and does not retry for half a minute
    try:
        import datasets
    except ImportError:
        raise MissingExtraError(f"the data set {dataset}", "the package datasets", "eval", " (or give a file with --data)") from None
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it tells of every try, five in half a minute
    try:
        found: Any = datasets.load_dataset(dataset, config, split=split, token=secret("HF_TOKEN"))  # pyright: ignore[reportUnknownMemberType]
    except Exception as error:  # noqa: BLE001  the package, its network and its file formats each have errors of their own
        cause = error.__cause__ or error  # which a dataset's reader wraps
        reason = " ".join(str(cause).split()) or type(cause).__name__
        gate = "; it is behind a gate: accept its terms on the hub and set HF_TOKEN" if "gated" in reason.lower() else ""
        raise SpeculativeError(f"the data set {dataset} cannot be had: {reason[:300]}{gate}; {NEXT}") from None
    yield from found
