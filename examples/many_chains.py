"""Many chains at once on one pair, from asynchronous code."""

import asyncio

from speculative import Pair, asolve

PROBLEM = "x is a whole number and x * x + 4 * x = 357. Try from 7 on. What is x?"


async def main() -> None:
    async with Pair.open() as pair:
        results = await asyncio.gather(*(asolve(PROBLEM, "random_switch", pair=pair, seed=seed) for seed in range(8)))
    for result in results:
        big = result.usage.get("big")
        print(result.answer, result.finish_reason, f"big wrote {big.kept_tokens if big else 0} tokens")


if __name__ == "__main__":
    asyncio.run(main())
