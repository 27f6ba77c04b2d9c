"""An error names the next step, and that step works as typed."""

import ast
import copy
import os
import pickle
import shlex
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from speculative import errors, solve
from speculative.errors import EngineRefusedError, MissingExtraError, UnknownNameError, quote

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


ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "UnknownNameError": ("method", "nope", ["small_only"]),
    "MissingExtraError": ("drawing", "matplotlib", "plots"),
    "EngineBusyError": ("busy", 3.0, 429),
    "ContextExceededError": ("bundled:big", 900, 768),
    "ApiError": (429, "busy"),
    "InterruptedWorkError": (2,),
    "BadResponseError": ("failed", {"code": 1}),
}
"""The arguments of errors that take more than a message."""


def error_classes() -> list[type[Exception]]:
    found: list[type[Exception]] = []
    for file in sorted((ROOT / "src/speculative").rglob("*.py")):
        names = [node.name for node in ast.parse(file.read_bytes()).body if isinstance(node, ast.ClassDef) and node.name.endswith("Error")]
        if names:
            module = import_module(".".join(file.relative_to(ROOT / "src").with_suffix("").parts))
            found += [getattr(module, name) for name in names]
    return [kind for kind in found if issubclass(kind, Exception)]


def test_every_error_survives_pickle_and_copy() -> None:
    kinds = error_classes()
    assert {UnknownNameError, EngineRefusedError} < set(kinds)
    assert set(ARGUMENTS) <= {kind.__name__ for kind in kinds}
    for kind in kinds:
        error = kind(*ARGUMENTS.get(kind.__name__, ("a message",)))
        error.add_note("a note")
        for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
            assert type(twin) is kind
            assert str(twin) == str(error)
            assert vars(twin) == vars(error)


def test_an_error_keeps_its_chain_in_a_pickle() -> None:
    trace = solve("How many?", "small_only", max_tokens=1, answer_tokens=0).trace
    error = EngineRefusedError("no such model")
    error.trace, error.role, error.status = trace, "big", 404
    twin = pickle.loads(pickle.dumps(error))
    assert (twin.role, twin.status, str(twin)) == ("big", 404, "no such model")
    assert twin.trace.events == trace.events


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("a" * 79, f"'{'a' * 78}…'"),
        ("a" * 78, repr("a" * 78)),
        (b"a" * 500, f"b'{'a' * 77}…'"),
        (f"it's {'a' * 500}", f'"it\'s {"a" * 73}…"'),
        (["a" * 500], f"['{'a' * 78}…"),
    ],
)
def test_a_long_value_is_quoted_from_its_beginning(value: object, shown: str) -> None:
    assert quote(value) == shown
