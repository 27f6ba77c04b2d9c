"""Tokenizers out of GGUF files: as their `tokenizer.json` has them, and of two real models."""

import json
import os
import struct
from pathlib import Path

import pytest
import unlike
from hypothesis import given, settings
from hypothesis import strategies as st
from profiles import examples

import speculative
from speculative.engines.tokenizers import gguf, loader
from speculative.engines.tokenizers.base import SAMPLES
from speculative.engines.tokenizers.byte_bpe import ByteBpeTokenizer, byte_alphabet
from speculative.engines.tokenizers.sentencepiece import BYTE, SentencePieceTokenizer
from speculative.errors import UsageError, WeightsError

SHIPPED = Path(speculative.__file__).parent / "bundled" / "big" / "tokenizer.json"
TEXTS = [*unlike.CORPUS[:3], *SAMPLES, "<think>", "▁", "12 "]
CODES = {int: (4, "<I"), float: (6, "<f"), bool: (7, "<?")}


def value(item):
    if isinstance(item, str):
        data = item.encode()
        return 8, struct.pack("<Q", len(data)) + data
    if isinstance(item, list):
        inner = [value(one) for one in item]
        return 9, struct.pack("<IQ", inner[0][0], len(inner)) + b"".join(data for _, data in inner)
    kind, code = CODES[type(item)]
    return kind, struct.pack(code, item)


def write_gguf(path, metadata):
    """A GGUF file without tensors."""
    data = b"GGUF" + struct.pack("<IQQ", 3, 0, len(metadata))
    for key, item in metadata.items():
        kind, content = value(item)
        data += value(key)[1] + struct.pack("<I", kind) + content
    path.write_bytes(data)
    return path


def converted(file, path, pre="gpt-2"):
    """A `tokenizer.json` as its GGUF file."""
    spec = json.loads(file.read_text())
    vocabulary = {**spec["model"]["vocab"], **{entry["content"]: entry["id"] for entry in spec["added_tokens"]}}
    added = {entry["id"]: 3 if entry["special"] else 4 for entry in spec["added_tokens"]}
    tokens = [token for token, _ in sorted(vocabulary.items(), key=lambda item: item[1])]
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in spec["model"]["merges"]]
    metadata = {"general.name": "unlike", "tokenizer.ggml.tokens": tokens, "tokenizer.ggml.pre": pre, "tokenizer.ggml.add_bos_token": False}
    if spec["model"].get("byte_fallback"):
        ranks = {pair.replace(" ", ""): float(-rank) for rank, pair in reversed([*enumerate(merges)])}
        kinds = [added.get(number, 6 if BYTE.fullmatch(token) else 1) for number, token in enumerate(tokens)]
        scores = [ranks.get(token, -1e6) for token in tokens]
        return write_gguf(
            path,
            {**metadata, "tokenizer.ggml.model": "llama", "tokenizer.ggml.token_type": kinds, "tokenizer.ggml.scores": scores},
        )
    kinds = [added.get(number, 1) for number in range(len(tokens))]
    return write_gguf(
        path, {**metadata, "tokenizer.ggml.model": "gpt2", "tokenizer.ggml.token_type": kinds, "tokenizer.ggml.merges": merges}
    )


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """Each tokenizer read from both kinds of file."""
    folder = tmp_path_factory.mktemp("gguf")
    files = [(SHIPPED, "qwen2"), (unlike.byte_level(folder / "bytes"), "gpt-2"), (unlike.byte_fallback(folder / "pieces"), "default")]
    return [(loader.read(file), loader.read(converted(file, folder / f"{place}.gguf", pre))) for place, (file, pre) in enumerate(files)]


@settings(max_examples=examples(200), deadline=None)
@given(
    text=st.text(max_size=40) | st.lists(st.sampled_from([*unlike.CORPUS[:3], *SAMPLES, "<think>", "▁", "12 "]), max_size=3).map("".join)
)
def test_a_gguf_file_holds_the_same_tokenizer_as_the_model_folder(pairs, text):
    for folder, file in pairs:
        ids = file.encode(text)
        assert file.to_bytes(ids) == text.encode()
        assert folder.encode(text) == ids
        assert (folder.special_tokens, folder.fingerprint) == (file.special_tokens, file.fingerprint)


