"""Origins: what a file of the work folder was made of. Another plan, other data or another seed never go on from it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from speculative.files import write_file


class OtherOriginError(Exception):
    """A file is there that was made of something else."""


def claim(path: Path, made_of: Mapping[str, object]) -> bool:
    """Whether the file is there, made of just this. If it is not there its origin is noted beside it, in `NAME.origin.json`.

    Raises `OtherOriginError`, which names what differs.
    """
    beside, now = path.with_suffix(".origin.json"), dict(told("", made_of))
    if not path.exists():
        write_file(beside, f"{json.dumps(now, indent=2)}\n".encode())
        return False
    try:
        before: dict[str, object] = json.loads(beside.read_text())
    except (OSError, ValueError):
        raise OtherOriginError(f"nothing says what {path} was made of ({beside.name} cannot be read); {NEXT}") from None
    differing = [f"{name} was {before.get(name)}, is {now.get(name)}" for name in {**before, **now} if before.get(name) != now.get(name)]
    if differing:
        raise OtherOriginError(f"{path} was made of something else: {'; '.join(differing)}; {NEXT}")
    return True


NEXT = "give --work another folder, or remove that file to make it again"


def told(name: str, thing: object) -> Iterator[tuple[str, Any]]:
    """A thing as names and plain values: `plan.shape.width`, 128."""
    if is_dataclass(thing):
        thing = {field.name: getattr(thing, field.name) for field in fields(thing)}
    if isinstance(thing, Mapping):
        for key, value in thing.items():
            yield from told(f"{name}.{getattr(key, '__name__', key)}".removeprefix("."), value)
    else:
        yield name, json.loads(json.dumps(thing))


def digest(*texts: str | bytes) -> str:
    """A short name for texts: others have another."""
    whole = hashlib.blake2b(digest_size=8)
    for text in texts:
        piece = text.encode() if isinstance(text, str) else text
        whole.update(b"%d:" % len(piece) + piece)
    return whole.hexdigest()
