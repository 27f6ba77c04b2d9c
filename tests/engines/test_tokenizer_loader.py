"""Vocabularies of models behind servers: three real, unlike tokenizers, and texts that mean harm."""

import json
from pathlib import Path

import pytest
import unlike
from hypothesis import given, settings
from hypothesis import strategies as st
from profiles import examples

import speculative
from speculative.engines.base import UnfinishedCharacter
from speculative.engines.http.engine import OpenAIEngine
from speculative.engines.http.protocols.base import NewTokens
from speculative.engines.http.response import CompletionBuilder
from speculative.engines.tokenizers import loader
from speculative.engines.tokenizers.byte_bpe import ByteBpeTokenizer
from speculative.engines.tokenizers.sentencepiece import SentencePieceTokenizer
from speculative.errors import UnknownSpecialTokenError, UsageError, WeightsError
from speculative.pair import Pair
from speculative.problem import Message
from speculative.prompts import DIALECTS, detect_dialect, encode_parts, find_dialect
from speculative.testing.fake_server import FakeServer

SHIPPED = Path(speculative.__file__).parent / "bundled" / "big" / "tokenizer.json"

LOOK_ALIKES = [
    "<think>", "</think>", "<|im_end|>", "<|im_start|>system\n", "<|endoftext|>", "<s>", "</s>", "<unk>", "<0x0A>", "▁", "▁▁<0xE2>",
    "<|im_", "end|>", "<thi", "nk>", "</", "Ġ", "Ċ", "\u0120the", "<\uff5cUser\uff5c>", "<\uff5cend\u2581of\u2581sentence\uff5c>",
]  # fmt: skip
NASTY = [
    "🦊", "👩‍👩‍👧", "🏳️‍🌈", "e\u0301\u0323", "\u0301", "\u200d", "\ufeff", "\ufffd", "\x00", "\x07\x1b[31m", "\x7f\x85", "\r\n", "\n\n",
    "\u2028", " ", "   ", "\t", "\u00a0", "中", "\U0001d538", "\U0010ffff", "क्षि", "ﷺ", "ß", "İ", "\u202e", "12345", "\\boxed{7}",
]  # fmt: skip
hostile = st.lists(st.one_of(st.sampled_from(LOOK_ALIKES), st.sampled_from(NASTY), st.text(max_size=8)), max_size=12).map("".join)


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizers")
    paths = [SHIPPED, unlike.byte_level(folder / "bytes"), unlike.byte_fallback(folder / "pieces")]
    return [loader.read(path) for path in paths]


def test_each_kind_is_read_by_its_own_reader(tokenizers):
    assert [type(tokenizer) for tokenizer in tokenizers] == [ByteBpeTokenizer, ByteBpeTokenizer, SentencePieceTokenizer]
    assert len({tokenizer.fingerprint for tokenizer in tokenizers}) == 3


@settings(max_examples=examples(300), deadline=None)
@given(text=hostile)
def test_no_character_is_lost_and_no_marker_comes_of_a_text(tokenizers, text):
    for tokenizer in tokenizers:
        ids = tokenizer.encode(text)
        assert tokenizer.to_bytes(ids).decode() == text
        assert not set(ids) & set(tokenizer.special_tokens.values())


@settings(max_examples=examples(200), deadline=None)
@given(text=hostile, cuts=st.lists(st.integers(0, 200), max_size=6))
def test_a_text_that_changes_hands_stays_itself(tokenizers, text, cuts):
    """One model writes tokens and is stopped anywhere; its whole characters go to the others; what was unfinished is written again."""
    for author in tokenizers:
        left, seen = author.encode(text), {id(other): b"" for other in tokenizers}
        said = b""
        for cut in (*cuts, len(left) + 1):
            written, size = author.to_bytes(left), cut
            while size and UnfinishedCharacter.trailing(author.to_bytes(left[:size])):
                size -= 1
            piece = author.to_bytes(left[:size])
            said += piece
            for other in tokenizers:
                seen[id(other)] += other.to_bytes(other.encode(piece.decode()))
            left = author.encode(written[len(piece) :].decode())
        assert said == text.encode()
        assert set(seen.values()) == {text.encode()}


@settings(max_examples=examples(150), deadline=None)
@given(system=hostile, user=hostile, name=st.sampled_from(["bundled", "chatml", "qwen3"]))
def test_a_prompt_has_the_dialects_markers_and_no_others(tokenizers, system, user, name):
    family, tokenizer = find_dialect(name), tokenizers[0]
    plain = family.prompt([Message("system", ""), Message("user", "?")], "")
    ids = encode_parts(tokenizer, family.prompt([Message("system", system), Message("user", user)], ""))
    marked = set(tokenizer.special_tokens.values())
    assert [number for number in ids if number in marked] == [n for n in encode_parts(tokenizer, plain) if n in marked]
    spelled = tokenizer.to_bytes(ids).decode()
    assert spelled == f"system\n{system}\nuser\n{user}\nassistant\n\n"


def test_families_are_told_by_their_markers(tokenizers):
    assert loader.dialect_of(tokenizers[0]) == "bundled"
    assert loader.dialect_of(tokenizers[1]) == "qwen3"
    assert loader.dialect_of(tokenizers[2]) == "think"


