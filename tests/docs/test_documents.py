"""The code blocks of the documents run."""

import re
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from documents import ROOT, blocks, shell
from easy import EASY

import speculative
from speculative import Method, __version__, solve
from speculative.methods.registry import registered
from speculative.trace.events import AnyEvent, Asked, Became, Noted, Wrote

DOCUMENTS = ["README.md", "CONTRIBUTING.md", *(str(path.relative_to(ROOT)) for path in sorted((ROOT / "docs").rglob("*.md")))]


@pytest.mark.slow
def test_a_method_is_added_as_the_guide_says(tmp_path: Path) -> None:
    (method,) = blocks("CONTRIBUTING.md", "python")
    (tmp_path / "doubt.py").write_text(method)
    assert len([line for line in method.splitlines() if line.strip()]) <= 15
    (commands,) = blocks("CONTRIBUTING.md", "sh")
    for command in commands.splitlines():
        output = shell(command, tmp_path)
        assert output
    assert "floor" in shell("speculative ask --method ./doubt.py --help", tmp_path)


VERBS: dict[str, Callable[[AnyEvent], bool]] = {
    "until": lambda event: isinstance(event, Wrote) and event.proposal.completion.finish == "until",
    "note": lambda event: isinstance(event, Noted) and event.text.strip().startswith("Advice: "),
    "child": lambda event: isinstance(event, Became),
    "choices": lambda event: isinstance(event, Asked) and event.choices == ("1", "0"),
}
"""The verbs that the page of words explains by a method, in its order, and the event that shows each at work."""


@pytest.mark.parametrize("place", range(len(VERBS)), ids=list(VERBS))
def test_a_verb_is_explained_by_a_method_that_runs(place: int) -> None:
    code, names = blocks("docs/concepts.md", "python")[place], dict[str, Any](__name__="written_by_a_reader")
    exec(code, names)
    kind: Any
    (kind,) = [one for one in names.values() if isinstance(one, type) and issubclass(one, Method) and one is not Method]
    result = solve(EASY, kind(), seed=1)
    assert result.answer
    assert any(map(list(VERBS.values())[place], result.trace.walk()))


def test_every_public_name_is_on_the_page_of_names() -> None:
    page = (ROOT / "docs/api.md").read_text()
    assert [name for name in speculative.__all__ if name[0] != "_" and not re.search(rf"^::: speculative\..*\b{name}$", page, re.M)] == [
        "EngineError",
        "MethodError",
        "SpeculativeError",
        "UsageError",
    ]
    assert "::: speculative.errors\n" in page
    for address in re.findall(r"^::: (.*)$", page, re.M):
        module, _, name = address.rpartition(".")
        assert hasattr(import_module(module), name)


@pytest.mark.slow
@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.name)
def test_example_runs(example: Path) -> None:
    assert len(example.read_text().splitlines()) <= 30
    done = subprocess.run([sys.executable, "-W", "error", example], capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout


def test_the_readme_shows_the_example() -> None:
    (shown,) = blocks("README.md", "python")
    assert shown.strip() in (ROOT / "examples/ten_lines.py").read_text()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    text = (ROOT / document).read_text()
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        if "://" not in target:
            assert ((ROOT / document).parent / target).exists(), target


@pytest.mark.slow
def test_commands_of_the_readme_run(tmp_path: Path) -> None:
    for block in blocks("README.md", "sh"):
        for command in block.splitlines():
            if command.startswith("speculative "):
                shell(command, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("page", sorted((ROOT / "docs/tutorial").glob("*.md")), ids=lambda page: page.stem)
def test_the_tutorial_runs(page: Path, tmp_path: Path) -> None:
    document = str(page.relative_to(ROOT))
    for command in [line for block in blocks(document, "sh") for line in block.splitlines()]:
        assert shell(command, tmp_path)
    for number, program in enumerate(blocks(document, "python")):
        (tmp_path / f"{number}.py").write_text(program)
        assert shell(f"python -W error {number}.py", tmp_path)


def test_every_page_is_in_the_navigation_of_the_site() -> None:
    named = set(re.findall(r": ([\w/-]+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE))
    assert named == {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}


def test_the_citation_names_this_version() -> None:
    assert f"version: {__version__}\n" in (ROOT / "CITATION.cff").read_text()
    assert f"\n## {__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_the_architecture_fits_on_a_page() -> None:
    assert len((ROOT / "docs/architecture.md").read_text().splitlines()) <= 60


def commands(document: str) -> list[str]:
    """The command lines of a document's code blocks, each whole, as a reader would type it."""
    text = (ROOT / document).read_text().replace("\\\n", " ")
    lines = [
        line.removeprefix("$ ").strip()
        for block in re.findall(r"```(?:sh|console)\n(.*?)```", text, re.DOTALL)
        for line in block.splitlines()
    ]
    return [*lines, *re.findall(r"`((?:python|pytest|speculative) [^`\n]+)`", text)]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_flags_that_are_shown_exist(document: str) -> None:
    """Also in commands that need a server, a GPU or hours, and so are not run here."""
    sections = dict(
        re.findall(r"^## `speculative ([a-z]+)`\n(.*?)(?=^## |\Z)", (ROOT / "docs/cli.md").read_text(), re.DOTALL | re.MULTILINE)
    )
    fields = {field for kind in registered().values() for field in kind.model_fields} | {
        "floor",
        "steps",
    }  # of the methods that the pages write
    own = {f"--{no}{field.replace('_', '-')}" for field in fields for no in ("", "no-")}
    for command in commands(document):
        if found := re.search(r"python (?:-m )?(?!scripts/spec_service)((?:bench|scripts|training)[/.][\w./]+)", command):
            file = ROOT / (found[1] if found[1].endswith(".py") else f"{found[1].replace('.', '/')}.py")
            known = set(re.findall(r'"(--[\w-]+)"', file.read_text()))
        elif found := re.search(r"(?:^|[;&|(] *)speculative (?!lm-eval|--)([a-z]+)(?= |$)", command):
            known = set(re.findall(r"--[\w-]+", sections[found[1]])) | own
        else:
            continue
        shown = re.sub(r"\"[^\"]*\"|'[^']*'", "", command[found.end() :]).partition("|")[0]
        assert set(re.findall(r" (--[\w-]+)", shown)) <= known, command
