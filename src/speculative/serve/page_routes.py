"""Serves the page at `/`: files of the package, and nothing from elsewhere."""

from __future__ import annotations

from importlib.resources import files

from fastapi import FastAPI, Response
from starlette.exceptions import HTTPException

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-cache",
}
PAGE = "index.html"
KINDS = {"js": "text/javascript; charset=utf-8", "css": "text/css; charset=utf-8", "html": "text/html; charset=utf-8"}
ASSETS = ("live.js", "math.js", "style.css")
"""The files that the page asks for, by their names under `/page`."""


def add_page_routes(app: FastAPI) -> None:
    """Adds the page and its files.

    They need no key, since they hold no data. The page asks for one where the service needs it.
    """

    async def page() -> Response:
        return _reply(PAGE)

    async def asset(name: str) -> Response:
        if name not in ASSETS:
            raise HTTPException(404, "the page has no such file")
        return _reply(name)

    app.add_api_route("/", page, methods=["GET"], include_in_schema=False)
    app.add_api_route("/page/{name}", asset, methods=["GET"], include_in_schema=False)


def _reply(name: str) -> Response:
    data = files("speculative").joinpath("viewer", name).read_bytes()
    return Response(data, media_type=KINDS[name.rpartition(".")[2]], headers=HEADERS)