def test_a_gguf_file_is_found_as_a_tokenizer(tmp_path):
    file = converted(unlike.byte_level(tmp_path), tmp_path / "model.gguf")
    assert loader.find(str(file)) == file
    assert loader.dialect_of(loader.read(file)) == "qwen3"


def test_a_broken_gguf_file_is_named(tmp_path):
    whole = converted(unlike.byte_level(tmp_path), tmp_path / "model.gguf").read_bytes()
    broken = tmp_path / "broken.gguf"
    for data in (b"x", b"GGML" + whole[4:], whole[:4] + b"\x09" + whole[5:], whole[:-9], whole[:700], whole[:24]):
        broken.write_bytes(data)
        with pytest.raises(WeightsError, match=r"broken.gguf: cannot read its tokenizer"):
            loader.read(broken)
    with pytest.raises(WeightsError, match=r"split words as 'new'.*--big-tokenizer"):
        loader.read(converted(unlike.byte_level(tmp_path), broken, pre="new"))
    write_gguf(broken, {"tokenizer.ggml.model": "bert", "tokenizer.ggml.tokens": ["a"]})
    with pytest.raises(WeightsError, match=r"of the kind 'bert'"):
        loader.read(broken)


def tokens_of(**changes):
    """The metadata of a small tokenizer, with changes; None leaves a key out."""
    usual = {"model": "gpt2", "pre": "gpt-2", "tokens": ["a", "b", "ab"], "token_type": [1, 1, 1], "merges": ["a b"]}
    return {f"tokenizer.ggml.{key}": item for key, item in (usual | changes).items() if item is not None}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"token_type": [1]}, "token_type must have one value for each of 3 tokens, got 1"),
        ({"token_type": 1}, "token_type is missing or has a wrong type"),
        ({"merges": None}, "merges is missing"),
        ({"merges": 7}, "merges is missing or has a wrong type"),
        ({"merges": [7]}, "merges is missing or has a wrong type"),
        ({"merges": ["ab"]}, "not a tokenizer"),
        ({"tokens": None}, "tokens is missing"),
        ({"tokens": [1, 2, 3]}, "tokens is missing or has a wrong type"),
        ({"tokens": "abc"}, "tokens is missing or has a wrong type"),
        ({"model": "llama"}, "scores is missing"),
        ({"model": "llama", "scores": [1.0]}, "scores must have one value for each of 3 tokens, got 1"),
        ({"model": "llama", "scores": ["a", "b", "c"]}, "scores is missing or has a wrong type"),
        ({"model": "llama", "scores": [1.0] * 3, "unknown_token_id": 99}, "IndexError"),
        ({"model": "llama", "scores": [1.0] * 3, "unknown_token_id": "x"}, "ValueError"),
        ({"model": "llama", "scores": [1.0] * 3, "unknown_token_id": [1]}, "TypeError"),
    ],
)
def test_damaged_metadata_names_the_file(tmp_path, changes, told):
    file = write_gguf(tmp_path / "broken.gguf", tokens_of(**changes))
    with pytest.raises(WeightsError, match=told) as caught:
        loader.read(file)
    assert str(caught.value).startswith(str(file))


def test_arrays_within_arrays_are_bounded(tmp_path):
    nested = b"".join(struct.pack("<IQ", 9, 1) for _ in range(5000)) + struct.pack("<IQ", 0, 0)
    key = struct.pack("<Q", 1) + b"k" + struct.pack("<I", 9)
    file = tmp_path / "nest.gguf"
    file.write_bytes(b"GGUF" + struct.pack("<IQQ", 3, 0, 1) + key + nested)
    with pytest.raises(WeightsError, match=r"nest.gguf: .*arrays must be nested at most 8 deep"):
        loader.read(file)


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"model":' * 100_000, '{"model": {"vocab": {"a": [1]}, "merges": []}}', '{"model": {"vocab": [["a", 1]]}}']
)
def test_damaged_tokenizer_files_are_named(tmp_path, text):
    file = tmp_path / "tokenizer.json"
    file.write_text(text)
    with pytest.raises(WeightsError, match=r"tokenizer.json: not a tokenizer"):
        loader.read(file)


