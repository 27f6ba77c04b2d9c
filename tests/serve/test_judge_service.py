"""A judge in the service: presets, usage, events and metrics."""

from serving import ASK, TEXT, serving

from speculative import Pair
from speculative.errors import EngineUnreachableError
from speculative.testing import ScriptedEngine

PRESETS = {"judged": {"method": "reward_guided", "params": {"threshold": 0.5}}}


def judged_pair():
    judge = ScriptedEngine("", name="J", width=2, rewards=lambda text: 0.9, abilities=frozenset({"reward", "ids"}))
    return Pair(ScriptedEngine(TEXT, name="B", width=2), ScriptedEngine(TEXT, name="S", width=2), judge)


def test_a_preset_runs_with_the_judge_and_tells_its_cost():
    with serving(judged_pair(), presets=PRESETS) as served:
        models = {model["id"] for model in served.get("/v1/models").json()["data"]}
        assert {"speculative/reward_guided", "speculative/judged"} <= models
        reply = served.post(json={**ASK, "model": "speculative/judged", "events": True}).json()
        cost = reply["choices"][0]["speculative"]["usage"]["judge"]
        assert cost["requests"] > 0
        assert cost["prompt_tokens"] > cost["scored_tokens"] == 0
        assert "rewarded" in [event["event"] for event in reply["speculative"]["events"][0]]
        assert f'fate="prompt",role="judge"}} {float(cost["prompt_tokens"])}' in served.get("/metrics").text


def test_without_a_judge_its_methods_are_not_offered_and_refused():
    with serving() as served:
        assert "speculative/reward_guided" not in {model["id"] for model in served.get("/v1/models").json()["data"]}
        refused = served.post(json={**ASK, "model": "speculative/reward_guided"})
        assert refused.status_code == 400
        assert "needs an engine for the role judge" in refused.json()["error"]["message"]


def test_a_judge_that_is_away_makes_the_service_unready():
    class Away(ScriptedEngine):
        async def reward(self, *_, **__):
            raise EngineUnreachableError("away")

    pair = judged_pair()
    away = Away("", name="J", width=2, abilities=frozenset({"reward", "ids"}))
    with serving(Pair(pair["big"], pair["small"], away)) as served:
        told = served.get("/ready")
        assert (told.status_code, told.json()["reason"]) == (503, "the judge model does not answer")
