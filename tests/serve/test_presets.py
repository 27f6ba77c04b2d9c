"""Presets of the configuration as models."""

import json

import pytest
from serving import ASK, pair, serving

from speculative.errors import UnknownNameError
from speculative.serve.server import make_server
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


def test_a_preset_of_a_method_that_is_not_listed_is_a_model():
    with serving(presets={"wiring": Preset(method="placeholder")}) as served:
        ids = {model["id"] for model in served.get("/v1/models").json()["data"]}
        assert ids & {"speculative/wiring", "speculative/placeholder"} == {"speculative/wiring"}


def test_an_unknown_default_method_is_named_in_the_error():
    with pytest.raises(UnknownNameError, match=r"unknown method 'fsat'; did you mean 'fast'\? \(known: .*big_only, .*fast, ") as refused:
        make_server(Settings(presets=PRESETS, method="fsat"))
    assert "speculative/" not in str(refused.value)


WORDS = "".join(f"w{number} " for number in range(400))


@pytest.mark.parametrize(
    ("change", "thinking"),
    [
        ({}, 896),
        ({"reasoning_effort": "high"}, 896),
        ({"reasoning_effort": "xhigh"}, 896),
        ({"reasoning_effort": "medium"}, 448),
        ({"reasoning_effort": "low"}, 179),
        ({"reasoning_effort": "minimal"}, 89),
        ({"thinking_budget": 7}, 7),
        ({"thinking_budget": 10_000}, 896),
        ({"thinking": {"type": "enabled", "budget_tokens": 10}}, 10),
        ({"thinking": {"type": "enabled"}}, 896),
        ({"thinking": {"type": "enabled", "budget_tokens": 10}, "thinking_budget": 7}, 7),
        ({"reasoning": {"effort": "low"}}, 179),
        ({"reasoning": {"max_tokens": 12}}, 12),
        ({"reasoning": {"effort": "low"}, "reasoning_effort": "minimal"}, 89),
        ({"model": "speculative/brief"}, 20),
        ({"model": "speculative/brief", "reasoning_effort": "low"}, 179),
        ({"model": "speculative/light"}, 89),
        ({"model": "speculative/light", "thinking_budget": 5}, 5),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
def test_the_thinking_can_be_limited(limited, change, thinking, stream):
    """The answer follows the thinking whole, so the reply ends as one without a limit does."""
    body = {**ASK, "model": "speculative/big_only", "max_tokens": 1024, "stream_options": {"include_usage": True} if stream else None}
    reply = limited.post(json={**body, "stream": stream, **change})
    assert reply.status_code == 200, reply.text
    chunks = [json.loads(line[6:]) for line in reply.text.splitlines() if line.startswith("data: {")] if stream else [reply.json()]
    assert chunks[-1]["usage"]["completion_tokens_details"]["reasoning_tokens"] == thinking
    whole = thinking < 896
    finish = [choice["finish_reason"] for chunk in chunks for choice in chunk["choices"] if choice["finish_reason"]]
    assert finish == ["stop" if whole else "length"]
    if whole and not stream:
        assert chunks[0]["choices"][0]["message"]["content"] == "The answer is \\boxed{4}."


@pytest.fixture(scope="module")
def limited():
    presets = {
        "brief": Preset(method="big_only", thinking_budget=20),
        "light": Preset(method="big_only", reasoning_effort="minimal"),
    }
    with serving(pair(thinking_aloud, width=2), presets=presets) as running:
        yield running


def thinking_aloud(seen, seed):
    """Thinks for longer than it may, and answers when it is asked to."""
    _, closed, answer = seen.partition("</think>\n\n")
    return "The answer is \\boxed{4}.<|im_end|>"[len(answer) :] if closed else WORDS * 9
