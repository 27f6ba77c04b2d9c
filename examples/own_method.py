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
    result = solve("Mia has 40 nuts. She gives 8 nuts to Tom. How many nuts does Mia have now?", EveryThird(every=2))
    print(result.reasoning, result.text, sep="\n")
