"""The deadline that begins again whenever something comes."""

import asyncio

from speculative.engines.http.silence import NEVER, Silence


async def test_silence_is_told_again_and_again_until_it_is_stopped():
    rings = asyncio.Semaphore(0)
    silence = Silence(0.01, rings.release)
    async with asyncio.timeout(5):
        await rings.acquire()
        await rings.acquire()
    silence.stop()
    heard = rings.locked()
    await asyncio.sleep(0.05)
    assert rings.locked() is heard


async def test_what_is_heard_or_not_expected_breaks_no_silence():
    rung: list[str] = []
    busy, idle = Silence(0.5, lambda: rung.append("busy")), Silence(0.02, lambda: rung.append("idle"))
    idle.since = NEVER
    for _ in range(8):
        busy.since = busy.clock()
        await asyncio.sleep(0.1)
    busy.stop()
    idle.stop()
    assert not rung
