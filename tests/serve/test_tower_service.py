"""A tower fills a role of the service."""

import json

from serving import ASK, TEXT, serving

from speculative import Pair
from speculative.methods.registry import build
from speculative.testing import ScriptedEngine
from speculative.tower import TowerEngine


def tower_pair():
    inner = Pair(ScriptedEngine(TEXT, name="IB", width=2), ScriptedEngine(TEXT, name="IS", width=2))
    return Pair(ScriptedEngine(TEXT, name="B", width=2), TowerEngine(build("random_switch", {"switch_chunk": 5}), inner))


def test_replies_and_metrics_have_rows_for_the_models_inside():
    with serving(tower_pair()) as served:
        assert served.get("/ready").status_code == 200
        reply = served.post(json={**ASK, "model": "speculative/small_only", "seed": 5}).json()
        usage = reply["choices"][0]["speculative"]["usage"]
        assert {"small", "small/big", "small/small"} <= set(usage)
        assert reply["usage"]["completion_tokens"] == usage["small"]["kept_tokens"]
        metrics = served.get("/metrics").text
        assert 'speculative_tower_tokens_total{fate="kept",role="small/big"}' in metrics


def test_a_stream_has_the_text_of_the_reply():
    with serving(tower_pair()) as served:
        ask = {**ASK, "model": "speculative/small_only", "seed": 5}
        whole = served.post(json=ask).json()["choices"][0]["message"]
        lines = [line for line in served.post(json={**ask, "stream": True}).text.splitlines() if line.startswith("data: {")]
        assert len(lines) > 10

        deltas = [choice["delta"] for line in lines for choice in json.loads(line[6:])["choices"]]
        assert "".join(delta.get("content") or "" for delta in deltas) == whole["content"]
        assert "".join(delta.get("reasoning_content") or "" for delta in deltas) == whole["reasoning_content"]
