"""A training that is interrupted ends as one that is not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from compiling import TRAINING

pytestmark = TRAINING


def test_an_interrupted_training_goes_on_where_it_was(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from training.batches import CHUNK
    from training.make import PLANS
    from training.model import Shape
    from training.tokenizer import load
    from training.train import train

    tokens = load(Path(__file__).parents[2] / "src" / "speculative" / "bundled" / "small")
    plan = replace(PLANS[0], shape=Shape(64, 1, 64, 1, 1), steps=2 * CHUNK, wide=1, keep_every=CHUNK)

    def interrupt(step: int, model: object) -> bool:
        if step > CHUNK:
            raise KeyboardInterrupt
        return False

    whole = train(plan, tokens, tmp_path / "whole", 0)
    with pytest.raises(KeyboardInterrupt):
        train(plan, tokens, tmp_path / "cut", 0, enough=interrupt)
    resumed = train(plan, tokens, tmp_path / "cut", 0)
    for name, weights in whole.state_dict().items():
        assert torch.equal(weights, resumed.state_dict()[name]), name
    early = train(plan, tokens, tmp_path / "early", 0, enough=lambda step, model: True)
    again = train(plan, tokens, tmp_path / "early", 0)
    assert all(torch.equal(a, b) for a, b in zip(early.state_dict().values(), again.state_dict().values(), strict=True))
    assert not torch.equal(early.model.embed_tokens.weight, whole.model.embed_tokens.weight)
