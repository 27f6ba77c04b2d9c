"""Training of the second pair: side by side, and however it is ended the same command goes on to the same models."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from compiling import TRAINING

pytest.importorskip("torch")
pytest.importorskip("onnx")

TINY_ROWS = ((1, 256), (1, 1152))


def test_of_commands_side_by_side_the_first_that_fails_ends_the_others() -> None:
    from training.tunnel.make import run_together

    status = run_together([[sys.executable, "-c", "import time; time.sleep(600)"], [sys.executable, "-c", "raise SystemExit(3)"]])
    assert status == 3
    assert run_together([[sys.executable, "-c", ""], [sys.executable, "-c", ""]]) == 0


def test_stacked_matrices_are_made_orthogonal_each_for_itself() -> None:
    import torch

    from training.tunnel.muon import orthogonalize

    torch.manual_seed(0)
    for shape in ((3, 8, 24), (3, 24, 8), (2, 16, 16)):
        stack = torch.randn(shape)
        done = orthogonalize(stack)
        sizes = torch.linalg.svdvals(done)
        assert done.shape == stack.shape
        assert ((sizes > 0.5) & (sizes < 1.4)).all()
        assert torch.allclose(done[:1], orthogonalize(stack[:1]), atol=0.05)


def test_the_rates_fall_from_a_plateau_to_nearly_nothing() -> None:
    from training.tunnel.make import PLANS
    from training.tunnel.train import WARM_UP, rate

    plan = replace(PLANS["big"], decay=1000)
    assert rate(0, 5000, plan) < 0.02
    assert rate(WARM_UP, 5000, plan) == rate(4000, 5000, plan) == 1
    assert rate(4500, 5000, plan) == pytest.approx(0.51)
    assert rate(5000, 5000, plan) == pytest.approx(0.02)


@pytest.mark.usefixtures("one_core")
class TestTraining:
    """Real training, tiny."""

    pytestmark = TRAINING

    def test_a_training_that_was_killed_and_made_longer_gives_the_model_of_one_go(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import torch

        from training.model import Shape
        from training.origin import OtherOriginError
        from training.tunnel import batches, tokenizer, train
        from training.tunnel.make import PLANS

        for module in (batches, train):
            monkeypatch.setattr(module, "BLOCK", 32)
        monkeypatch.setattr(batches, "GROUP", 1)
        monkeypatch.setattr(batches, "USES", 1)
        tokens = tokenizer.train(0, 100)
        shape = Shape(64, 3, 64, 1, 1, tokenizer.SIZE)
        tiny = replace(PLANS["big"], shape=shape, blocks=2, rows=TINY_ROWS, ripe=10_000, decay=32, makers=1)
        whole = train.train(tiny, tokens, tmp_path / "whole", 0).state_dict()

        torch.compiler.reset()
        update, calls = train.update, 0

        def killing(*arguments: object) -> object:
            nonlocal calls
            calls += 1
            if calls == 40:
                raise KeyboardInterrupt
            return update(*arguments)  # type: ignore[arg-type]

        monkeypatch.setattr(train, "update", killing)
        with pytest.raises(KeyboardInterrupt):
            train.train(tiny, tokens, tmp_path / "killed", 0)
        # its last checkpoint stands before the rates begin to fall, so its plan may be longer or shorter from here on
        (tmp_path / "killed" / "big.blocks").write_text("2")
        again = train.train(replace(tiny, blocks=9), tokens, tmp_path / "killed", 0).state_dict()
        assert all(torch.equal(again[name], weight) for name, weight in whole.items())
        with pytest.raises(OtherOriginError, match=r"plan.ripe was 10000, is 5"):
            train.train(replace(tiny, ripe=5), tokens, tmp_path / "killed", 0)
