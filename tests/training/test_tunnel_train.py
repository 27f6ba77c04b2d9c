"""Training of the second pair: side by side, and however it is ended the same command goes on to the same models."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import pytest
from compiling import TRAINING

if not (find_spec("torch") and find_spec("onnx")):
    pytest.skip("needs the extra train", allow_module_level=True)


@pytest.mark.slow
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

    plan = replace(PLANS["big"], flat=0.8)
    assert rate(0, 5000, plan) < 0.02
    assert rate(WARM_UP, 5000, plan) == rate(4000, 5000, plan) == 1
    assert rate(4500, 5000, plan) == pytest.approx(0.505)
    assert rate(5000, 5000, plan) == rate(6000, 5000, plan) == pytest.approx(0.01)


def test_the_pace_so_far_decides_how_long_a_training_with_a_time_is(tmp_path: Path) -> None:
    from training.tunnel.make import PLANS
    from training.tunnel.train import BLOCK, Length

    plan = replace(PLANS["big"], blocks=60)
    length = Length(tmp_path, plan)
    length.pace(BLOCK, 40.0)
    assert length.steps == 60 * BLOCK  # no time was given
    (tmp_path / "big.seconds").write_text("100")
    length.pace(2 * BLOCK, 50.0)  # the first block took longer, as compiling does
    assert length.steps == 7 * BLOCK
    (tmp_path / "big.seconds").write_text("30")
    length.pace(3 * BLOCK, 60.0)
    assert length.steps == 3 * BLOCK  # the time is over


def test_seconds_name_a_model() -> None:
    from training.tunnel.make import times

    assert times(["small=240", "big=1235"]) == {"small": 240, "big": 1235}
    for wrong in ("huge=3", "big", "big=soon"):
        with pytest.raises(SystemExit, match=f"must be MODEL=N .*, got {wrong}"):
            times([wrong])


@pytest.mark.slow
def test_attention_and_its_gradients_stay_within_documents() -> None:
    import torch
    from torch.nn import functional

    from training.tunnel.packed import Packed, documents, positions

    torch.manual_seed(0)
    bounds = torch.tensor([0, 7, 20, 20, 44, 50, 50], dtype=torch.int32)
    mine = [torch.randn(50, heads, 64, requires_grad=True) for heads in (4, 2, 2)]
    plain = [x.detach().clone().requires_grad_() for x in mine]
    above = torch.randn(50, 4, 64)
    out = Packed(bounds, 30)(*mine)
    out.backward(above)
    seen = torch.full((50, 50), float("-inf"))
    for piece in documents(bounds):
        size = piece.stop - piece.start
        seen[piece, piece] = torch.full((size, size), float("-inf")).triu(1)
    heads = [x.repeat_interleave(4 // x.shape[1], 1).transpose(0, 1)[None] for x in plain]
    wanted = functional.scaled_dot_product_attention(*heads, attn_mask=seen)[0].transpose(0, 1)
    wanted.backward(above)
    assert torch.allclose(out, wanted, atol=1e-5)
    assert all(torch.allclose(a.grad, b.grad, atol=1e-5) for a, b in zip(mine, plain, strict=True) if a.grad is not None)
    assert positions(bounds, 50).tolist() == [*range(7), *range(13), *range(24), *range(6)]


def test_the_best_look_is_within_the_range_and_has_the_best_weakest_family(tmp_path: Path) -> None:
    import torch
    from safetensors.torch import save_file

    from training.model import Model, Shape
    from training.tunnel.plans import Freeze, take

    shape = Shape(64, 1, 64, 1, 1, 16)
    looks = {
        "big": [(1, 0.70, 0.1), (2, 0.81, 0.2), (3, 0.90, 0.55), (4, 0.91, 0.3), (5, 0.99, 0.9)],
        "rival": [(1, 0.85, 0.60), (2, 0.86, 0.60), (3, 0.93, 0.7)],
    }
    ends = [Freeze(0.8, 0.92, log=tmp_path / f"{name}.freezing.jsonl") for name in looks]
    for end, (name, rows) in zip(ends, looks.items(), strict=True):
        end.log.write_text(
            "".join(json.dumps({"step": step, "tuning_accuracy": share, "weakest": weakest}) + "\n" for step, share, weakest in rows)
        )
        for step, *_ in rows:
            weights = {key: torch.full_like(value, step + 10 * (name == "rival")) for key, value in Model(shape).state_dict().items()}
            save_file(weights, end.snapshot(step))
    assert [int(-look.step) for look in ends[0].ranked()] == [3, 4, 2, 5, 1]
    assert take(Model(shape), ends[:1]).model.norm.weight[0] == 3
    assert take(Model(shape), ends).model.norm.weight[0] == 12
    untouched = Model(shape)
    assert take(untouched, [Freeze(0, 1, log=tmp_path / "none.jsonl"), None]).model.norm.weight[0] == 1


def test_a_reward_model_begins_as_the_lowest_layers_of_big() -> None:
    import torch

    from training.model import Model
    from training.tunnel.plans import BIG, REWARD, lower

    big = Model(BIG)
    made = lower(big, REWARD)
    assert len(made.model.layers) == REWARD.layers < BIG.layers
    assert all(torch.equal(weight, big.state_dict()[name]) for name, weight in made.state_dict().items())
    sizes = [sum(p.numel() for p in model.parameters()) * 2 / 1e6 for model in (big, made)]
    assert sum(sizes) + 2 * 1.25 < 24  # with small and the asking model


@pytest.mark.slow
def test_a_training_needs_only_what_its_machine_has() -> None:
    blocked = "for name in ('msgspec', 'pydantic', 'cyclopts'): sys.modules[name] = None"
    code = f"import sys\n{blocked}\nimport training.tunnel.session, training.tunnel.measure"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})


@pytest.mark.slow
@pytest.mark.torch
@pytest.mark.timeout(900)
def test_a_session_that_ran_out_of_time_goes_on_to_a_packed_pair(tmp_path: Path) -> None:
    from speculative.engines.local import BundledEngine
    from training.tunnel.unpack import unpack

    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TUNNEL_REHEARSAL": "1", "TORCHDYNAMO_DISABLE": "1"}
    command = [sys.executable, "-m", "training.tunnel.session", "--threads", "1", "--work", str(tmp_path / "work")]
    first = subprocess.run([*command, "--within", "1", "--more", "800", "--pack", str(tmp_path / "first")], env=environment, timeout=300)
    assert first.returncode == 75
    assert [path.name for path in (tmp_path / "first").iterdir()] == ["rest.tar.xz"]
    sample = ["--limit", "6", "--tries", "1", "--judged", "6", "--corrected", "4"]
    last = subprocess.run(
        [*command, "--within", "800", "--pack", str(tmp_path / "last"), "--measure", *sample], env=environment, timeout=850
    )
    assert last.returncode == 0
    packed = {path.name for path in (tmp_path / "last").iterdir()}
    models = {f"{name}.safetensors" for name in ("big", "small", "asking", "reward", "spare")}
    assert models < packed <= {*models, "figures.json", "chains.jsonl.xz", "rest.tar.xz"}
    assert unpack(tmp_path / "last", tmp_path / "shipped") == ["big", "small", "asking", "reward"]
    assert BundledEngine.open(tmp_path / "shipped" / "reward").abilities == {"ids", "reward", "cached"}
    assert "continue" in BundledEngine.open(tmp_path / "shipped" / "big").abilities
    assert len((tmp_path / "shipped" / "problems.jsonl").read_text().splitlines()) == 500
    logs = [(tmp_path / "work" / "seed-0" / f"{name}.freezing.jsonl").read_text() for name in ("small", "big", "rival")]
    assert all(json.loads(log.splitlines()[-1])["weakest"] >= 0 for log in logs)


@pytest.mark.usefixtures("one_core")
class TestTraining:
    """Real training, tiny."""

    pytestmark = TRAINING

    def test_a_training_that_was_killed_goes_on_to_the_model_of_one_go(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        import torch

        from training.model import Shape
        from training.origin import OtherOriginError
        from training.tunnel import batches, tokenizer, train
        from training.tunnel.make import PLANS
        from training.tunnel.stepper import Stepper

        for module in (batches, train):
            monkeypatch.setattr(module, "BLOCK", 32)
        monkeypatch.setattr(batches, "GROUP", 1)
        monkeypatch.setattr(batches, "USES", 1)
        tokens = tokenizer.train(0, 100)
        shape = Shape(64, 3, 64, 1, 1, tokenizer.SIZE)
        tiny = replace(PLANS["big"], shape=shape, blocks=2, tokens=1024, wide=1, ripe=10_000, makers=1, end=None)
        whole = train.train(tiny, tokens, tmp_path / "whole", 0).state_dict()

        torch.compiler.reset()
        step, calls = Stepper.step, 0

        def killing(self: Stepper) -> object:
            nonlocal calls
            calls += 1
            if calls == 40:
                raise KeyboardInterrupt
            return step(self)

        monkeypatch.setattr(Stepper, "step", killing)
        with pytest.raises(KeyboardInterrupt):
            train.train(tiny, tokens, tmp_path / "killed", 0)
        again = train.train(tiny, tokens, tmp_path / "killed", 0).state_dict()
        assert all(torch.equal(again[name], weight) for name, weight in whole.items())
        with pytest.raises(OtherOriginError, match=r"plan.ripe was 10000, is 5"):
            train.train(replace(tiny, ripe=5), tokens, tmp_path / "killed", 0)
