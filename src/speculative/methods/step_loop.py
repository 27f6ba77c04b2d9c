"""Writes steps of small and decides on each of them, in a loop for many methods."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Literal

from speculative.chain.chain import Chain
from speculative.chain.drafts import Draft
from speculative.chain.steps import STEP
from speculative.methods.threshold import explain_below, reaches
from speculative.trace.events import Judgement

Pipeline = Literal["off", "accept", "both"]
"""The work that goes on while a step is judged: none, small's next step, or also big's step in place of the judged one."""

Judge = Callable[[Chain, Draft], Awaitable[Judgement | None]]
"""Judges a step of small. It is kept if its score reaches the threshold; None stands for a step that could not be judged."""


def is_bare(text: str) -> bool:
    """Returns True for a text without a letter or digit, which cannot be judged.

    A draft that only ends the thinking has such a text.
    """
    return not any(character.isalnum() for character in text)


def passes(judgement: Judgement | None) -> bool:
    """Returns True if the score reaches the threshold."""
    return judgement is not None and reaches(judgement.score, judgement.threshold or 0.0)


def explain(judgement: Judgement | None) -> str:
    """Returns the reason of a rejection."""
    if judgement is None:
        return "it could not be judged"
    return explain_below("score", judgement.score, judgement.threshold or 0.0)


def always() -> bool:
    """Returns True: nothing but the end of the thinking ends the loop."""
    return True


async def verify_steps(
    chain: Chain,
    judge: Judge,
    *,
    pipeline: Pipeline = "off",
    first_big_steps: int = 0,
    step_tokens: int | None = None,
    proceed: Callable[[], bool] = always,
) -> None:
    """Writes the thinking from steps of small, and of big where those do not pass.

    Small drafts each step, `judge` decides, and big writes the steps that do not pass.
    A step without letters and digits is kept and not judged. So is a draft that only ends the thinking: no model checks that end, and
    `answer_by` writes the answer. The accepted text is the same for every `pipeline` at temperature 0.

    Args:
        chain: The chain, to the end of its thinking.
        judge: Judges a draft.
        pipeline: The work that goes on meanwhile.
        first_big_steps: Steps that big writes at the beginning.
        step_tokens: The most tokens of a step.
        proceed: Is asked before each step but the first. With False the loop ends, and a step that is drafted already is rejected.
    """
    for _ in range(first_big_steps):
        if chain.thinking:
            await chain.write("big", stop=STEP, max_tokens=step_tokens)
    async with asyncio.TaskGroup() as group:

        def start(role: Literal["big", "small"], after: Draft | None = None) -> asyncio.Task[Draft]:
            return group.create_task(chain.draft(role, after=after, stop=STEP, max_tokens=step_tokens))

        step: Draft | None = None
        begun = False
        while chain.thinking:
            if begun and not proceed():
                if step:
                    chain.reject(step, "the method goes on in another way")
                break
            begun = True
            step = step or await start("small")
            if is_bare(step.text):
                await chain.accept(step)
                step = None
                continue
            following = start("small", step) if pipeline != "off" and not step.ended else None
            other = start("big") if pipeline == "both" else None
            await asyncio.sleep(0)  # they begin where the chain ends now
            judgement = await judge(chain, step)
            if passes(judgement):
                await chain.accept(step, keep_descendants=True, judgement=judgement)
                if following and not chain.thinking:
                    following.cancel()
                step = await following if following and chain.thinking else None
            else:
                chain.reject(step, explain(judgement), judgement=judgement)
                if other:
                    await chain.accept(await other)
                else:
                    await chain.write("big", stop=STEP, max_tokens=step_tokens)
                step = None
