"""A method of one's own: small writes, and big takes over every third step."""

from pydantic import Field

from speculative import Chain, Method, solve


class EveryThird(Method):
    """Big writes every n-th step."""

    every: int = Field(default=3, ge=1, description="big writes one step of so many")

    async def think(self, chain: Chain) -> None:
        while chain.thinking:
            big = len(chain.steps.done) % self.every == self.every - 1
            await chain.write("big" if big else "small", stop="\n\n")


if __name__ == "__main__":
    result = solve("Begin at 47 and go up by 7. What is the first number that leaves 0 when divided by 5?", EveryThird(every=2))
    print(result.reasoning, result.text, sep="\n")
