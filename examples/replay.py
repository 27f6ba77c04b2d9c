"""Saves a trace, and runs the same method again from it, without the models."""

import tempfile
from pathlib import Path

from speculative import Pair, Trace, solve
from speculative.trace.replay import ReplayEngine

pair = Pair.open()
result = solve("Mia has 40 nuts. She gives 8 nuts to Tom. How many nuts does Mia have now?", "random_switch", pair=pair, seed=3)
path = Path(tempfile.mkdtemp()) / "trace.jsonl"
result.trace.save(path)

trace = Trace.load(path)
recorded = Pair(ReplayEngine(trace, "big", like=pair["big"]), ReplayEngine(trace, "small", like=pair["small"]))
again = solve(trace.started.problem, "random_switch", pair=recorded)
print("the same, event for event:", again.trace.timeless() == trace.timeless())
