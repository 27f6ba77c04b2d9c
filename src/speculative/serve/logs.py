"""The log: JSON lines, or plain lines at a terminal; no prompts and no secrets."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from datetime import UTC, datetime
from typing import Any, TextIO

from speculative.redaction import Redactor

LOG = logging.getLogger("speculative.serve")
LOGGERS = ("speculative", "uvicorn.error", "asyncio")
GREETING = """Speculative Reasoning serves at {url} (its pages: {root}/docs; Ctrl-C ends it). One example:

  curl {url}/chat/completions -H 'Content-Type: application/json'{key} \\
    -d '{{"model": "speculative", "messages": [{{"role": "user", "content": "{problem}"}}]}}'
"""
PROBLEM = "x is a whole number and x * x + 4 * x = 357. Try from 7 on. What is x?"
"""A problem that the bundled pair can read."""


class LineFormatter(logging.Formatter):
    """Formats JSON lines.

    Of an exception it writes type and place; the message could hold a prompt.
    """

    def __init__(self, redact: Redactor) -> None:
        super().__init__()
        self._redact = redact

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[0]:
            line["error"] = record.exc_info[0].__name__
            line["where"] = [f"{f.filename}:{f.lineno} {f.name}" for f in traceback.extract_tb(record.exc_info[2])]
        return self._redact(self.line(line))

    def line(self, fields: dict[str, Any]) -> str:
        """Writes the fields of one line."""
        return json.dumps(fields, default=str)


class TerminalFormatter(LineFormatter):
    """Formats lines for a person. The first one shows the address and a request."""

    def line(self, fields: dict[str, Any]) -> str:
        """Writes the time, the event and its fields."""
        if fields["event"] == "listening":
            url, key = fields["url"], " -H 'Authorization: Bearer KEY'" if fields["authentication"] else ""
            return GREETING.format(url=url, root=url.removesuffix("/v1"), key=key, problem=PROBLEM)
        time, level = datetime.fromisoformat(fields.pop("time")).astimezone(), fields.pop("level")
        event = fields.pop("event") if level == "info" else f"{level}: {fields.pop('event')}"
        more = (f"{name}={value if isinstance(value, str) else json.dumps(value, default=str)}" for name, value in fields.items())
        return " ".join([f"{time:%H:%M:%S}", event, *more])


def log(event: str, level: int = logging.INFO, *, error: BaseException | None = None, **fields: Any) -> None:
    """Writes one line. Fields that are None are left out."""
    if LOG.isEnabledFor(level):
        known = {name: value for name, value in fields.items() if value is not None}
        LOG.log(level, event, extra={"fields": known}, exc_info=(type(error), error, error.__traceback__) if error else None)


def set_up(level: str, redact: Redactor, stream: TextIO | None = None) -> logging.Handler:
    """Sends the log to a stream (standard error) until `take_down`."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter((TerminalFormatter if handler.stream.isatty() else LineFormatter)(redact))
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.addHandler(handler)
        logger.setLevel(level.upper() if name == "speculative" else logging.WARNING)
        logger.propagate = False
    return handler


def take_down(handler: logging.Handler) -> None:
    """Undoes `set_up`."""
    for name in LOGGERS:
        logger = logging.getLogger(name)
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
        logger.propagate = True
