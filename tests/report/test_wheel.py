"""The wheel contains the pages."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_wheel_holds_the_front_end(tmp_path):
    subprocess.run([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", ROOT, "-w", tmp_path], check=True, timeout=110)
    (wheel,) = tmp_path.glob("*.whl")
    held = {Path(name).name for name in zipfile.ZipFile(wheel).namelist() if "/viewer/" in name}
    assert held == {file.name for file in (ROOT / "src" / "speculative" / "viewer").iterdir() if file.is_file()}
    assert {"index.html", "live.js", "math.js", "report.js", "show.js", "style.css"} <= held
