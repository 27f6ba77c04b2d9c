"""A server behind the service dies: a request may ask that the other one goes on, and is told."""

import json

import pytest
from serving import ANSWER, ASK, TEXT, THOUGHT, serving
from strategies import Mortal

from speculative.pair import Pair
from speculative.testing import ScriptedEngine


def mortal(lives=6):
    return Pair(ScriptedEngine(TEXT, name="B"), Mortal(TEXT, name="S", lives=lives))


def test_the_survivor_finishes_and_the_reply_names_the_lost_model():
    with serving(mortal()) as served:
        asked = {**ASK, "model": "speculative/small_only", "degrade": "big"}
        reply = served.post(json=asked).json()
        (choice,) = reply["choices"]
        assert choice["message"]["content"] == ANSWER
        assert reply["choices"][0]["speculative"]["degraded"] == "small"
        assert served.post(json={**asked, "degrade": "fail"}).status_code == 502
        assert served.post(json={**asked, "degrade": "large"}).status_code == 400


@pytest.mark.parametrize("lives", [0, 6, 40])
def test_a_degraded_stream_has_each_text_once(lives):
    with serving(mortal(lives)) as served:
        asked = {**ASK, "model": "speculative/small_only", "stream": True, "degrade": "big"}
        lines = [line[6:] for line in served.post(json=asked).text.splitlines() if line.startswith("data: {")]
        deltas = [json.loads(line)["choices"][0]["delta"] for line in lines if json.loads(line)["choices"]]
        assert "".join(delta.get("reasoning") or "" for delta in deltas) == THOUGHT
        assert "".join(delta.get("content") or "" for delta in deltas) == ANSWER


def test_ready_and_metrics_name_the_missing_model():
    def dead():
        return Pair(Mortal(TEXT, name="B", lives=10_000), Mortal(TEXT, name="S", lives=0))

    with serving(dead()) as served:
        assert "small model" in served.get("/ready").json()["reason"]
    with serving(dead(), degrade="small") as served:
        assert served.get("/ready").status_code == 503
    with serving(dead(), degrade="big") as served:
        ready = served.get("/ready")
        assert (ready.status_code, ready.json()["status"]) == (200, "ready")
        assert "the small model does not answer" in ready.json()["degraded"]
        assert served.get("/ping").status_code == 200
        assert 'speculative_degraded_chains_total{role="small"}' not in served.get("/metrics").text
        served.post(json={**ASK, "model": "speculative/small_only", "n": 2})
        assert 'speculative_degraded_chains_total{role="small"} 2.0' in served.get("/metrics").text


def test_the_settings_have_the_default_for_degrade():
    with serving(mortal(), degrade="big", prefill_every=4) as served:
        reply = served.post(json={**ASK, "model": "speculative/small_only"}).json()
        assert reply["choices"][0]["speculative"]["degraded"] == "small"
        reply = served.post(json={**ASK, "model": "speculative/big_only", "prefill_every": 0}).json()
        assert reply["choices"][0]["speculative"]["degraded"] is None
        assert served.post(json={**ASK, "prefill_every": -1}).status_code == 400
