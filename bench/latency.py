"""Measures `speculative ask` by phase, from the start of the process to the answer.

python bench/latency.py [--runs 12] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

PHASES = """
import sys, time
begin = float(sys.argv[1])
marks = {"python starts": time.time()}
import speculative
from speculative import Pair, asolve
from speculative._sync import run_in_background
from speculative.trace.events import TextDelta
marks["library imported"] = time.time()
pair = Pair.open()
marks["pair opened"] = time.time()
def listen(event):
    if isinstance(event, TextDelta):
        marks.setdefault("first text", time.time())
problem = "Mia has 82 apples. She buys 6 boxes with 7 apples each. Then she gives 57 apples to Tom. How many apples does Mia have now?"
run_in_background(asolve(problem, "random_switch", pair=pair, listener=listen))
marks["answer"] = time.time()
import json
print(json.dumps({name: mark - begin for name, mark in marks.items()}))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=12)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    found: dict[str, list[float]] = {}
    for _ in range(arguments.runs):
        done = subprocess.run([sys.executable, "-c", PHASES, str(time.time())], capture_output=True, text=True, check=True)
        for name, seconds in json.loads(done.stdout).items():
            found.setdefault(name, []).append(seconds)
        for name, command in {"`speculative ask`, whole": ["ask", "--seed", "1"], "`speculative --help`, whole": ["--help"]}.items():
            begin = time.time()
            subprocess.run([sys.executable, "-m", "speculative", *command], capture_output=True, check=True)
            found.setdefault(name, []).append(time.time() - begin)
    print(f"{'seconds since the process was started':40}{'median':>9}{'low':>9}{'high':>9}")
    for name, values in found.items():
        print(f"{name:40}{statistics.median(values):>9.3f}{min(values):>9.3f}{max(values):>9.3f}")
    if arguments.json:
        arguments.json.write_text(json.dumps({"command": sys.argv, "seconds": found}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
