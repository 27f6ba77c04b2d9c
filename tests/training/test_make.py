"""The command that trains: seeds do not mix, and Ctrl-C is told."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.torch]


def interrupt(*_: object) -> None:
    raise KeyboardInterrupt


def test_every_seed_has_checkpoints_of_its_own_and_ctrl_c_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("onnx")
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
