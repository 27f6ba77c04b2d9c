"""Sources and bounds of settings."""

import pytest

from speculative.errors import UnknownNameError, UsageError
from speculative.redaction import Redactor, read_secret
from speculative.serve.request import RequestReader
from speculative.settings import Settings


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("SPECULATIVE_PORT", "SPECULATIVE_API_KEY", "OPENAI_API_KEY"):
        monkeypatch.delenv(name, raising=False)


def test_the_first_source_that_has_a_value_wins(tmp_path, monkeypatch):
    assert Settings().port == 8080
    (tmp_path / "speculative.toml").write_text(
        'port = 1\nhost = "::1"\nmethod = "fast"\n[presets.fast]\nmethod = "random_switch"\nparams = {switch_chunk = 4}\nwith = ["vote"]\n'
    )
    found = Settings()
    assert (found.port, found.host, found.presets["fast"].wrappers) == (1, "::1", ["vote"])
    assert found.presets["fast"].build().inner.switch_chunk == 4
    (tmp_path / ".env").write_text("SPECULATIVE_PORT=2\nOPENAI_API_KEY=sk-env-file\nUNRELATED=3\n")
    assert Settings().port == 2
    monkeypatch.setenv("SPECULATIVE_PORT", "3")
    assert Settings().port == 3
    assert Settings(port=4).port == 4


def test_lists_in_the_environment_have_commas(monkeypatch):
    for name in ("big", "cors_origin", "allowed_host"):
        monkeypatch.setenv(f"SPECULATIVE_{name.upper()}", "one, two")
        assert getattr(Settings(), name) == ["one", "two"]


def test_other_secrets_are_read_where_they_are_needed(tmp_path, monkeypatch):
    import os

    (tmp_path / ".env").write_text("OPENAI_API_KEY=sk-env-file\n")
    Settings()
    assert "OPENAI_API_KEY" not in os.environ
    assert read_secret("OPENAI_API_KEY") == "sk-env-file"
    monkeypatch.setenv("OPENAI_API_KEY", "sk-environment")
    assert read_secret("OPENAI_API_KEY") == "sk-environment"
    assert read_secret("NO_SUCH_TOKEN") is None
    (tmp_path / ".env").write_text("SPECULATIVE_BIG_KEY=key-of-the-file\nNAME=no-secret\n")
    assert Redactor()("key-of-the-file sk-environment no-secret") == "*** *** no-secret"
    (tmp_path / ".env").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match=r"\.env cannot be read"):
        read_secret("NO_SUCH_TOKEN")


def test_keys_are_never_shown(monkeypatch):
    monkeypatch.setenv("SPECULATIVE_API_KEY", "sk-a, sk-b,")
    found = Settings()
    assert found.keys() == ("sk-a", "sk-b")
    assert "sk-" not in repr(found) + found.model_dump_json()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("prt = 1", "unknown setting prt"),
        ("port = 99999", "port must be at most 65535, got 99999"),
        ("port = ", "speculative.toml|cannot be read"),
        ('[presets.fast]\nmethd = "x"', "methd"),
        ("max_chains = 0", "max_chains"),
    ],
)
def test_wrong_values_are_one_line_each(tmp_path, text, told):
    (tmp_path / "speculative.toml").write_text(text)
    with pytest.raises(UsageError, match=told) as raised:
        Settings()
    assert "\n" not in str(raised.value)


def test_presets_are_checked_before_the_service_begins(tmp_path):
    for text, told in (
        ('[presets.fast]\nmethod = "nothing"', "unknown method 'nothing'"),
        ('[presets.fast]\nmethod = "./mine.py:Mine"', "unknown method"),
        ("[presets.fast]\nparams = {switch_chunk = 0}", "switch_chunk"),
        ("[presets.big_only]", "has the name of a method"),
        ("[presets.speculative]", "has the name of a method"),  # it is the default's, whatever that is
        ('method = "nothing"', "unknown method 'nothing'"),
    ):
        (tmp_path / "speculative.toml").write_text(text)
        with pytest.raises((UsageError, UnknownNameError), match=told):
            RequestReader(Settings())
