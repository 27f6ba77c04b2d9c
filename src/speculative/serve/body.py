"""Reads the JSON body of a request within limits of time, bytes and values."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from speculative.serve.errors import ApiError, shutting_down, validation_error
from speculative.settings import Settings

Model = TypeVar("Model", bound=BaseModel)

MAX_VALUES = 32_768
"""Names and values in a body at most: a conversation of 256 turns with a hundred tools has about 20,000."""
STRING = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
"""The rest of a string, up to its closing quote or to an escape that is cut in two."""
MARKS = (b",", b":", b"[", b"{")


class BodyDeadlines:
    """Ends the wait for a body at its deadline, or when the service shuts down."""

    def __init__(self) -> None:
        self._closed = False
        self._waits: set[asyncio.Timeout] = set()

    def close(self) -> None:
        """Waits for no body any more."""
        self._closed = True
        for wait in self._waits:
            if not wait.expired():  # one whose deadline has just passed cannot be changed any more
                wait.reschedule(asyncio.get_running_loop().time())

    async def read(self, request: Request, settings: Settings) -> bytes:
        """Reads a body. Raises `ApiError` (408, 413, 503)."""
        wait = asyncio.timeout(0 if self._closed else settings.request_seconds)
        self._waits.add(wait)
        try:
            async with wait:
                return await _read(request, settings)
        except TimeoutError:
            raise shutting_down() if self._closed else _late(settings.request_seconds) from None
        finally:
            self._waits.discard(wait)


async def read_body(request: Request, model: type[Model], settings: Settings, deadlines: BodyDeadlines) -> Model:
    """Reads and validates a body.

    Raises:
        ApiError: 400 (not JSON, or not of this form), 408, 413, 415 or 503.
    """
    _check_headers(request, settings.max_body)
    return parse_body(await deadlines.read(request, settings), model)


def parse_body(data: bytes, model: type[Model]) -> Model:
    """Parses and validates a body. Raises `ApiError` (400)."""
    try:
        return model.model_validate(json.loads(data))
    except ValidationError as error:
        raise validation_error(error.errors(include_url=False)) from None
    except (ValueError, RecursionError) as error:
        raise ApiError(400, f"the body is not JSON: {_json_mistake(error)}", code="invalid_json") from None


class BodyMeter:
    """Counts the bytes and the JSON values of one body.

    It skips strings and counts the marks that separate values. A streaming parser would have to agree in every case with the parser
    that reads the body afterwards.
    """

    def __init__(self, max_bytes: int, max_values: int = MAX_VALUES) -> None:
        self.values = 0
        self._max_bytes, self._max_values = max_bytes, max_values
        self._bytes = 0
        self._in_string = self._escaped = False

    def add(self, data: bytes) -> None:
        """Counts a chunk. Raises `ApiError` (413) for too many bytes or values."""
        self._bytes += len(data)
        if self._bytes > self._max_bytes:
            raise _too_large(self._max_bytes)
        place, self._escaped = (1 if self._escaped and data else 0), self._escaped and not data
        while place < len(data):
            place = self._skip_string(data, place) if self._in_string else self._count_values(data, place)
            if self.values > self._max_values:
                raise ApiError(413, f"the body must have at most {self._max_values} values; send less", code="too_many_values")

    def _skip_string(self, data: bytes, place: int) -> int:
        found = STRING.match(data, place)
        end = found.end() if found else place
        if end < len(data):
            self._escaped = data[end] == ord("\\")  # only as the last byte: its other half begins the next chunk
            self._in_string = self._escaped
        return end + 1

    def _count_values(self, data: bytes, place: int) -> int:
        quote = data.find(b'"', place)
        end = len(data) if quote < 0 else quote
        self.values += (quote >= 0) + sum(data.count(mark, place, end) for mark in MARKS)
        self._in_string = quote >= 0
        return end + 1


def _check_headers(request: Request, max_bytes: int) -> None:
    headers = request.headers
    length = headers.get("content-length", "")
    if length.isdigit() and int(length[:20]) > max_bytes:
        raise _too_large(max_bytes)
    encoding = headers.get("content-encoding", "").strip()
    if encoding.lower() not in ("", "identity"):
        raise ApiError(415, f"the body must not be encoded, got Content-Encoding {encoding[:40]!r}; send it plain", code="encoded_body")
    if "upgrade" in headers:  # the HTTP parser gives the body to the other protocol, so it is lost
        raise ApiError(
            400,
            f"the request must stay HTTP/1.1, got an offer to change to {headers['upgrade'][:40]!r}; "
            "send no Upgrade header (Java: HttpClient.Version.HTTP_1_1), or put a reverse proxy in front",
            code="upgrade_offered",
        )
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise ApiError(415, f"the body must be JSON, got {kind[:80] or 'no type'}; send `Content-Type: application/json`", code="not_json")


async def _read(request: Request, settings: Settings) -> bytes:
    meter, chunks = BodyMeter(settings.max_body), list[bytes]()
    async for chunk in request.stream():
        meter.add(chunk)
        chunks.append(chunk)
    return b"".join(chunks)


def _json_mistake(error: Any) -> str:
    """Describes why a body is not JSON, and where."""
    match error:
        case json.JSONDecodeError():
            return f"{error.msg} at character {error.pos}"
        case UnicodeDecodeError():
            return f"not {error.encoding}, {error.reason} at byte {error.start}"
        case RecursionError():
            return "it is nested too deep"
        case _:
            return "a number in it has too many digits"


def _late(seconds: float) -> ApiError:
    return ApiError(
        408,
        f"the body did not arrive within {seconds:g} s; send it faster, or start the service with a longer --request-seconds",
        code="request_timeout",
    )


def _too_large(max_bytes: int) -> ApiError:
    return ApiError(413, f"the body must have at most {max_bytes} bytes; send less", code="body_too_large")
