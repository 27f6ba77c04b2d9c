"""Reads text from files and standard input, and writes whole files."""

from __future__ import annotations

import os
import secrets
import sys
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE, BOM_UTF32_BE, BOM_UTF32_LE
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from speculative.errors import UsageError

STDIN = "-"
"""The path that stands for standard input."""

MARKS = (
    (BOM_UTF8, "utf-8"),
    (BOM_UTF32_LE, "utf-32-le"),
    (BOM_UTF32_BE, "utf-32-be"),
    (BOM_UTF16_LE, "utf-16-le"),
    (BOM_UTF16_BE, "utf-16-be"),
)
"""The byte order marks of Unicode's encodings. A mark stands before the shorter marks that it begins with."""

CONVERT = "convert it to UTF-8, for example with `iconv -f {} -t UTF-8`"


def read_text(path: Path, name: str = "", hint: str = "name another file") -> str:
    """Reads a file, or standard input for `-`, as text.

    The encoding is UTF-8, or that of the byte order mark.

    Args:
        path: the file.
        name: the file's name in errors; the path unless given.
        hint: the next step in the error for an unreadable file.

    Raises:
        UsageError: The file cannot be read or decoded.
    """
    return decode(read_bytes(path, name, hint), _name(path, name))


def read_stdin() -> str:
    """Reads standard input as text. Raises `UsageError`."""
    return read_text(Path(STDIN))


def read_bytes(path: Path, name: str = "", hint: str = "name another file") -> bytes:
    """Reads a file, or standard input for `-`. Raises `UsageError`."""
    try:
        if str(path) != STDIN:
            return path.read_bytes()
        if sys.stdin is None:
            raise UsageError("standard input is closed; name a file")
        return sys.stdin.buffer.read()
    except (OSError, ValueError) as error:  # a ValueError for a zero byte in the path
        raise UsageError(f"{_name(path, name)}: {getattr(error, 'strerror', None) or error}; {hint}") from None


def expand_home(path: str) -> Path:
    """Returns a path with a home folder in place of `~`.

    The name of an unknown user stays.
    """
    with suppress(RuntimeError):
        return Path(path).expanduser()
    return Path(path)


def is_folder(spec: str) -> bool:
    """Returns whether a text is the path of a folder."""
    try:
        return expand_home(spec).is_dir()
    except (OSError, ValueError):  # a text that no path can have, as one that is too long
        return False


def decode(data: bytes, name: str) -> str:
    """Decodes the bytes of a file, without its byte order mark.

    Raises `UsageError` that names the byte and its line.
    """
    mark, codec = next(((mark, codec) for mark, codec in MARKS if data.startswith(mark)), (b"", "utf-8"))
    data = data[len(mark) :]
    try:
        text = data.decode(codec)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        found = f"byte {len(mark) + error.start} is 0x{data[error.start]:02x} (line {line})"
        step = CONVERT.format(_likely(data)) if codec == "utf-8" else "it is damaged or cut off: save it as UTF-8"
        raise UsageError(f"{name} is not valid {codec.upper()}: {found}; {step}") from None
    if "\0" in text:
        line = text.count("\n", 0, text.index("\0")) + 1
        step = f"if it is text, {CONVERT.format(_likely(data))}" if codec == "utf-8" else "save it as UTF-8 text"
        raise UsageError(f"{name} is not text: line {line} holds a zero byte; {step}")
    return text


def _likely(data: bytes) -> str:
    """Returns the likely encoding of a text that is not UTF-8.

    UTF-16 without its mark has a zero in most pairs of bytes.
    """
    even, odd = data[::2].count(0), data[1::2].count(0)
    if not (even or odd) or 4 * max(even, odd) < len(data) // 2:
        return "LATIN1"
    return "UTF-16LE" if odd > even else "UTF-16BE"


def write_file(path: Path, data: bytes | Iterable[bytes]) -> None:
    """Writes a whole file or nothing: it writes a temporary file and renames it.

    Raises `OSError` with the file's name.

    `data` may be an iterable of parts, so that the whole does not have to fit into memory.
    """
    parts = [data] if isinstance(data, bytes) else data
    if path.exists() and not path.is_file():  # a pipe or a device cannot be replaced
        with path.open("wb") as file:
            file.writelines(parts)
        return
    path = path.resolve()  # a link keeps its target
    beside = path.with_name(f".{path.name[:200]}.{secrets.token_hex(4)}")
    try:
        with beside.open("xb") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException as error:
        beside.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.filename is None:  # the error of a full disk names no file
            error.filename = str(path)
        raise


def _name(path: Path, name: str) -> str:
    return name or ("standard input" if str(path) == STDIN else str(path))
