"""The committed pages are those of their source in `web/`."""

import gzip
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WEB, VIEWER = ROOT / "web", ROOT / "src" / "speculative" / "viewer"
MOST = 150_000
"""Bytes of compressed script of a page at most, without the formulas."""
BUILT = ("live.js", "show.js", "report.js", "math.js", "style.css", "index.html")

needs_node = pytest.mark.skipif(not (shutil.which("node") and (WEB / "node_modules").exists()), reason="needs node, and `npm ci` in web/")


def test_the_types_of_the_source_are_those_of_the_library(tmp_path):
    made = tmp_path / "types.ts"
    subprocess.run([sys.executable, ROOT / "scripts" / "web_types.py", made], check=True, timeout=60)
    assert made.read_text(encoding="utf-8") == (WEB / "src" / "data" / "types.ts").read_text(encoding="utf-8"), "run scripts/web_types.py"


@pytest.mark.slow
@needs_node
def test_the_committed_build_is_that_of_the_source(tmp_path):
    subprocess.run(["node", "build.mjs", tmp_path], cwd=WEB, check=True, timeout=120)
    for made in tmp_path.iterdir():
        assert made.read_bytes() == (VIEWER / made.name).read_bytes(), f"{made.name} is old: run `npm run build` in web/"
    assert {made.name for made in tmp_path.iterdir()} >= set(BUILT)


@pytest.mark.parametrize("name", [name for name in BUILT if name.endswith(".js") and name != "math.js"])
def test_a_script_is_small(name):
    assert len(gzip.compress((VIEWER / name).read_bytes())) <= MOST


@pytest.mark.parametrize("name", BUILT)
def test_no_file_of_the_page_names_an_address(name):
    text = (VIEWER / name).read_text(encoding="utf-8")
    assert set(re.findall(r"https?://[^\s\"'`)]+", text)) <= {
        "http://www.w3.org/2000/svg",
        "http://www.w3.org/1998/Math/MathML",
        "http://www.w3.org/1999/xhtml",
    }


@pytest.mark.parametrize("file", sorted((WEB / "src").rglob("*.ts*")), ids=lambda file: file.name)
def test_the_source_puts_text_into_text_nodes_only(file):
    text = file.read_text(encoding="utf-8")
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function\(|InnerHTML", text)
