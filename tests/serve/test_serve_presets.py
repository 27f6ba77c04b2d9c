"""Presets of the configuration as models."""

from serving import ASK, serving

from speculative.settings import Preset

PRESETS = {
    "fast": Preset(method="random_switch", params={"big_share": 0.25}),
    "sure": Preset(method="big_only", **{"with": ["vote(ballots=2)"]}),
}


def test_presets_are_models():
    with serving(presets=PRESETS, method="fast") as served:
        ids = [model["id"] for model in served.get("/v1/models").json()["data"]]
        assert {"speculative/fast", "speculative/sure", "speculative/random_switch"} <= set(ids)
        sure = served.get("/v1/models/speculative/sure").json()["speculative"]
        assert (sure["method"], sure["append_only"]) == ("vote(big_only)", False)

        def asked(**change):
            return served.post(json={**ASK, **change}).json()

        default = {name: value for name, value in ASK.items() if name != "model"}
        assert served.post(json=default).json()["model"] == "speculative/fast"
        assert asked(model="speculative")["speculative"]["params"]["big_share"] == 0.25
        assert asked(model="fast", params={"switch_chunk": 3})["speculative"]["params"]["switch_chunk"] == 3
        assert asked(model="speculative/sure", method="big_only")["speculative"]["method"] == "vote(big_only)"
        assert "contradicts" in asked(model="speculative/sure", method="small_only")["error"]["message"]
