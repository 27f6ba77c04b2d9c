"""The command that trains: however it is ended, the same command goes on, and the pair is the same."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from compiling import TRAINING

pytestmark = TRAINING
if not (find_spec("torch") and find_spec("onnx")):
    pytest.skip("needs the extra train", allow_module_level=True)

SMALL = Path(__file__).parents[2] / "src" / "speculative" / "bundled" / "small"


class Killed(BaseException):
    """The process ends here: nothing that runs afterwards may matter."""


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_every_seed_has_checkpoints_of_its_own_and_ctrl_c_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from training import make

    made: list[Path] = []

    def noting(out: Path, work: Path, seed: int) -> None:
        made.append(work)
        interrupt()

    monkeypatch.setattr(make, "make", noting)
    for seed in ("0", "1"):
        monkeypatch.setattr(sys, "argv", ["make", "--work", str(tmp_path), "--seed", seed])
        with pytest.raises(SystemExit, match="interrupted; the same command goes on"):
            make.main()
    assert made == [tmp_path / "seed-0", tmp_path / "seed-1"]


def tiny():
    """Both models tiny, two checkpoints each."""
    from training.batches import CHUNK
    from training.make import PLANS
    from training.model import Shape

    shape = Shape(64, 1, 64, 1, 1)
    return tuple(replace(plan, shape=shape, steps=2 * CHUNK, wide=1, keep_every=CHUNK, freeze=None) for plan in PLANS)


@contextmanager
def killed(place: Any, name: str, call: int, *, half: bool = False) -> Iterator[None]:
    """Ends the process at that call of a function: before it, or when it has half written a file beside its place."""
    whole: Callable[..., object] = getattr(place, name)
    calls = 0

    def counted(*args: Any, **kwargs: Any) -> object:
        nonlocal calls
        calls += 1
        if calls < call:
            return whole(*args, **kwargs)
        if half:
            whole(*args, **kwargs)
            args[0].with_suffix(".part").write_bytes(args[0].read_bytes()[:100])
            args[0].unlink()
        raise Killed

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(place, name, counted)
        yield


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_pair_that_is_killed_between_and_within_its_stages_is_the_pair_of_one_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    from training import export, make, sampled, train
    from training.decode import load
    from training.origin import OtherOriginError

    # So tiny a model writes no step that could be wrong: the shipped one lends its slips.
    slipping, collect = load(SMALL)[0], sampled.collect
    monkeypatch.setattr(sampled, "collect", lambda model, *rest: collect(slipping, *rest))
    plans = tiny()

    def run(folder: str, plans=plans) -> None:
        torch.compiler.reset()  # each as in a process of its own
        make.make(tmp_path / folder / "out", tmp_path / folder / "seed-0", 0, plans, 24)

    run("whole")
    for place, name, call, half in [
        (train, "update", 40, False),  # behind small's first checkpoint
        (make, "export", 1, False),
        (sampled, "save", 1, False),
        (train, "save", 1, True),  # big's first checkpoint
        (export, "save_file", 2, False),  # big is trained, its folder half written
    ]:
        with killed(place, name, call, half=half), pytest.raises(Killed):
            run("killed")
    with pytest.raises(OtherOriginError, match=r"big.pt was made of something else: plan.steps was 64, is 96"):
        run("killed", (plans[0], replace(plans[1], steps=96)))
    run("killed")
    assert files(tmp_path / "killed" / "out") == files(tmp_path / "whole" / "out")
    work = tmp_path / "killed" / "seed-0"
    assert (work / "slips.jsonl").read_text().count("\n") > 3

    state = torch.load(work / "small.pt", weights_only=True)
    state["model"]["model.norm.weight"] += 1
    torch.save(state, work / "small.pt")
    with pytest.raises(OtherOriginError, match=r"slips.jsonl was made of something else: small was "):
        run("killed")
    monkeypatch.setattr(sys, "argv", ["make", "--work", str(tmp_path / "killed"), "--out", str(tmp_path / "killed" / "out")])
    with pytest.raises(SystemExit, match=r"make: .*small.pt was made of something else: plan.shape.width was 64, is 128; "):
        make.main()


def test_slips_are_first_errors_and_come_back_from_their_file(tmp_path: Path) -> None:
    from training import sampled
    from training.decode import load

    found = sampled.collect(*load(SMALL), seed=0, stories=24)
    assert len(found) > 3
    for slip in found:
        right = slip.story.steps()
        assert slip.steps[0] == right[0]
        assert slip.value != slip.story.values[len(slip.steps) - 1]
    sampled.save(found, tmp_path / "slips.jsonl")
    assert sampled.load(tmp_path / "slips.jsonl") == found
