"""A raw completion is one text in which nothing that a model wrote is lost, markers included."""

import json

import pytest
from profiles import quick_cases
from serving import pair, serving

OPEN = "<|im_start|>assistant\n<think>\n"
BARE = "<|im_start|>assistant\n"


def completion(script, prompt, stream, **settings):
    """The text of a completion, streamed or whole, and its report."""
    body = {"model": "speculative/big_only", "prompt": prompt, "max_tokens": 400, "stream": stream, **settings}
    with serving(pair(script)) as served:
        reply = served.post("/v1/completions", body)
    assert reply.status_code == 200
    if not stream:
        choice = reply.json()["choices"][0]
        return choice["text"], choice["finish_reason"]
    chunks = [json.loads(line[6:]) for line in reply.text.splitlines() if line.startswith("data: {")]
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    return "".join(choice["text"] for choice in choices), choices[-1]["finish_reason"]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("prompt", "replies", "text"),
    quick_cases(
        [
            (OPEN, ["Hm.</think>", "Yes.<|im_end|>"], "Hm.\n</think>\n\nYes."),
            (OPEN, ["Hm.</think>", "Close with </think>", ".<|im_end|>"], "Hm.\n</think>\n\nClose with </think>."),
            (OPEN, ["Hm.</think>", "A <think>", "B</think>", "C<|im_end|>"], "Hm.\n</think>\n\nA <think>B\n</think>\n\nC"),
            (OPEN, ["Hm, <think> so.</think>", "Yes.<|im_end|>"], "Hm, <think> so.\n</think>\n\nYes."),
            (BARE, ["<think>Hm.</think>", "Yes.<|im_end|>"], "<think>Hm.\n</think>\n\nYes."),
            (BARE, ["<think>Hm.</think>", "A <think>", "B</think>", "C<|im_end|>"], "<think>Hm.\n</think>\n\nA <think>B\n</think>\n\nC"),
        ],
        2,
    ),
)
def test_thinking_and_answer_are_in_the_order_in_which_they_were_written(prompt, replies, text, stream):
    assert completion(replies, prompt, stream) == (text, "stop")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("prompt", "stop", "text"), [(OPEN, "</think>", "Hm.\n"), (OPEN, "k>", "Hm.\n</thin"), (BARE, "</think>", "<think>Hm.\n")]
)
def test_a_stop_string_in_the_closing_marker_ends_the_work(prompt, stop, text, stream):
    """The marker is the service's own text, so that the engine cannot find the stop string."""
    opened = "" if prompt == OPEN else "<think>"
    body = {"model": "speculative/big_only", "prompt": prompt, "max_tokens": 400, "stop": stop}
    with serving(pair([f"{opened}Hm.</think>", "word " * 60 + "<|im_end|>"])) as served:
        reply = served.post("/v1/completions", body | {"stream": stream, "stream_options": {"include_usage": True} if stream else None})
        produced = served.engines["big"].produced
    assert reply.status_code == 200, reply.text
    chunks = [json.loads(line[6:]) for line in reply.text.splitlines() if line.startswith("data: {")] if stream else [reply.json()]
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    assert ("".join(choice["text"] for choice in choices), choices[-1]["finish_reason"]) == (text, "stop")
    assert chunks[-1]["usage"]["completion_tokens"] < 40
    assert produced < 40


@pytest.mark.parametrize(("prompt", "thinks"), [("Once ", False), (f"{OPEN}Hm.</think>", False), (OPEN, True)])
def test_a_thinking_budget_limits_only_a_thinking_that_is_open(prompt, thinks):
    body = {"model": "speculative/big_only", "prompt": prompt, "max_tokens": 400, "thinking_budget": 2}
    script = ["word " * 5 + "</think>", "Yes.<|im_end|>"] if thinks else "word " * 5 + "<|im_end|>"
    with serving(pair(script)) as served:
        reply = served.post("/v1/completions", body).json()
    (choice,), details = reply["choices"], reply["usage"]["completion_tokens_details"]
    assert choice["finish_reason"] == "stop"
    assert choice["text"].count("word") < 5 if thinks else choice["text"] == "word " * 5
    assert (details["reasoning_tokens"] > 0) == thinks
