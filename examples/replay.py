"""Saves a trace, and runs the same method again from it, without the models."""

import tempfile
from pathlib import Path

from speculative import Pair, Trace, solve
from speculative.trace.replay import ReplayEngine

pair = Pair.open()
result = solve("Begin at 47 and go up by 7. What is the first number that leaves 0 when divided by 5?", "random_switch", pair=pair, seed=3)
path = Path(tempfile.mkdtemp()) / "trace.jsonl"
result.trace.save(path)

trace = Trace.load(path)
recorded = Pair(ReplayEngine(trace, "big", like=pair["big"]), ReplayEngine(trace, "small", like=pair["small"]))
again = solve(trace.started.problem, "random_switch", pair=recorded)
print("the same, event for event:", again.trace.timeless() == trace.timeless())
