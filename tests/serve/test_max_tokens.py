"""`max_tokens` is a hard limit at every door, whatever the prompt and the models' text look like."""

import pytest
from easy import EASY
from profiles import quick_cases
from serving import pair, serving

from speculative import asolve
from speculative.runner import bundled_pair

OPENED = "<|im_start|>user\n2 + 2?<|im_end|>\n<|im_start|>assistant\n<think>\n"
BARE = "Two and two"
TEXTS = {
    "a thought that ends": f"{'so 4 ' * 4}</think>{'the answer is 4 ' * 40}",
    "an endless thought": "so 4 " * 400,
    "long characters": f"{'😀é日本' * 2}</think>{'😀é日本' * 400}",
}


@pytest.fixture(scope="module", params=sorted(TEXTS))
def babbling(request):
    text = TEXTS[request.param]
    with serving(pair(lambda seen, seed: text, width=1, small_width=3)) as running:
        yield running


@pytest.mark.parametrize("limit", quick_cases([8, 41, 1, 7, 20, 200], 2))
@pytest.mark.parametrize("model", ["speculative/big_only", "speculative/random_switch"])
@pytest.mark.parametrize("prompt", [OPENED, BARE], ids=["opened", "bare"])
def test_completions_never_exceed_max_tokens(babbling, limit, model, prompt):
    body = {"model": model, "prompt": prompt, "max_tokens": limit, "seed": 3}
    reply = babbling.post("/v1/completions", body).json()
    assert reply["usage"]["completion_tokens"] <= limit
    streamed = babbling.post("/v1/completions", {**body, "stream": True, "stream_options": {"include_usage": True}}).text
    assert f'"completion_tokens":{reply["usage"]["completion_tokens"]},' in streamed


@pytest.mark.parametrize("limit", [1, 7, 8, 20, 41, 200])
@pytest.mark.parametrize("model", ["speculative/big_only", "speculative/random_switch"])
def test_chats_never_exceed_max_tokens(babbling, limit, model):
    body = {"model": model, "messages": [{"role": "user", "content": "2 + 2?"}], "max_tokens": limit, "seed": 3}
    reply = babbling.post(json=body).json()
    assert reply["usage"]["completion_tokens"] <= limit
    if model.endswith("big_only"):  # each character or marker is a token: the text that no model wrote counts, too
        message = reply["choices"][0]["message"]
        assert len(message["reasoning"]) + len(message["content"].replace("</think>", "#")) <= limit


@pytest.mark.parametrize("limit", [1, 8, 12, 16, 20, 64, 200])
@pytest.mark.parametrize("method", ["big_only", "random_switch"])
async def test_the_bundled_pair_never_exceeds_max_tokens(limit, method):
    opened = bundled_pair()
    result = await asolve(EASY, method=method, pair=opened, seed=1, max_tokens=limit)
    encode = opened["big"].tokenizer.encode
    assert len(encode(result.reasoning)) + len(encode(result.text)) <= limit


@pytest.mark.parametrize("limit", quick_cases([8, 1, 7, 20, 200, 10_000]))
def test_all_of_max_tokens_is_there_for_a_text_without_thinking(limit):
    with serving(pair(lambda seen, seed: "so 4 " * 4000, width=1, small_width=1)) as running:
        reply = running.post("/v1/completions", {"model": "speculative/big_only", "prompt": BARE, "max_tokens": limit, "seed": 3}).json()
    assert reply["usage"]["completion_tokens"] == limit == len(reply["choices"][0]["text"])
    assert reply["choices"][0]["finish_reason"] == "length"
