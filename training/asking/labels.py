"""Labels: which steps of a chain are hard for the small model, as the big one sees its own tries at them."""

from __future__ import annotations

from itertools import groupby
from typing import ClassVar

from pydantic import Field

from speculative.chain.chain import Chain
from speculative.chain.steps import STEP
from speculative.engines.base import Tokenizer
from speculative.methods.advisor import FIELDS, LEVEL, Advisor
from speculative.methods.base import Method
from speculative.methods.handoff import Handoff
from speculative.methods.likelihood_verify import mean_score
from speculative.methods.offload import Offload
from speculative.methods.relay import Relay
from speculative.prompts import Question
from speculative.trace.state import Ledger, Piece
from speculative.trace.trace import Trace
from training.asking.rows import Row, Span

TAG = 2.0  # the weight of a tag: there are few of them
ROUND = 20  # a call is for a multiple of so many tokens


class Labelled(Method):
    """Small writes each step; where big finds it unlikely, big writes it, and with `advice` small gets advice before."""

    needs: ClassVar[dict[str, set[str]]] = {"big": {"score"}}

    threshold: float = Field(-0.1, le=0, description="mean log-probability that a step of small needs to stay")
    advice: bool = Field(False, description="have big advise before a step that it writes")

    async def think(self, chain: Chain) -> None:
        while chain.thinking:
            step = await chain.draft("small", stop=STEP)
            score = await mean_score(chain, step)
            if score is None or score >= self.threshold:
                await chain.accept(step)
                continue
            chain.reject(step, "big finds it unlikely")
            if self.advice:
                reply = await chain.ask("big", Question("hint", FIELDS, level=LEVEL))
                chain.note("small", chain.dialect("small").show_hint(reply.text, LEVEL))
            await chain.write("big", stop=STEP)


def thinking(trace: Trace) -> list[Piece]:
    """The text of the thinking and small's notes in it, in order."""
    return [piece for piece in Ledger.of(trace).entries if piece.phase == "thinking" and piece.note_for in ("", "small")]


def is_hard(piece: Piece) -> bool:
    """Whether big wrote a piece because small could not."""
    return piece.author == "big" and bool(piece.text)


def supervise(method: Method, problem: str, trace: Trace, tokenizer: Tokenizer) -> Row:
    """A labelled chain as the small model should write it: a tag before what was too hard for it. Big's part is read only."""
    spans: list[Span] = []
    pieces = thinking(trace)
    for hard, group in groupby(pieces, is_hard):
        some = list(group)
        text = "".join(piece.text for piece in some)
        match method:
            case Offload() if hard:
                spans += [Span(f"{method.open_tag}\n", TAG), Span(text), Span(f"{method.close_tag}\n", 1.0)]
            case Relay() if hard:
                tokens = -(-len(tokenizer.encode(text)) // ROUND) * ROUND
                spans += [Span(f"{method.open_tag}{tokens}{method.close_tag}\n", TAG), Span(text)]
            case Handoff() if hard:
                return Row(f"{problem}\n{method.hint}", (*spans, Span(f"{method.tag}\n", TAG)))
            case Advisor():  # with advice small writes the step itself
                for piece in some:
                    spans += [Span(f"{method.tag}\n", TAG), Span(piece.text)] if piece.note_for else [Span(piece.text, 1.0)]
            case Offload() | Relay() | Handoff():
                spans.append(Span(text, 1.0))
            case _:
                raise SystemExit(f"asking: --method must be offload, relay, handoff or advisor, got {type(method).name()}")
    return Row(f"{problem}\n{method.hint}", tuple(spans), 1.0 if pieces and pieces[-1].ends else None)
