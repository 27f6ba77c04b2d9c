"""Writes chains of checked steps by bare calls: the line that the library is held against.

The calls are those of `likelihood_verify,pipeline=accept`: small drafts a step while big scores the one before with its cache kept, and big
writes a step that is rejected. Verdicts are drawn as in forced.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random
from typing import Any

import aiohttp


class RawLoop:
    """Two servers, and the session over which they are called."""

    def __init__(self, big: str, small: str, model: str) -> None:
        self._urls = {"big": big.removesuffix("/v1"), "small": small.removesuffix("/v1")}
        self._model = model

    async def __aenter__(self) -> RawLoop:
        limits = {"connector": aiohttp.TCPConnector(limit=0), "timeout": aiohttp.ClientTimeout(600), "read_bufsize": 1 << 22}
        self._session = aiohttp.ClientSession(**limits)
        return self

    async def __aexit__(self, *_: Any) -> None:
        await self._session.close()

    async def chain(self, seed: int, prompt: Sequence[int], tokens: int, step: int, answer: int, acceptance: float) -> int:
        """Writes one chain. Returns the number of its tokens."""
        draws, text, left = Random(seed), list(prompt), tokens
        ahead: asyncio.Task[list[int]] | None = None
        while left > 0:
            draft = await (ahead or self.write("small", text, min(step, left)))
            left -= len(draft)
            ahead = asyncio.create_task(self.write("small", text + draft, min(step, left))) if left > 0 else None
            await self._score(text + draft)
            if draws.random() >= acceptance:
                if ahead:
                    ahead.cancel()
                    await asyncio.gather(ahead, return_exceptions=True)
                    ahead = None
                draft = await self.write("big", text, len(draft))
            text += draft
        await self.write("big", text, answer)
        return tokens + answer

    async def write(self, role: str, prompt: Sequence[int], tokens: int) -> list[int]:
        """Writes tokens with one server. Returns their ids."""
        body = {"prompt": [*prompt], "max_tokens": tokens, "ignore_eos": True, "temperature": 0.6, "top_p": 0.95, "return_token_ids": True}
        return (await self._post(role, "/v1/completions", body))["choices"][0]["token_ids"]

    async def _score(self, ids: list[int]) -> None:
        sampling = {"max_tokens": 1, "temperature": 0, "prompt_logprobs": 0, "skip_reading_prefix_cache": False, "detokenize": False}
        await self._post("big", "/inference/v1/generate", {"token_ids": ids, "sampling_params": sampling})

    async def _post(self, role: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        async with self._session.post(self._urls[role] + path, json={"model": self._model, **body}) as answer:
            if answer.status != 200:
                raise RuntimeError(f"{role} {path}: {answer.status} {(await answer.text())[:200]}")
            return await answer.json()
