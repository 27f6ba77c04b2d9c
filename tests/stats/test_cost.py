"""Costs of chains in each price view, and errors in price files."""

from pathlib import Path

import pytest
from msgspec import structs
from samples import sample

from speculative import Pair, solve
from speculative.engines.local.weights import Shape
from speculative.errors import UsageError
from speculative.stats.cost import computed, costs
from speculative.stats.prices import Prices, default_prices
from speculative.testing import ScriptedEngine
from speculative.trace.usage import Usage

ROOT = Path(__file__).parents[2]
BUNDLED = {"big": "bundled:big", "small": "bundled:small"}
BIG = Usage(requests=2, prompt_tokens=100, cached_tokens=60, produced_tokens=30, kept_tokens=20, discarded_tokens=10, scored_tokens=5)
SMALL = Usage(requests=1, prompt_tokens=50, produced_tokens=10, kept_tokens=10)
PRICES = """
[api]
currency = "EUR"
[api.prices]
big = { prompt = 1, cached = 0.5, produced = 2.0 }
"m/small" = { prompt = 0.1, cached = 0, produced = 0.2 }

[gpu]
currency = "USD"
[gpu.devices]
a = { hardware = "A", hour = 36.0 }
b = { hardware = "B", hour = 3.6 }
[gpu.occupies]
big = ["a", "b"]
small = ["b"]

[flops.parameters]
big = 7
small = 2.5
"""


def prices(tmp_path, text=PRICES):
    (tmp_path / "prices.toml").write_text(text)
    return Prices.load(tmp_path / "prices.toml")


def test_the_three_views(tmp_path):
    two = [
        sample(
            usage={"big": BIG, "small": SMALL},
            seconds=10.0,
            mean_concurrency=4,
            settings={"big": "m/big", "small": "m/small"},
            correct=right,
        )
        for right in (True, False)
    ]
    found = costs(two, prices(tmp_path))
    api = (40 + 5) * 1 + 60 * 0.5 + 30 * 2, 50 * 0.1 + 10 * 0.2
    assert found["api"].parts == {"big": pytest.approx(api[0] / 1e6), "small": pytest.approx(api[1] / 1e6)}
    assert (found["api"].unit, found["api"].chain, found["api"].right) == (
        "EUR",
        pytest.approx(sum(api) / 1e6),
        pytest.approx(sum(api) / 5e5),
    )
    assert found["gpu"].parts == {"a": pytest.approx(0.025), "b": pytest.approx(0.0025)}  # a quarter of 10 seconds
    assert found["gpu"].hardware == {"a": "A", "b": "B"}
    assert found["flops"].chain == 2 * 7 * (40 + 30 + 5) + 2 * 2.5 * 60
    assert computed(BIG) == 75


def test_a_method_pays_for_the_devices_of_its_own_roles(tmp_path):
    (made,) = (costs([sample(usage={"small": SMALL}, seconds=1.0)], prices(tmp_path))["gpu"],)
    assert made.hardware == {"b": "B"}
    assert made.chain == pytest.approx(0.001)


def test_a_view_without_a_price_for_every_role_is_left_out(tmp_path):
    judged = sample(usage={"big": BIG, "judge": SMALL})
    assert costs([judged], prices(tmp_path)) == {}
    assert costs([sample(usage={"small": SMALL})], prices(tmp_path)).keys() == {"gpu", "flops"}
    assert costs([judged], Prices()) == {}
    assert prices(tmp_path).lacking({"big": "x", "small": "m/small", "judge": "j"}) == [
        "api.prices.judge",
        "gpu.occupies.judge",
        "flops.parameters.judge",
    ]


def test_a_chain_pays_for_its_first_prompt_itself(tmp_path):
    cold = sample(usage={"big": BIG, "small": SMALL})
    warm = sample(usage={"big": structs.replace(BIG, cached_tokens=90), "small": SMALL}, shared_cache_tokens={"big": 30, "small": 0})
    assert costs([cold], prices(tmp_path)) == costs([warm], prices(tmp_path))


