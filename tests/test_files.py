"""One reader for files and standard input."""

import io
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speculative.errors import UsageError
from speculative.files import MARKS, decode, read_stdin, read_text

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\ufeff"))


@given(TEXT, st.sampled_from(MARKS))
def test_a_byte_order_mark_sets_the_encoding(text, mark):
    data, codec = mark
    assert decode(data + text.encode(codec), "it") == text


@given(TEXT)
def test_without_a_mark_it_is_utf8(text):
    assert decode(text.encode(), "it") == text


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"one\ntwo \xe9", "notes.txt is not valid UTF-8: byte 8 is 0xe9 (line 2); convert it to UTF-8, for example with `iconv"),
        ("word".encode("utf-16-le"), "notes.txt is not text: line 1 holds a zero byte; if it is text, convert it"),
        (b"\xff\xfe\x00", "notes.txt is not valid UTF-16-LE: byte 2 is 0x00 (line 1); it is damaged or cut off: save it as UTF-8"),
        (b"\xff\xfea\x00\x00\x00", "notes.txt is not text: line 1 holds a zero byte; save it as UTF-8 text"),
        (
            b"\xef\xbb\xbf\xe9",
            "notes.txt is not valid UTF-8: byte 3 is 0xe9 (line 1); convert it to UTF-8, for example with `iconv -f LATIN1",
        ),
    ],
)
def test_a_binary_file_is_an_error_with_name_place_and_next_step(data, message):
    with pytest.raises(UsageError) as raised:
        decode(data, "notes.txt")
    assert str(raised.value).startswith(message)


def test_files_and_standard_input_are_read_alike(tmp_path, monkeypatch):
    path = tmp_path / "notes.txt"
    path.write_bytes("\ufeffhow many?".encode("utf-16-be"))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(path.read_bytes())))
    assert read_text(path) == read_stdin() == "how many?"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"\xff")))
    with pytest.raises(UsageError, match=r"standard input is not valid UTF-8: byte 0 is 0xff \(line 1\)"):
        read_stdin()
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(UsageError, match="standard input is closed"):
        read_stdin()


def test_a_file_that_cannot_be_read_is_an_error_with_its_name(tmp_path):
    with pytest.raises(UsageError, match=r"none\.txt: No such file or directory; name another file"):
        read_text(tmp_path / "none.txt")
    with pytest.raises(UsageError, match=r"prices .*: Is a directory; name a TOML file"):
        read_text(tmp_path, f"prices {tmp_path}", "name a TOML file")


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("text", ["how many?\n", "h\u00f6w many?\n"])
def test_utf_16_without_its_mark_is_told(codec, text):
    with pytest.raises(
        UsageError, match=rf"notes\.txt is not .*iconv -f {codec.upper().replace('-LE', 'LE').replace('-BE', 'BE')} -t UTF-8"
    ):
        decode(text.encode(codec), "notes.txt")
