"""Presets of the configuration as models."""

import pytest
from serving import ASK, serving

from speculative.errors import UnknownNameError
from speculative.serve.server import make
from speculative.settings import Preset, Settings

PRESETS = {
    "fast": Preset(method="random_switch", params={"big_share": 0.25}),
    "sure": Preset(method="big_only", **{"with": ["vote(ballots=2)"]}),
}


def test_presets_are_models():
    with serving(presets=PRESETS, method="fast") as served:
        ids = [model["id"] for model in served.get("/v1/models").json()["data"]]
        assert {"speculative/fast", "speculative/sure", "speculative/random_switch"} <= set(ids)
        sure = served.get("/v1/models/speculative/sure").json()["speculative"]
        assert (sure["method"], sure["append_only"]) == ("vote*big_only", False)

        def asked(**change):
            return served.post(json={**ASK, **change}).json()

        default = {name: value for name, value in ASK.items() if name != "model"}
        assert served.post(json=default).json()["model"] == "speculative/fast"
        assert asked(model="speculative")["speculative"]["params"]["big_share"] == 0.25
        assert asked(model="fast", params={"switch_chunk": 3})["speculative"]["params"]["switch_chunk"] == 3
        assert asked(model="speculative/sure", method="big_only")["speculative"]["method"] == "vote*big_only"
        assert "contradicts" in asked(model="speculative/sure", method="small_only")["error"]["message"]


def test_a_default_that_there_is_not_is_named_as_it_was_given():
    with pytest.raises(UnknownNameError, match=r"unknown method 'fsat'; did you mean 'fast'\? \(known: big_only, fast, ") as refused:
        make(Settings(presets=PRESETS, method="fsat"))
    assert "speculative/" not in str(refused.value)