class Judge(ScriptedEngine):
    """A reward model that counts the tokens that it is given."""

    read = 0

    async def reward(self, texts, **call):
        self.read += sum(map(len, texts))
        return await super().reward(texts, **call)


@pytest.mark.parametrize("view", ["api", "flops"])
def test_a_rewarded_text_is_paid_once(tmp_path, view):
    engines = [ScriptedEngine("</think>42" if role == "big" else "One.\n\nTwo.\n\n</think>42", name=role) for role in ("big", "small")]
    judge = Judge("", name="judge", rewards=lambda text: 0.9)
    result = solve("?", "reward_guided", pair=Pair(*engines, judge))
    assert result.usage["judge"].prompt_tokens == (read := judge.read) > 0
    table = PRICES.replace("big = 7", "judge = 3\nbig = 7")
    table = table.replace("[api.prices]", "[api.prices]\njudge = { prompt = 3, cached = 1, produced = 9 }")
    found = costs([sample(usage=result.usage, settings={"small": "m/small"})], prices(tmp_path, table))[view]
    assert found.parts["judge"] == pytest.approx({"api": 3 * read / 1e6, "flops": 2 * 3 * read}[view])


def test_without_right_answers_none_has_a_cost(tmp_path):
    assert costs([sample(correct=False)], prices(tmp_path))["flops"].right is None


def test_the_bundled_pair_has_prices_and_no_other_model_has():
    assert costs([sample(settings=BUNDLED)]).keys() == {"api", "gpu", "flops"}
    assert costs([sample(settings={"big": "http://elsewhere/v1"})]) == {}


@pytest.mark.parametrize("role", ["big", "small"])
def test_the_bundled_parameters_are_those_of_the_weights(role):
    folder = ROOT / "src/speculative/bundled" / role
    header = int.from_bytes((folder / "model.safetensors").read_bytes()[:8], "little")
    bytes_of_parameters = (folder / "model.safetensors").stat().st_size - 8 - header
    flops = default_prices().flops
    assert flops
    assert flops.parameters[f"bundled:{role}"] == bytes_of_parameters / 2  # bfloat16
    assert Shape.read(folder).tied  # so the table that looks tokens up is computed with, too, at the end


def test_the_example_is_of_two_published_models():
    def parameters(hidden, inner, heads, kv_heads, vocabulary, layers=28):
        kv = hidden // heads * kv_heads
        layer = 2 * hidden * hidden + hidden + 2 * (hidden * kv + kv) + 3 * hidden * inner + 2 * hidden
        return layers * layer + hidden + hidden * vocabulary

    flops = Prices.load(ROOT / "examples/prices.toml").flops
    assert flops
    assert flops.parameters == {"big": parameters(3584, 18944, 28, 4, 152064), "small": parameters(1536, 8960, 12, 2, 151936)}


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ("[api", "must be TOML"),
        ("[api]\ncurrency = 'USD'", "api.prices is missing"),
        ("[flops.parameters]\nbig = -7", "flops.parameters.big must be more than 0, got -7"),
        ("[flops.parameters]\nbig = '7B'", "flops.parameters.big must be a number, got '7B'"),
        ("[flops.parameters]\nbig = nan", "flops.parameters.big must be a finite number, got nan"),
        ("[flop.parameters]\nbig = 7", "flop is an unknown key"),
        (
            "[api]\ncurrency = 'USD'\n[api.prices]\nbig = {prompt = 1, produced = 1}",
            "api.prices.big.cached is missing",
        ),
        (
            "[gpu]\ncurrency = 'USD'\ndevices = {a = {hardware = 'A', hour = 1}}\noccupies = {big = ['b']}",
            "gpu.occupies.big: unknown device 'b'; the devices are a",
        ),
    ],
)
def test_a_wrong_file_is_an_error_with_key_and_value(tmp_path, wrong, told):
    with pytest.raises(UsageError) as error:
        prices(tmp_path, wrong)
    assert str(error.value).startswith(f"prices {tmp_path / 'prices.toml'}")
    assert told in str(error.value)


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(UsageError, match=r"nowhere\.toml.*docs/statistics\.md"):
        Prices.load(tmp_path / "nowhere.toml")
