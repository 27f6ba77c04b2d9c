"""Finds answers with a model, where the grader finds none (`--extract-with`).

A reply counts only if its very words stand in the text. The model never sees the gold answer.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from speculative.answers import WINDOW
from speculative.engines.http.client import Deadlines, ServerClient
from speculative.engines.http.discovery import inspect
from speculative.errors import EngineServerError, UsageError
from speculative.redaction import read_secret

KEY = "OPENAI_API_KEY"
TOKENS = 256

PROMPT = """A question, and a text that somebody wrote to answer it. Copy the final answer out of the text, word for word, and write \
nothing else. Do not answer the question yourself. If the text comes to no answer, write NONE.

Question:
{question}

Text:
{text}"""


class Extractor:
    """A model behind an OpenAI-compatible server.

    `name` is its name in samples and provenance.
    """

    def __init__(self, spec: str) -> None:
        """Takes `MODEL@URL`, or the URL of a server with one model.

        Its key is `OPENAI_API_KEY` of the environment or `.env`.

        Raises:
            UsageError: The spec has no address.
        """
        self.name, _, url = spec.rpartition("@") if "@http" in spec else ("", "", spec)
        if not url.startswith(("http://", "https://")):
            raise UsageError(f"extract-with must be MODEL@URL, got {spec!r}; write it as gpt-4o-mini@https://api.openai.com/v1")
        self._client = ServerClient([url], secret=read_secret(KEY), deadlines=Deadlines(first_token=60.0))

    async def __aenter__(self) -> Extractor:
        """Asks the server for its model, if the spec names none.

        Raises the errors of engines.
        """
        self.name = self.name or (await inspect(self._client)).model
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.aclose()

    async def __call__(self, question: str, text: str) -> tuple[str, str] | None:
        """Returns the boxed answer and the model that found it, or None.

        Raises the errors of engines.
        """
        tail = text[-2 * WINDOW :]
        messages = [{"role": "user", "content": PROMPT.format(question=question, text=tail)}]
        body = {"model": self.name, "messages": messages, "temperature": 0, "max_tokens": TOKENS}
        reply = _content(await self._client.post("chat/completions", body, "extract"), self._client.name)
        return (f"\\boxed{{{reply}}}", self.name) if reply and _is_quoted(" ".join(reply.split()), " ".join(tail.split())) else None


def _is_quoted(words: str, text: str) -> bool:
    """Returns True if the text holds the words as whole words."""
    before, after = (r"(?<![\w.,-])" if words[0].isalnum() else ""), (r"(?![\w]|[.,][0-9])" if words[-1].isalnum() else "")
    return bool(re.search(before + re.escape(words) + after, text))


def _content(data: bytes, server: str) -> str:
    try:
        body: dict[str, Any] = msgspec.json.decode(data)
        return str(body["choices"][0]["message"]["content"] or "").strip()
    except (msgspec.DecodeError, LookupError, TypeError) as error:
        raise EngineServerError(f"{server}: its reply must be a chat completion: {error}; name another --extract-with") from None
