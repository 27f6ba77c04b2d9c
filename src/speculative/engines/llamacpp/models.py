"""Finds GGUF files on this machine or on the hub."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import Any, cast

from speculative.engines import hub
from speculative.errors import UsageError, quote
from speculative.files import expand_home, is_folder
from speculative.redaction import read_secret

SUFFIX = ".gguf"
QUANT = "Q4_K_M"
"""The file of a repository that is taken where none is named, as llama.cpp does."""

HUB_FILE = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)/(?P<file>[\w./+-]+\.gguf)", re.IGNORECASE)
HUB_REPO = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+?(?P<gguf>-GGUF)?)(?::(?P<quant>[\w.-]+))?", re.IGNORECASE)
PART = re.compile(r"-(\d{5})-of-(\d{5})\.gguf$", re.IGNORECASE)


def names_gguf(spec: str) -> bool:
    """Returns whether a spec names a GGUF file, here or on the hub.

    It does as PATH.gguf, OWNER/NAME/FILE.gguf, OWNER/NAME-GGUF and OWNER/NAME:QUANT.
    """
    if "://" in spec:
        return False
    if spec.lower().endswith(SUFFIX):
        return True
    named = HUB_REPO.fullmatch(spec)
    return bool(named and (named["quant"] or named["gguf"]) and not is_folder(spec))


def find(spec: str) -> Path:
    """Returns the GGUF file that a spec names. One of the hub is fetched.

    Raises:
        UsageError: There is no such file, here or on the hub.
    """
    with suppress(OSError):  # a text that is too long for a path
        if (path := expand_home(spec)).is_file():
            return path.absolute()
    if named := HUB_FILE.fullmatch(spec):
        return _fetch(named["repo"], named["file"])
    if (named := HUB_REPO.fullmatch(spec)) and not spec.lower().endswith(SUFFIX):
        return _fetch(named["repo"], _choose(named["repo"], named["quant"]))
    raise UsageError(
        f"model {quote(spec)} must be a GGUF file of this machine, and there is no such file; a file of the hub is OWNER/NAME/FILE.gguf"
    )


def _choose(repo: str, quant: str | None) -> str:
    """Returns the name of the file in a repository that has the quantization."""
    files = sorted(name for name in _listed(repo) if name.lower().endswith(SUFFIX) and "mmproj" not in name.lower())
    first = [name for name in files if not (part := PART.search(name)) or int(part[1]) == 1]
    wanted = quant or (QUANT if len(first) > 1 else "")
    found = [name for name in first if wanted.lower() in name.lower()]
    if not found:
        raise UsageError(f"the repository {repo} has no GGUF file with {wanted!r} in its name; it has {', '.join(first[:20]) or 'none'}")
    return min(found, key=len)


def _listed(repo: str) -> list[str]:
    import huggingface_hub

    _reach(repo)
    return _call_hub(repo, lambda: cast("Any", huggingface_hub).HfApi().list_repo_files(repo, token=read_secret("HF_TOKEN")))


def _fetch(repo: str, name: str) -> Path:
    """Returns a file of the hub, with all its parts where it is one of several."""
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    fetch: Any = cast("Any", huggingface_hub).hf_hub_download

    def one(file: str) -> Path:
        try:
            return Path(fetch(repo, file, local_files_only=True))
        except LocalEntryNotFoundError:
            _reach(repo)
            return Path(fetch(repo, file, token=read_secret("HF_TOKEN")))

    part = PART.search(name)
    names = [f"{name[: part.start()]}-{place:05}-of-{part[2]}{SUFFIX}" for place in range(1, int(part[2]) + 1)] if part else [name]
    return _call_hub(repo, lambda: [one(file) for file in names])[0]


def _reach(repo: str) -> None:
    """Raises `UsageError` at once where the hub cannot be reached."""
    if why := hub.unreachable():
        raise UsageError(f"the model {repo} is not in this machine's cache of the hub, and {why}; name a file of this machine")


def _call_hub(repo: str, call: Any) -> Any:
    """Returns what the hub says.

    Raises `UsageError` in one line where it cannot be asked, or has no such thing.
    """
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return call()
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        why = (str(error).strip().splitlines() or [""])[0][:200]
        raise UsageError(
            f"the model {repo} cannot be fetched from the hub ({type(error).__name__}: {why}); name a file of this machine"
        ) from None
