"""The provenance of samples is complete and has no secrets."""

import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speculative.engines.http.discovery import Server
from speculative.redaction import redact_command
from speculative.runs.provenance import commits, describe_engine, hardware, provenance, versions
from speculative.testing import ScriptedEngine

ENGINES = {"big": ScriptedEngine("x"), "small": ScriptedEngine("y", name="other")}


def test_a_command_of_a_package_can_be_pasted():
    assert redact_command(["/x/speculative/__main__.py", "compare", "--limit", "4"]) == "python -m speculative compare --limit 4"
    assert redact_command(["/x/bin/speculative", "compare"]) == "speculative compare"


def test_provenance_is_complete():
    noted = provenance(ENGINES, command=["/somewhere/bin/speculative", "eval", "stories"], seeds=[0])
    assert noted.keys() == {"at", "command", "versions", "git", "engines", "hardware", "seeds"}
    assert noted["command"] == "speculative eval stories"
    assert noted["engines"]["small"]["name"] == "other"
    assert noted["engines"]["big"].keys() == {"name", "dialect", "fingerprint", "context", "abilities", "server"}


def test_a_server_is_described_by_its_model_and_version():
    engine = ScriptedEngine("x")
    engine.server = Server("vllm", "0.32.0", "Qwen/QwQ-32B", "Qwen/QwQ-32B", 32768)
    assert (describe_engine(engine)["server"], describe_engine(engine)["model"]) == ("vllm 0.32.0", "Qwen/QwQ-32B")


@pytest.mark.parametrize(
    ("argv", "shown"),
    [
        (["--big-key", "s3cret", "--limit", "3"], "--big-key … --limit 3"),
        (["--small-key=s3cret"], "--small-key=…"),
        (["--big", "http://me:s3cret@host/v1"], "--big http://…@host/v1"),
        (["-M", "big_key=s3cret"], "-M big_key=…"),
        (["--extract-with", "m@https://:s3cret@host/v1"], "--extract-with m@https://…@host/v1"),
        (["--big", "https://s3cret@host/v1"], "--big https://…@host/v1"),
        (["--big", "https://me:s3@cret@host/v1"], "--big https://…@host/v1"),
        (["--big", "https://host/v1?to=you@there"], "--big https://host/v1?to=you@there"),
        (["--big-args", "--api-key s3cret --max-model-len 9"], "--big-args --api-key … --max-model-len 9"),
        (["--big-args=--hf-token=s3cret"], "--big-args=--hf-token=…"),
        (["--model_args", "max_tokens=9,small_args=--api-key s3cret,seed=1"], "--model_args max_tokens=9,small_args=--api-key …,seed=1"),
        (["--answer-instruction", "Say the key word"], "--answer-instruction Say the key word"),
        (["--answer-instruction", "Say it. Now"], "--answer-instruction 'Say it. Now'"),
    ],
)
def test_the_command_line_has_no_secrets(argv, shown):
    found = redact_command(["speculative", "eval", *argv])
    assert found.replace("'…'", "…").replace("'", "") == f"speculative eval {shown}".replace("'", "")


@given(st.text(alphabet="abcXYZ019-_", min_size=8), st.sampled_from(["--big-key", "--small-key", "--judge-key"]), st.booleans())
def test_no_key_ever_shows(key, flag, joined):
    argv = [f"{flag}={key}"] if joined else [flag, key]
    assert key not in redact_command(["speculative", "eval", "stories", *argv]).removeprefix("speculative eval stories")


def test_commits_are_those_of_the_working_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert "folder" not in commits()
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C", str(tmp_path)]
    subprocess.run([*git, "init", "-q"], check=True)
    (tmp_path / "a").write_text("1")
    subprocess.run([*git, "add", "a"], check=True)
    subprocess.run([*git, "commit", "-qm", "a"], check=True)
    clean = commits()["folder"]
    assert len(clean) == 40
    (tmp_path / "a").write_text("2")
    assert commits()["folder"] == f"{clean}, with changes"


def test_missing_programs_and_packages_are_left_out(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda program: None)
    assert commits() == {}
    assert "no GPU seen" in hardware()
    assert "CPU core" in hardware()
    assert versions()["python"]
