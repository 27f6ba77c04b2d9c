"""How the answers of each kind of server are read, and what in them is a fault."""

import msgspec
import pytest

from speculative.engines.base import CACHE_SALT, Decoding
from speculative.engines.http.protocols.base import BadResponseError, NewTokens, ServerRequest
from speculative.engines.http.protocols.llamacpp import LlamaCppProtocol
from speculative.engines.http.protocols.sglang import SglangProtocol
from speculative.engines.http.protocols.vllm import VllmProtocol
from speculative.engines.http.response import CompletionBuilder
from speculative.testing import ScriptedTokenizer

TOKENIZER = ScriptedTokenizer()
END = TOKENIZER.special_token_id("<|im_end|>")
A, B, C = TOKENIZER.encode("abc")


def said(protocol, answer):
    return protocol.reader()(msgspec.json.encode(answer))


@pytest.mark.parametrize(
    ("protocol", "answer", "match"),
    [
        (VllmProtocol("m"), {"error": {"message": "dead"}}, "dead"),
        (VllmProtocol("m"), {"choices": [{"text": "x"}]}, "no token ids"),
        (VllmProtocol("m"), {"choices": [{"token_ids": [1], "finish_reason": "abort"}]}, "abort"),
        (VllmProtocol("m"), {"choices": [{"token_ids": [1], "logprobs": {"token_logprobs": [-1.0, -2.0]}}]}, "2 log-probabilities for 1"),
        (SglangProtocol(), {"error": {"message": "dead"}}, "dead"),
        (SglangProtocol(), {"text": "x"}, "no token ids"),
        (SglangProtocol(), {"output_ids": [1], "meta_info": {"completion_tokens": 1, "finish_reason": {"type": "abort"}}}, "abort"),
        (LlamaCppProtocol(TOKENIZER), {"error": {"message": "dead"}}, "dead"),
    ],
)
def test_what_is_no_answer(protocol, answer, match):
    with pytest.raises(BadResponseError, match=match):
        said(protocol, answer)


def test_sglang_is_read_whether_it_sends_all_tokens_or_the_new_ones():
    for answers in (
        [([1, 2], 2), ([1, 2, 3], 3), ([1, 2, 3, 4, 5], 5)],
        [([1, 2], 2), ([3], 3), ([4, 5], 5)],
    ):
        read, ids = SglangProtocol().reader(), []
        for output, count in answers:
            news = read(msgspec.json.encode({"output_ids": output, "meta_info": {"completion_tokens": count, "cached_tokens": 7}}))
            ids += news.pieces[0].ids
            assert (news.cached, news.produced) == (7, count)
        assert ids == [1, 2, 3, 4, 5]


async def test_scores_of_other_tokens_are_a_bad_response():
    def answering(answer):
        async def ask(path, body):
            return answer

        return ask

    with pytest.raises(BadResponseError, match="1 log-probabilities for 3"):
        await VllmProtocol("m", genuine=False).score(answering(b'{"choices": [{"logprobs": {"token_logprobs": [-1.0]}}]}'), [1], [2, 3], 0)
    other = b'{"meta_info": {"input_token_logprobs": [[null, 1, null], [-1.0, 9, null]]}}'
    with pytest.raises(BadResponseError, match="not those"):
        await SglangProtocol().score(answering(other), [1], [2], 0)
    with pytest.raises(BadResponseError, match="cannot score"):
        await LlamaCppProtocol(TOKENIZER).score(answering(b""), [1], [2], 0)


def test_what_is_asked_of_each():
    job, decoding = ServerRequest([[1, 2]], [0], 5, seed=3), Decoding(5, 0.7, 0.9, 4, stop=("x",), stop_ids=(9,), logprobs=True)
    vllm, sglang, llama = (
        protocol.body(job, decoding, 16) for protocol in (VllmProtocol("m"), SglangProtocol(), LlamaCppProtocol(TOKENIZER))
    )
    assert vllm["prompt"] == sglang["input_ids"] == llama["prompt"] == [1, 2]
    assert vllm["max_tokens"] == sglang["sampling_params"]["max_new_tokens"] == 5
    assert llama["n_predict"] == 5
    assert vllm["stop_token_ids"] == sglang["sampling_params"]["stop_token_ids"] == [9]
    assert vllm["ignore_eos"]
    assert llama["stop"] == ["x"]
    assert LlamaCppProtocol(TOKENIZER).body(job, Decoding(5, stop=("x",), stop_ids=(END,)), 1)["stop"] == ["x", "<|im_end|>"]
    assert all(body["stream"] for body in (vllm, sglang, llama))


def llama(*answers):
    """What is read out of llama.cpp's answers, one after another: ids, log-probabilities, and the last counts."""
    read, ids, logprobs, cached, produced = LlamaCppProtocol(TOKENIZER).reader(), [], [], None, None
    for answer in answers:
        news = read(msgspec.json.encode(answer))
        ids += [number for piece in news.pieces for number in piece.ids]
        logprobs += [value for piece in news.pieces for value in piece.logprobs]
        cached = cached if news.cached is None else news.cached
        produced = produced if news.produced is None else news.produced
    return ids, logprobs, cached, produced


def test_llama_tells_of_its_cache_before_the_first_token_and_at_the_end():
    begun = {"tokens": [0], "stop": False, "tokens_predicted": 0, "prompt_progress": {"total": 9, "cache": 7, "processed": 7}}
    assert llama(begun) == ([], [], 7, None)
    ended = {"tokens": [], "stop": True, "stop_type": "limit", "tokens_predicted": 5, "tokens_cached": 90, "timings": {"cache_n": 6}}
    assert llama(ended) == ([], [], 6, 5)
    assert llama(ended | {"timings": {}}) == ([], [], None, 5)


