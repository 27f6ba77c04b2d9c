"""Tells at once whether the Hugging Face hub can be reached.

Its own package retries for half a minute, a line for each try.
"""

from __future__ import annotations

import os
import ssl
from http.client import HTTPException
from threading import Thread
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

DEADLINE = 5.0
"""Seconds in which the hub has to answer."""


def unreachable() -> str:
    """Returns why the hub cannot be reached, or an empty string if it can."""
    address = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return "HF_HUB_OFFLINE is set"
    found: list[str] = []
    thread = Thread(target=lambda: found.append(_failure(address)), daemon=True)  # a look-up of a name cannot be cut short
    thread.start()
    thread.join(DEADLINE)
    why = found[0] if found else f"no answer within {DEADLINE:g} s"
    return f"{address} cannot be reached ({why})" if why else ""


def _failure(address: str) -> str:
    """Asks for one page.

    Any answer will do, and so will a certificate that only the hub's own package trusts.
    """
    try:
        urlopen(Request(address, method="HEAD"), timeout=DEADLINE).close()
    except HTTPError:
        return ""
    except URLError as error:
        return "" if isinstance(error.reason, ssl.SSLError) else str(getattr(error.reason, "strerror", None) or error.reason)
    except (OSError, HTTPException, ValueError) as error:
        return str(error) or type(error).__name__
    return ""
