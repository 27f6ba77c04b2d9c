"""An error names the next step, and that step works as typed."""

import os
import shlex
from pathlib import Path

import pytest

from speculative import errors
from speculative.errors import MissingExtraError

ROOT = Path(__file__).parents[1]


def command(error: MissingExtraError) -> list[str]:
    return shlex.split(str(error).partition(" with: ")[2])


@pytest.mark.parametrize("inside", [True, False])
def test_a_missing_extra_is_installed_from_the_checkout_by_the_python_that_runs(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, inside: bool
) -> None:
    monkeypatch.chdir(ROOT if inside else tmp_path)
    python, *words = command(MissingExtraError("drawing", "matplotlib", "plots"))
    assert os.access(python, os.X_OK)
    assert words[:4] == ["-m", "pip", "install", "-c"]
    assert Path(words[4]).is_file()
    assert words[5] == "-e"
    folder, _, extra = words[6].partition("[")
    assert (Path(folder) / "pyproject.toml").is_file()
    assert extra == "plots]"
    if inside:
        assert words[4:] == ["constraints.txt", "-e", ".[plots]"]


def test_without_a_checkout_it_comes_from_the_registry(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(errors, "__file__", str(tmp_path / "site-packages" / "speculative" / "errors.py"))
    monkeypatch.setattr("importlib.metadata.distribution", lambda name: Unrecorded())
    assert command(MissingExtraError("Parquet", "polars", "tables"))[1:] == ["-m", "pip", "install", "speculative-reasoning[tables]"]


class Unrecorded:
    def read_text(self, name: str) -> None:
        return None


def test_a_checkout_that_was_installed_as_a_copy_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "a checkout"
    folder.mkdir()
    for name in ("constraints.txt", "pyproject.toml"):
        (folder / name).touch()

    class Recorded:
        def read_text(self, name: str) -> str:
            assert name == "direct_url.json"
            return f'{{"dir_info": {{}}, "url": "{folder.as_uri()}"}}'

    monkeypatch.setattr(errors, "__file__", str(tmp_path / "site-packages" / "speculative" / "errors.py"))
    monkeypatch.setattr("importlib.metadata.distribution", lambda name: Recorded())
    words = command(MissingExtraError("Parquet", "polars", "tables"))
    assert words[3:] == ["install", "-c", f"{folder}/constraints.txt", "-e", f"{folder}[tables]"]
