"""The path from a verb to an engine is short."""

from __future__ import annotations

import inspect
from typing import Any

from strategies import scripted_pair, started

from speculative import Pair, Problem
from speculative.testing import ScriptedEngine


class Watching(ScriptedEngine):
    """Remembers the functions on the stack when it was called."""

    stack: tuple[str, ...] = ()

    async def complete(self, *args: Any, **kwargs: Any) -> Any:
        self.stack = tuple(frame.function for frame in inspect.stack())
        return await super().complete(*args, **kwargs)


async def test_write_reaches_the_engine_in_six_frames() -> None:
    engine = Watching("abc</think>", name="big")
    chain = started(Problem.of("6*7?"), Pair(engine, scripted_pair()["small"]))
    await chain.write("big")
    path = engine.stack[: engine.stack.index("test_write_reaches_the_engine_in_six_frames")]
    assert (path[0], path[-1]) == ("complete", "write")
    assert len(path) <= 6, path
