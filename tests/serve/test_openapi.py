"""Whatever the schema allows, and what it does not: never an error of ours."""

import json
from collections import Counter

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from serving import pair, serving

CHECKS = list(HealthCheck)
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
    paths = {"/v1/chat/completions": "messages", "/v1/completions": "prompt", "/speculative_reason": "question"}
    strategies = [schema[path]["POST"].as_strategy(generation_mode=mode) for path in paths for mode in GenerationMode]
    strategies += [
        schema[path]["GET"].as_strategy() for path in ("/v1/models", "/v1/models/{model}", "/health", "/ready", "/metrics", "/ping")
    ]

    @settings(max_examples=cases, deadline=None, database=None, derandomize=True, suppress_health_check=CHECKS, phases=[Phase.generate])
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
        assert response.status_code < 500, (case.body, response.text)

    hammer()
    return found


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


def test_the_schema_names_our_fields(hasty):
    schema = hasty.get("/openapi.json").json()
    fields = schema["components"]["schemas"]["ChatRequest"]["properties"]
    assert {"method", "params", "with", "events", "messages", "stream"} <= fields.keys()
    assert "/shutdown" not in json.dumps(schema)
