"""Requests that the schema allows, and requests that it does not: each reply is one that the schema describes."""

import json
import re
from collections import Counter

import msgspec
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)
from serving import pair, serving

from speculative.serve.replies import Chunk, ResponsesEvent

HEALTH_CHECKS = list(HealthCheck)
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    unsupported_method,
]
MODELS = st.sampled_from(
    ["speculative", "speculative/random_switch", "speculative/big_only", "speculative/logprob_subselect", "speculative/spec_rewrite"]
)
PROBLEMS = st.sampled_from(["2 + 2?", "<think>", "\u0301 €"])


@pytest.fixture(scope="module")
def hasty():
    """Budgets are small: it is about requests, not about chains."""
    engines = pair("a\n</think>\n\nb<|im_end|>")
    with serving(engines, default_tokens=32, max_tokens=64, max_produced=256, max_seconds=2, max_param=64, max_n=3) as served:
        yield served


def hammered(served, cases: int) -> Counter:
    """Requests by status: those that fit the schema, those that do not, and those that fit so well that a chain is written."""
    schema = schemathesis.openapi.from_url(f"{served.url}/openapi.json")
    found: Counter = Counter()
    paths = {"/v1/chat/completions": "messages", "/v1/completions": "prompt", "/v1/responses": "input", "/speculative_reason": "question"}
    strategies = [schema[path]["POST"].as_strategy(generation_mode=mode) for path in paths for mode in GenerationMode]
    strategies += [
        schema[path]["GET"].as_strategy() for path in ("/v1/models", "/v1/models/{model}", "/health", "/ready", "/metrics", "/ping")
    ]

    @settings(
        max_examples=cases, deadline=None, database=None, derandomize=True, suppress_health_check=HEALTH_CHECKS, phases=[Phase.generate]
    )
    @given(st.one_of(strategies), MODELS, PROBLEMS, st.booleans())
    def hammer(case, model, problem, fit):
        wanted = paths.get(case.path)
        if fit and wanted and isinstance(case.body, dict):
            case.body["model"] = model
            case.body[wanted] = [{"role": "user", "content": problem}] if wanted == "messages" else problem
            case.body["random_switch"] = True
            for field in ("method", "params", "with"):
                case.body.pop(field, None)
        response = case.call(timeout=30)
        found[response.status_code] += 1
        case.validate_response(response, checks=CHECKS)

    hammer()
    return found


@pytest.mark.slow
def test_a_few_hundred_requests_from_the_schema(hasty):
    found = hammered(hasty, 60)
    assert found[200] > 2
    assert found[400] > 2


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_two_thousand_requests_from_the_schema(hasty):
    found = hammered(hasty, 2000)
    assert sum(found.values()) >= 2000
    assert found[200] > 100


def test_keys_are_described_and_required():
    """A service with keys says so of each route, and refuses requests without one as described."""
    with serving(api_key="sk-one-secret-key") as served:
        key = {"authorization": "Bearer sk-one-secret-key"}
        schema = served.get("/openapi.json", headers=key).json()
        loaded = schemathesis.openapi.from_dict(schema)
        loaded.config.base_url = served.url
        for path, operations in schema["paths"].items():
            for verb, operation in operations.items():
                is_open = path in ("/health", "/ready", "/ping")
                assert ("security" not in operation) == is_open
                assert ("401" not in operation["responses"]) == is_open
                case = loaded[path][verb.upper()].Case(path_parameters={"model": "speculative"}, **({"body": {}} if verb == "post" else {}))
                response = case.call()
                assert (response.status_code == 401) != is_open
                case.validate_response(response, checks=CHECKS)
        assert list(schema["components"]["securitySchemes"]) == ["key"]
    with serving() as served:
        assert "security" not in served.get("/openapi.json").text


@pytest.mark.parametrize(
    ("path", "body", "event"),
    [
        (
            "/v1/chat/completions",
            {"messages": [{"role": "user", "content": "2 + 2?"}], "stream_options": {"include_usage": True}},
            Chunk,
        ),
        ("/v1/completions", {"prompt": "2 + 2?"}, Chunk),
        ("/v1/responses", {"input": "2 + 2?"}, ResponsesEvent),
    ],
)
def test_the_events_of_streams_are_described(served, path, body, event):
    content = served.get("/openapi.json").json()["paths"][path]["post"]["responses"]["200"]["content"]
    described = content["text/event-stream"]["itemSchema"]["properties"]["data"]
    if event is Chunk:
        done, described = described["anyOf"]
        assert done == {"const": "[DONE]"}
    assert described["contentSchema"] == {"$ref": f"#/components/schemas/{event.__name__}"}
    text = served.post(path, {**body, "stream": True, "events": True, "n": 2} if path != "/v1/responses" else {**body, "stream": True}).text
    data = [line.removeprefix("data: ") for line in text.splitlines() if line.startswith("data: {")]
    assert len(data) > 5
    for line in data:
        msgspec.json.decode(line, type=event)


def test_the_schema_is_valid(served):
    schema = served.get("/openapi.json").json()
    references = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(schema)))
    assert references <= schema["components"]["schemas"].keys()
    for operations in schema["paths"].values():
        for operation in operations.values():
            assert operation["description"]
            assert all(reply["description"] for reply in operation["responses"].values())


def test_the_schema_names_our_fields(hasty):
    schema = hasty.get("/openapi.json").json()
    fields = schema["components"]["schemas"]["ChatRequest"]["properties"]
    assert {"method", "params", "with", "events", "messages", "stream"} <= fields.keys()
    assert "/shutdown" not in json.dumps(schema)
