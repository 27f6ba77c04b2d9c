"""The model `speculative/auto` in the service."""

import json

import pytest
from serving import ASK, serving

AUTO = {**ASK, "model": "speculative/auto"}


def test_a_reply_says_what_was_chosen_and_why():
    with serving() as served:
        assert "speculative/auto" in {model["id"] for model in served.get("/v1/models").json()["data"]}
        reply = served.post(json=AUTO).json()["speculative"]
        (choice,) = reply["choices"]
        assert choice["way"] == "checked ahead"
        assert "at once" in choice["reason"]
        assert reply["params"]["optimize"] == "latency"
        assert served.post(json={**AUTO, "params": {"optimize": "throughput", "allow": "small"}}).json()["speculative"]["choices"]
        assert "choices" not in served.post(json=ASK).json()["speculative"]


def test_a_stream_and_a_response_say_it_too():
    with serving() as served:
        lines = served.post(json={**AUTO, "stream": True}).text.splitlines()
        chunks = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]
        assert any(chunk.get("speculative", {}).get("choices") for chunk in chunks)
        response = served.post("/v1/responses", json={"model": "speculative/auto", "input": "2 + 2?"}).json()
        assert response["speculative"]["choices"]


def test_a_cascade_that_is_allowed_is_told_also_in_a_stream():
    asked = {**AUTO, "params": {"allow": "cascade"}}
    with serving() as served:
        reply = served.post(json=asked).json()
        assert reply["speculative"]["choices"][0]["way"] == "cascade"
        lines = served.post(json={**asked, "stream": True}).text.splitlines()
        chunks = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: {")]
        text = "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks if chunk["choices"])
        assert text == reply["choices"][0]["message"]["content"]


@pytest.mark.parametrize("profile", ["/etc/passwd", "../own.json", "unknown"])
def test_a_request_cannot_name_a_file(profile):
    with serving() as served:
        refused = served.post(json={**AUTO, "params": {"profile": profile}})
        assert refused.status_code == 400
        assert "SPECULATIVE_PROFILE" in refused.json()["error"]["message"]
