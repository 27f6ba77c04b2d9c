"""Tells a server that turns a call away for now from one that fails."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, cast

from speculative.errors import EngineBusyError

RETRY_STATUSES = frozenset((502, 503, 504))
"""Statuses of a server that may be back in a moment."""

MAX_RETRY_AFTER_S = 7 * 86400.0
"""Seconds beyond which a Retry-After is taken for nonsense."""

EVENT_STATUSES: dict[int | str, int] = {
    **dict.fromkeys((429, "429", "rate_limit_error", "rate_limit_exceeded", "too_many_requests"), 429),
    **dict.fromkeys((503, "503", "service_unavailable", "service_unavailable_error", "unavailable_error", "overloaded_error"), 503),
}
"""The status of an error event, by its `code` or its `type`."""


def busy_error(message: str, after: float | None, status: int) -> EngineBusyError:
    """Makes the error for a call that was turned away.

    Its note says whether another attempt may succeed soon.
    """
    error = EngineBusyError(f"{message}; the server turned the call away, ask it less or later", after, status)
    error.add_note("passing" if after is not None or status in RETRY_STATUSES else "lasting")
    error.lost = status in RETRY_STATUSES
    return error


def busy_event(name: str, said: Any) -> EngineBusyError | None:
    """Makes the error for an error event in a stream that turns the call away.

    Returns None for any other event.
    """
    fields = cast("dict[str, Any]", said) if isinstance(said, dict) else {}
    words = [word for word in (fields.get("code"), fields.get("type")) if isinstance(word, int | str)]
    status = next((EVENT_STATUSES[word] for word in words if word in EVENT_STATUSES), None)
    if status is None:
        return None
    after = retry_after({"Retry-After": str(fields.get("retry_after", ""))})
    return busy_error(f"{name}: {status} {str(fields.get('message', ''))[:300]}", after, status)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Reads Retry-After: seconds, or the time until a date.

    None where it is missing, negative or nonsense.
    """
    said = headers.get("Retry-After", "").strip()
    if re.fullmatch(r"[0-9]+(\.[0-9]+)?", said):
        seconds = float(said)
    else:
        until, now = _date(said), _date(headers.get("Date", "")) or datetime.now(UTC)  # the server's own clock may be another
        seconds = -1.0 if until is None else (until - now).total_seconds()
    return seconds if 0 <= seconds <= MAX_RETRY_AFTER_S else None


def _date(said: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(said)
    except ValueError:
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