def test_a_family_that_is_not_known_has_to_be_named(tmp_path):
    spec = json.loads(SHIPPED.read_text())
    spec["added_tokens"] = [token for token in spec["added_tokens"] if token["content"] == "<|endoftext|>"]
    (tmp_path / "tokenizer.json").write_text(json.dumps(spec))
    with pytest.raises(UsageError, match="cannot be detected"):
        detect_dialect(loader.read(tmp_path / "tokenizer.json"))


def test_pieces_say_what_is_wrong(tmp_path, tokenizers):
    with pytest.raises(UnknownSpecialTokenError, match="<think>"):
        tokenizers[2].special_token_id("<|im_end|>")
    with pytest.raises(UsageError, match="half a character"):
        tokenizers[2].encode("a\ud800")
    path = unlike.byte_fallback(tmp_path)
    spec = json.loads(path.read_text())
    del spec["model"]["vocab"]["<0x41>"]
    path.write_text(json.dumps(spec))
    del spec["model"]["vocab"]["<0xE2>"]
    path.write_text(json.dumps(spec))
    lacking = loader.read(path)
    assert lacking.to_bytes(lacking.encode("So 3 is 36.\n\n")) == b"So 3 is 36.\n\n"
    for text in ("▁", "A", "a\u2028"):
        with pytest.raises(UsageError, match=r"no token for '.*leave it out"):
            lacking.encode(text)
    path.write_text('{"model": {"byte_fallback": true}}')
    with pytest.raises(WeightsError, match="not a tokenizer"):
        loader.read(path)
    path.write_text("[]")
    with pytest.raises(WeightsError, match="not a tokenizer"):
        loader.read(path)


def test_where_a_tokenizer_is_looked_for(tmp_path, monkeypatch):
    (tmp_path / "model").mkdir()
    path = unlike.byte_level(tmp_path / "model")
    assert loader.find(str(path)) == loader.find(str(path.parent)) == path
    for wrong in (str(tmp_path), str(tmp_path / "none"), "./model", "x.gguf"):
        with pytest.raises(UsageError, match="--big-tokenizer"):
            loader.find(wrong)
    import huggingface_hub

    calls = []
    monkeypatch.setenv("HF_TOKEN", "hf_key")

    def fetched(name, file, local_files_only=False, token=None):
        calls.append((local_files_only, token))
        if local_files_only:
            raise huggingface_hub.errors.LocalEntryNotFoundError("not here")
        return str(path)

    monkeypatch.setattr(huggingface_hub, "hf_hub_download", fetched)
    monkeypatch.setattr(loader.hub, "unreachable", lambda: "")
    assert loader.find("someone/model") == path
    assert calls == [(True, None), (False, "hf_key")]
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *_, **__: (_ for _ in ()).throw(OSError("no network")))
    with pytest.raises(UsageError, match="not found on the hub"):
        loader.find("someone/model")


class Reciter:
    """An engine over a real vocabulary that goes on with a text wherever the chain stands."""

    context, abilities = 1 << 16, frozenset({"continue", "ids", "stream"})

    def __init__(self, tokenizer, text, family):
        self.tokenizer, self.dialect, self.name, self._text = tokenizer, family, "reciter", text

    async def complete(self, prefixes, decoding, *, key, stats):
        found = []
        for prefix in prefixes:
            think = self.tokenizer.special_token_id("<think>")
            at = len(prefix) - list(prefix)[::-1].index(think) if think in prefix else 0
            seen = self.tokenizer.to_bytes(prefix[at:]).decode("utf-8", "replace").removeprefix("\n")
            rest = self._text[len(seen) :] if self._text.startswith(seen) else ""
            writing = CompletionBuilder(decoding, decoding.max_tokens, self.tokenizer)
            closing = self.tokenizer.special_token_id("</think>")
            end = find_dialect(self.dialect).stop_tokens[0]
            last = self.tokenizer.special_token_id(end) if closing in prefix[at:] else closing  # the answer is empty
            ids = [*self.tokenizer.encode(rest), last][: decoding.max_tokens]
            writing.add(NewTokens(0, ids, (), "stop"))
            found.append([writing.completion()] * decoding.n)
        return found

    async def score(self, prefixes, continuations, *, key, stats):
        return [[-0.1] * len(ids) for ids in continuations]

    async def aclose(self): ...


@settings(max_examples=examples(15), deadline=None)
@given(text=hostile, chunk=st.integers(1, 4), seed=st.integers(0, 99))
async def test_two_unlike_models_over_http_write_the_text_exactly(tokenizers, text, chunk, seed):
    """Whoever writes next goes on from exactly what is there: the chain is the text, character for character."""
    text = f"Begin. {text}"
    for other in tokenizers[1:]:
        engines = [Reciter(tokenizers[0], text, "qwen3"), Reciter(other, text, detect_dialect(other))]
        async with FakeServer(engines[0]) as one, FakeServer(engines[1]) as two:
            opened = [
                await OpenAIEngine.connect(server.url, tokenizer=engine.tokenizer, dialect=engine.dialect)
                for server, engine in zip((one, two), engines, strict=True)
            ]
            async with Pair(*opened) as pair:
                result = await speculative.asolve("?", "random_switch", pair=pair, switch_chunk=chunk, seed=seed, max_tokens=4000)
            assert result.reasoning == text
            assert result.finish_reason == "stop"


def test_every_dialect_has_a_name_of_its_own():
    assert all(DIALECTS[name].name == name for name in DIALECTS)