WORD = {"content": "", "tokens": [], "stop": True, "stop_type": "word", "tokens_predicted": 5}


def test_the_ids_of_a_character_that_llama_does_not_send_are_known_by_its_text():
    fox = TOKENIZER.encode("🦊")
    one = {"content": "a", "tokens": [A], "tokens_predicted": 1, "completion_probabilities": [{"id": A, "logprob": -1.0}]}
    scored = {"completion_probabilities": [{"id": fox[-1], "logprob": -2.0}]}
    two = {"content": "🦊", "tokens": [fox[-1]], "tokens_predicted": 5, **scored}
    three = {"content": "b", "tokens": [B], "tokens_predicted": 6}
    assert llama(one, two) == ([A, *fox], [-1.0, -2.0, -2.0, -2.0, -2.0], None, None)
    assert llama(one, two, three)[0] == [A, *fox, B]
    late = {"content": "", "tokens": [A], "tokens_predicted": 1}
    assert llama(late, two | {"content": "a🦊"})[0] == [A, *fox]
    assert llama(late, two | {"content": ""}, three | {"content": "a🦊b"})[0] == [A, *fox, B]
    end = {"content": "🦊🦊", "tokens": [END], "tokens_predicted": 10}
    assert llama(one, two | {"content": ""}, two | {"content": "", "tokens_predicted": 9}, end)[0] == [A, *fox, *fox, END]
    assert llama(one, two | {"content": ""}, WORD | {"stopping_word": "🦊"})[0] == [A, *fox]
    assert llama(one, two | {"content": ""}, WORD | {"stopping_word": "🦊"})[1] == [-1.0, -2.0, -2.0, -2.0, -2.0]
    assert llama(one, two | {"content": "", "tokens": [END]}, WORD | {"stop_type": "eos"})[0] == [A]
    assert llama(late, two | {"content": "a"}, WORD | {"stopping_word": "🦊"})[0] == [A, *fox]
    assert llama(one, WORD | {"stop_type": "limit", "tokens_predicted": 3}) == ([A], [-1.0], None, 3)
    with pytest.raises(BadResponseError, match="3 token ids of a broken character"):
        llama(one, two | {"content": "\ufffda"})
    assert llama(one | {"content": "\ufffd"})[0] == [A]


def test_llamas_own_end_of_a_text_is_not_of_the_text():
    read = LlamaCppProtocol(TOKENIZER).reader()
    think = TOKENIZER.special_token_id("<think>")
    for number, given in ((A, [A]), (think, []), (B, [think, B]), (END, [])):
        said = {"content": "" if number in (think, END) else "x", "tokens": [number], "stop": False}
        assert [one for piece in read(msgspec.json.encode(said)).pieces for one in piece.ids] == given
    (piece,) = read(b'{"stop": true, "stop_type": "eos"}').pieces
    assert (list(piece.ids), piece.reason, piece.matched) == ([], "stop", END)


@pytest.mark.parametrize(
    ("piece", "finish", "end", "ids"),
    [
        (NewTokens(0, [A, END], (), "stop"), "end", END, [A]),
        (NewTokens(0, [A, B], (), "stop", "b"), "stop", None, [A, B]),
        (NewTokens(0, [A], (), "stop", 77), "end", 77, [A]),
        (NewTokens(0, [A, TOKENIZER.special_token_id("<think>")], (), "stop"), "end", TOKENIZER.special_token_id("<think>"), [A]),
        (NewTokens(0, [A], (), "stop"), "end", END, [A]),
        (NewTokens(0, [A], (), "length"), "length", None, [A]),
        (NewTokens(0, [A, B, C, A, B, C], (), None), "length", None, [A, B, C, A]),
        (NewTokens(0, [A, B, END, C], (-1.0, -2.0, -3.0, -4.0), "length"), "end", END, [A, B]),
    ],
)
def test_where_a_text_ends(piece, finish, end, ids):
    writing = CompletionBuilder(Decoding(4, stop_ids=(END,), logprobs=bool(piece.logprobs)), 4, TOKENIZER)
    writing.add(piece)
    completion = writing.completion()
    assert (completion.finish, completion.end_id, list(completion.ids)) == (finish, end, ids)
    assert completion.logprobs is None or len(completion.logprobs) == len(ids)


def test_a_stop_string_is_found_over_any_cut():
    for cut in range(6):
        writing = CompletionBuilder(Decoding(99, stop=("\n\n", "zz")), 99, TOKENIZER)
        ids = TOKENIZER.encode("a\nb\n\nc")
        writing.add(NewTokens(0, ids[:cut]))
        writing.add(NewTokens(0, ids[cut:]))
        assert TOKENIZER.to_bytes(writing.ids) == b"a\nb\n\n"
        assert writing.completion().finish == "stop"


def test_vllm_is_told_what_a_loop_is_and_whose_cache_it_may_use():

    def body(genuine, tokens):
        return VllmProtocol("m", genuine=genuine).body(ServerRequest([[1]], [0], tokens), Decoding(tokens), 1)

    assert body(True, 500)["repetition_detection"] == {"min_pattern_size": 4, "max_pattern_size": 64, "min_count": 16}
    assert "repetition_detection" not in body(True, 50)
    assert not {"repetition_detection", "cache_salt"} & set(body(False, 500))
    assert "cache_salt" not in body(True, 500)
    reset = CACHE_SALT.set("mine")
    try:
        assert body(True, 1)["cache_salt"] == "mine"
        assert "cache_salt" not in body(False, 1)
    finally:
        CACHE_SALT.reset(reset)