def test_a_vocabulary_without_a_tab_refuses_only_the_texts_that_need_one(tmp_path):
    spec = json.loads(unlike.byte_level(tmp_path).read_text())
    tab = {sign: byte for sign, byte in byte_alphabet().items() if byte == 9}
    dropped = {token for token in spec["model"]["vocab"] if any(sign in token for sign in tab)}
    pairs = [pair if isinstance(pair, list) else pair.split(" ") for pair in spec["model"]["merges"]]
    spec["model"]["merges"] = [pair for pair in pairs if not dropped & {*pair, "".join(pair)}]
    spec["model"]["vocab"] = {token: number for token, number in spec["model"]["vocab"].items() if token not in dropped}
    file = tmp_path / "tabless.json"
    file.write_text(json.dumps(spec))
    for path in (file, converted(file, tmp_path / "tabless.gguf")):
        tokenizer = loader.read(path)
        assert tokenizer.to_bytes(tokenizer.encode("a b\n\n")) == b"a b\n\n"
        with pytest.raises(UsageError, match=r"no token for '\\t'"):
            tokenizer.encode("a\tb")


def test_every_way_to_split_words_is_one_that_the_library_takes(tmp_path):
    file = unlike.byte_level(tmp_path)
    for names in gguf.SPLITTERS:
        for name in names:
            vocabulary = loader.read(converted(file, tmp_path / "model.gguf", pre=name))
            assert vocabulary.to_bytes(vocabulary.encode("I've 12345\n\n x")) == b"I've 12345\n\n x"


# ---- two real models -------------------------------------------------------------------------------------------------

FOLDER = Path(os.environ.get("GGUF_FOLDER") or Path.home() / ".cache" / "speculative" / "gguf").expanduser()


def real(name):
    """A vocabulary out of the folder that scripts/gguf.sh fills."""
    if not (FOLDER / name).is_file():
        refuse = pytest.fail if os.environ.get("CI", "").lower() in ("1", "true") else pytest.skip
        refuse(f"{FOLDER} has no {name}; GGUF_FOLDER names a folder that has it")
    return loader.read(FOLDER / name)


@pytest.mark.llama
def test_gemmas_newlines_and_tables_are_text():
    gemma = real("gemma-3-270m.gguf")
    assert isinstance(gemma, SentencePieceTokenizer)
    assert [gemma.to_bytes([number]) for number in (107, 108, 138, 168)] == [b"\n", b"\n\n", b"  ", b"<table>"]
    assert gemma.encode("So.\n\n1 +  1\n") == [4324, 236761, 108, 236770, 900, 138, 236770, 107]
    assert gemma.encode("<table>\n\t\t<s>") == [168, 107, 255969, 203]
    assert gemma.special_token_id("<start_of_turn>") == 105
    assert not {105, 106} & set(gemma.encode("<start_of_turn>x<end_of_turn>"))


@pytest.mark.llama
def test_smollm_lacks_some_bytes_and_spells_all_other_texts():
    smol = real("SmolLM2-135M-Instruct.gguf")
    assert isinstance(smol, ByteBpeTokenizer)
    assert smol.encode("Hello world.\n\nStep 2: 3 * 14") == [19556, 905, 30, 198, 198, 3512, 216, 34, 42, 216, 35, 1672, 216, 33, 36]
    for text in ("naïve café 日本語 🦊", "2 ≤ x", "Ελλάδα"):
        assert smol.to_bytes(smol.encode(text)) == text.encode()
    with pytest.raises(UsageError, match=r"no token for '\\x04' \(at 2 of the text\); leave it out"):
        smol.encode("ab\x04")
