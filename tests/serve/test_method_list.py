"""`GET /v1/methods`: what the page's form is made of."""

import pytest
from serving import serving

from speculative.errors import UsageError

PRICES = """
[api]
currency = "CHF"
[api.prices]
big = {prompt = 1.0, cached = 0.5, produced = 4.0}
S = {prompt = 0.1, cached = 0.05, produced = 0.4}
small = {prompt = 9.0, cached = 9.0, produced = 9.0}
"""


def methods_of(**settings):
    with serving(**settings) as served:
        return served.get("/v1/methods").json()


def test_prices_of_the_service_go_by_model_and_by_role(tmp_path):
    file = tmp_path / "prices.toml"
    file.write_text(PRICES, encoding="utf-8")
    found = methods_of(prices=file)
    assert found["currency"] == "CHF"
    assert found["priced"] == "at the service's own prices"
    assert {role: price["produced"] for role, price in found["prices"].items()} == {"big": 4.0, "small": 0.4}


def test_models_without_a_price_have_none():
    found = methods_of()
    assert found["prices"] == {}
    assert found["priced"] == "at the example prices of the bundled pair"


def test_a_file_of_prices_that_cannot_be_read_keeps_the_service_from_starting(tmp_path):
    file = tmp_path / "prices.toml"
    file.write_text("[api]\n", encoding="utf-8")
    with pytest.raises(UsageError, match=r"prices .*currency"):
        methods_of(prices=file)


def test_a_command_line_names_other_engines_but_no_address():
    assert methods_of()["pair"] == {}
    found = methods_of(big=["bundled:small"], small=["http://10.0.0.7:8000/v1"])
    assert found["pair"] == {"big": "bundled:small", "small": "$SPECULATIVE_SMALL"}
    assert "10.0.0.7" not in str(found)
