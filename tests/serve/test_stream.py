"""A streamed reply leaves as it is written, and whole however slowly it is taken."""

import asyncio
import json

import pytest
from serving import ANSWER, ASK, THOUGHT, pair

from speculative.serve.app import create_app
from speculative.serve.app import opened as opened_pair
from speculative.settings import Settings

LONG = "".join(f"Step {number}.\n\n" for number in range(40))


async def replied(send, *, text=f"{LONG}</think>\n\n{ANSWER}<|im_end|>", n=1):
    """One streamed request, straight to the application; `send` takes the messages. All chunks that it was given."""
    engines = pair(text, width=1, small_width=1)
    app = create_app(Settings(log_level="error"), opened_pair(engines))
    async with app.state.service.open():
        return await asked(app, engines, send, n=n)


async def asked(app, engines, send, n=1):
    body = json.dumps({**ASK, "stream": True, "n": n, "max_tokens": 4096, "seed": 1}).encode()
    messages = asyncio.Queue()
    messages.put_nowait({"type": "http.request", "body": body, "more_body": False})
    written = []

    async def taken(message):
        await send(message)
        written.append(message)

    headers = [(b"content-type", b"application/json"), (b"host", b"localhost")]
    path = "/v1/chat/completions"
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": headers,
        "http_version": "1.1",
        "scheme": "http",
        "server": ("localhost", 1),
        "client": ("localhost", 2),
        "root_path": "",
    }
    app.state.service._pair = engines
    await asyncio.wait_for(app(scope, messages.get, taken), 30)
    assert all(engine.running == 0 for engine in set(engines.values()))
    return written


def texts(written):
    """Reasoning and content of each choice, and whether the stream came to its end."""
    data = b"".join(message.get("body", b"") for message in written).decode()
    lines = [line.removeprefix("data: ") for line in data.split("\n\n") if line.startswith("data: ")]
    found = {}
    for line in lines:
        for choice in json.loads(line).get("choices", ()) if line != "[DONE]" else ():
            delta, parts = choice["delta"], found.setdefault(choice["index"], ["", ""])
            parts[0] += delta.get("reasoning", "")
            parts[1] += delta.get("content", "")
    return found, lines[-1] == "[DONE]"


@pytest.mark.parametrize("every", [1, 2, 7])
async def test_a_client_that_reads_slowly_gets_all_of_it_in_order(every):
    """The server makes who writes wait, as it does when its buffer is full."""
    taken = 0

    async def slow(message):
        nonlocal taken
        taken += 1
        if taken % every == 0:
            await asyncio.sleep(0.002)

    found, whole = texts(await replied(slow, n=3))
    assert whole
    assert sorted(found) == [0, 1, 2]
    assert all(tuple(parts) == (LONG, ANSWER) for parts in found.values())


async def test_text_is_sent_piece_by_piece():
    """Not in one heap at the end: there are about as many writes as tokens."""

    async def quick(message):
        pass

    written = await replied(quick)
    assert texts(written)[0][0] == [LONG, ANSWER]
    assert len(written) > len(LONG) / 2


@pytest.mark.parametrize("waits", [False, True])
async def test_a_server_that_fails_to_write_ends_the_chains(waits):
    """The error is the reply's: it is not told as one of the method that was listened to."""
    tried = []

    async def broken(message):
        tried.append(message)
        if len(tried) > 5:
            if waits:
                await asyncio.sleep(0.001)
            raise OSError("the pipe is broken")

    written = await replied(broken, text=f"{THOUGHT * 5}</think>\n\n{ANSWER}<|im_end|>")
    assert len(written) == 5
    assert not any(b"method" in message.get("body", b"") for message in tried[5:])
