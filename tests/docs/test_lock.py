"""The lock holds one version of every package, and the README installs from it."""

import re
import tomllib

import pytest
from documents import ROOT, blocks
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

LOCK = (ROOT / "constraints.txt").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WANTED = [*PROJECT["dependencies"], *(one for extra in PROJECT["optional-dependencies"].values() for one in extra)]


def pinned() -> dict[str, list[Requirement]]:
    found: dict[str, list[Requirement]] = {}
    for line in LOCK.splitlines():
        if not line.startswith("#"):
            one = Requirement(line)
            found.setdefault(canonicalize_name(one.name), []).append(one)
    return found


@pytest.mark.parametrize("wanted", sorted(set(WANTED)))
def test_the_lock_satisfies_every_requirement(wanted: str) -> None:
    requirement = Requirement(wanted)
    versions = [next(iter(one.specifier)) for one in pinned().get(canonicalize_name(requirement.name), [])]
    assert versions, f"{requirement.name} is not in constraints.txt; write it again as CONTRIBUTING.md says"
    assert all(version.operator == "==" and requirement.specifier.contains(version.version) for version in versions)


@pytest.mark.parametrize("python", ["3.11.7", "3.12.1", "3.13.0"])
@pytest.mark.parametrize("system", ["linux", "darwin"])
def test_no_python_or_system_gets_two_versions_of_a_package(python: str, system: str) -> None:
    place = {"python_full_version": python, "python_version": python.rpartition(".")[0], "sys_platform": system}
    place["platform_system"] = system.capitalize()
    for name, lines in pinned().items():
        assert sum(one.marker is None or one.marker.evaluate(place) for one in lines) <= 1, name


def test_the_lock_names_no_registry_and_no_path() -> None:
    assert not re.search(r"://|--|@|^/", re.sub(r"^#.*$", "", LOCK, flags=re.MULTILINE), re.MULTILINE)


def test_both_commands_of_the_readme_name_the_lock() -> None:
    installs = [line for block in blocks("README.md", "sh") for line in block.splitlines() if "pip install" in line]
    assert len(installs) == 2
    assert all("-c constraints.txt" in line for line in installs)


def test_the_readme_tells_every_extra() -> None:
    (table,) = re.findall(r"^\| extra \| for \|\n(?:\|.*\n)+", (ROOT / "README.md").read_text(), re.MULTILINE)
    rows = re.findall(r"^\| (`.+?`) \|", table, re.MULTILINE)
    assert sorted(re.findall(r"`([\w-]+)`", " ".join(rows))) == sorted(PROJECT["optional-dependencies"])
