"""llama.cpp's server, started for the user on a GGUF file: which specs mean it, where the file comes from, and that it is ended."""

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest
from real import PROBLEMS, SHIPPED, gguf
from standing import gone

import speculative
from speculative.cli import run as command
from speculative.engines.llamacpp import launch, models, server
from speculative.engines.llamacpp.launch import LlamaLaunch
from speculative.engines.options import EngineOptions, engine_kind
from speculative.engines.vllm import guard, records
from speculative.engines.vllm import launch as starting
from speculative.engines.vllm.launch import LaunchConfig, cause
from speculative.errors import EngineUnreachableError, UsageError
from speculative.pair import Pair, launch_config


@pytest.fixture
def nothing_on_the_path(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.mark.parametrize(
    ("spec", "meant"),
    [
        ("model.gguf", True),
        ("./models/Model.GGUF", True),
        ("~/models/model.gguf", True),
        ("ggml-org/Qwen3-0.6B-GGUF/Qwen3-0.6B-Q8_0.gguf", True),
        ("ggml-org/Qwen3-0.6B-GGUF", True),
        ("someone/model:Q4_K_M", True),
        ("deepseek-ai/DeepSeek-R1-Distill-Qwen-7B", False),
        ("http://127.0.0.1:8000/v1", False),
        ("https://host/a/b.gguf", False),
        ("bundled:big", False),
    ],
)
def test_specs_that_mean_a_gguf_file(spec, meant):
    assert models.names_gguf(spec) is meant
    if meant:
        assert engine_kind([spec]) == "model"


def test_a_folder_whose_name_looks_like_a_gguf_repository_is_a_folder(tmp_path, monkeypatch):
    (tmp_path / "mine" / "model-GGUF").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert not models.names_gguf("mine/model-GGUF")
    assert type(launch_config("mine/model-GGUF", EngineOptions())) is LaunchConfig


def test_a_file_is_served_under_its_full_path_with_what_was_chosen(tmp_path, monkeypatch):
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    monkeypatch.chdir(tmp_path)
    chosen = launch_config("model.gguf", EngineOptions(gpus="1", port=8123, args="--ctx-size 4096 --parallel 1", model="mine", keep=True))
    assert chosen == LlamaLaunch(str(tmp_path / "model.gguf"), None, "1", 8123, "--ctx-size 4096 --parallel 1", "mine", keep=True)
    assert chosen.environment()["CUDA_VISIBLE_DEVICES"] == "1"
    monkeypatch.setattr(launch, "find_spec", lambda name: name == "xllamacpp")
    monkeypatch.setenv("PATH", "")
    words = chosen.run(8123)
    assert words[:3] == [sys.executable, "-P", server.__file__]
    assert words[words.index("--alias") + 1] == "mine"
    flags = server.flags().parse_args(words[3:])
    assert (flags.model, flags.port, flags.ctx_size, flags.parallel) == (tmp_path / "model.gguf", 8123, 4096, 1)  # the last word wins


def test_a_file_that_is_missing_is_said(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for missing in ("model.gguf", "models/model.gguf", "./model.gguf", "/nowhere/a/b.gguf"):
        with pytest.raises(UsageError, match=f"model '{missing}' must be a GGUF file of this machine, and there is no such file"):
            launch_config(missing, EngineOptions())


@pytest.mark.usefixtures("nothing_on_the_path")
def test_a_missing_server_is_said_with_the_command_that_installs_it(monkeypatch):
    monkeypatch.setattr(launch, "find_spec", lambda _: None)
    with pytest.raises(UsageError, match=r"-m pip install xllamacpp\) or put the program llama-server on the PATH"):
        LlamaLaunch("model.gguf").run(8000)


def test_arguments_that_cannot_be_passed_on_are_said(monkeypatch):
    monkeypatch.setattr(launch, "find_spec", lambda _: True)
    with pytest.raises(UsageError, match=r"arguments for llama\.cpp, '--port 1': name the port with --big-port"):
        LlamaLaunch("model.gguf", args="--port 1").run(8000)
    with pytest.raises(UsageError, match=r"arguments for llama\.cpp, .*no closing quotation"):
        LlamaLaunch("model.gguf", args="'").run(8000)


def test_a_program_on_the_path_comes_first(tmp_path, monkeypatch):
    program = tmp_path / "llama-server"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert LlamaLaunch("model.gguf").run(8000)[0] == str(program)


def test_a_note_of_one_program_is_not_that_of_the_other(tmp_path, monkeypatch):
    """A server is found again by how it was started."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    records.write_record(records.state_folder() / "a.log", os.getpid(), "http://127.0.0.1:1/v1", LlamaLaunch("/m", keep=True))
    assert records.find_record(LlamaLaunch("/m", keep=True))
    assert records.find_record(LaunchConfig("/m", keep=True)) is None


class Hub:
    """Stands for the hub's client: what is asked of it, and what it has."""

    def __init__(self, monkeypatch, tmp_path, *names, cached=()):
        import huggingface_hub
        from huggingface_hub.errors import LocalEntryNotFoundError

        self.names, self.fetched, self.folder, self.cached = names, [], tmp_path, cached
        self.missing = LocalEntryNotFoundError
        monkeypatch.setattr(models.hub, "unreachable", lambda: "")
        monkeypatch.setattr(huggingface_hub, "hf_hub_download", self.download)
        monkeypatch.setattr(huggingface_hub.HfApi, "list_repo_files", lambda _, repo, token=None: list(self.names))

    def download(self, repo, name, *, local_files_only=False, token=None):
        if local_files_only and name not in self.cached:
            raise self.missing("not here")
        self.fetched.append((repo, name, local_files_only))
        return str(self.folder / name)


def test_a_file_of_the_hub_is_fetched_unless_it_is_here(monkeypatch, tmp_path):
    hub = Hub(monkeypatch, tmp_path, cached=("here.gguf",))
    assert models.find("someone/model/here.gguf") == tmp_path / "here.gguf"
    assert models.find("someone/model/sub/far.gguf") == tmp_path / "sub" / "far.gguf"
    assert hub.fetched == [("someone/model", "here.gguf", True), ("someone/model", "sub/far.gguf", False)]


def test_all_parts_of_a_file_are_fetched_and_the_first_is_served(monkeypatch, tmp_path):
    hub = Hub(monkeypatch, tmp_path)
    assert models.find("someone/model/m-00001-of-00003.gguf") == tmp_path / "m-00001-of-00003.gguf"
    assert [name for _, name, _ in hub.fetched] == [f"m-0000{part}-of-00003.gguf" for part in (1, 2, 3)]


def test_a_quantization_names_the_file_of_a_repository(monkeypatch, tmp_path):
    names = ("README.md", "mmproj-model-Q8_0.gguf", "model-Q4_K_M.gguf", "model-Q8_0.gguf", "big-F16-00001-of-00002.gguf")
    Hub(monkeypatch, tmp_path, *names, "big-F16-00002-of-00002.gguf")
    assert models.find("someone/model:q8_0").name == "model-Q8_0.gguf"
    assert models.find("someone/model-GGUF").name == "model-Q4_K_M.gguf"
    assert models.find("someone/model:F16").name == "big-F16-00001-of-00002.gguf"
    with pytest.raises(UsageError, match=r"no GGUF file with 'Q2_K' in its name; it has big-F16-00001-of-00002.gguf, model-Q4_K_M.gguf"):
        models.find("someone/model:Q2_K")


def test_a_repository_with_one_file_has_that_one(monkeypatch, tmp_path):
    Hub(monkeypatch, tmp_path, "only-IQ3.gguf")
    assert models.find("someone/model-GGUF").name == "only-IQ3.gguf"


def test_a_hub_that_cannot_be_asked_is_one_line(monkeypatch, tmp_path):
    Hub(monkeypatch, tmp_path)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *_, **__: (_ for _ in ()).throw(OSError("no network\nat all")))
    with pytest.raises(UsageError, match=r"someone/model cannot be fetched from the hub \(OSError: no network\); name a file") as raised:
        models.find("someone/model/a.gguf")
    assert "\n" not in str(raised.value)
    monkeypatch.undo()
    for spec in ("someone/model:Q8_0", "someone/model/far.gguf"):
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        with pytest.raises(
            UsageError, match=r"someone/model is not in this machine's cache of the hub, and HF_HUB_OFFLINE is set; name a file"
        ):
            models.find(spec)


@pytest.mark.parametrize(
    ("log", "why"),
    [
        ("0.00.183.127 E llama_model_load: error loading model: model is corrupted\n0.00.2 E srv  init: exiting\n", "model is corrupted"),
        ("llama_model_load: error loading model: no such tensor\nmain: exiting due to model loading error\n", "no such tensor"),
        ("usage: …\nllama.cpp's server: error: unrecognized arguments: --nonsense\n", "unrecognized arguments: --nonsense"),
        ("error: invalid argument: --nonsense\nsee --help\n", "invalid argument: --nonsense"),
    ],
)
def test_a_log_says_why_a_server_ended(tmp_path, log, why):
    file = tmp_path / "llama.cpp.log"
    file.write_text(log)
    assert why in cause(file)
    assert "exiting" not in cause(file)


# ---- with the real server ------------------------------------------------------------------------------------------------


@pytest.fixture
def state(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))


@pytest.mark.llama
@pytest.mark.usefixtures("state")
async def test_a_file_is_served_asked_and_its_server_ended():
    files = {role: str(gguf(role)) for role in ("big", "small")}
    options = {role: EngineOptions(tokenizer=str(SHIPPED / role), args="--threads 1") for role in files}
    said = []
    pair = await asyncio.to_thread(Pair.open, files["big"], files["small"], options=options, tell=said.append)
    tree = [pid for engine in pair.values() for pid in guard.process_tree(engine.running.process.pid)]
    async with pair:
        assert pair["big"].server.kind == "llama.cpp"
        assert pair["big"].server.model == "big"
        assert pair["big"].context == launch.CONTEXT
        result = await speculative.asolve(PROBLEMS[0]["problem"], "random_switch", pair=pair, max_tokens=300, seed=1)
        assert result.usage["big"].produced_tokens > 0
    assert gone(tree)
    assert not list(records.state_folder().iterdir())  # all went well: there is nothing to read


@pytest.mark.llama
@pytest.mark.usefixtures("state")
def test_a_program_on_the_path_serves_too(tmp_path, monkeypatch):
    """The package's server under the name of llama.cpp's own: the same flags, and nothing of this Python's is asked for."""
    model, program = gguf("small"), tmp_path / "bin" / "llama-server"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -P {server.__file__} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setattr(launch, "find_spec", lambda _: None)
    running = starting.start_and_wait(LlamaLaunch(str(model), args="--threads 1", deadline=60))
    try:
        assert starting.answers(running.url)
    finally:
        running.end()


@pytest.mark.llama
@pytest.mark.usefixtures("state")
def test_a_file_that_is_no_model_and_a_wrong_flag_are_said(tmp_path):
    gguf("small")
    (tmp_path / "cut.gguf").write_bytes(gguf("small").read_bytes()[:600_000])
    with pytest.raises(
        EngineUnreachableError, match=r"llama\.cpp ended with 1 while it loaded .*cut\.gguf.* error loading model: .*llama\.cpp-\d+"
    ):
        starting.start_and_wait(LlamaLaunch(str(tmp_path / "cut.gguf"), deadline=60))
    with pytest.raises(EngineUnreachableError, match=r"ended with 2 .*unrecognized arguments: --nonsense"):
        starting.start_and_wait(LlamaLaunch(str(gguf("small")), args="--nonsense", deadline=60))


@pytest.mark.llama
@pytest.mark.usefixtures("state")
def test_up_holds_servers_that_down_ends(monkeypatch, capsys):
    """A command that names the same file uses the server that is up."""
    import subprocess

    files = [word for role in ("big", "small") for word in (f"--{role}", str(gguf(role)))]
    with subprocess.Popen([sys.executable, "-m", "speculative", "up", *files], stdout=subprocess.PIPE, text=True) as up:
        assert up.stdout
        line = up.stdout.readline()
        assert line.startswith("speculative ask --big http://127.0.0.1:")
        tokenizers = [word for role in ("big", "small") for word in (f"--{role}-tokenizer", str(SHIPPED / role))]
        assert command(["doctor", "--json", *files, *tokenizers]) == 0
        found = json.loads(capsys.readouterr().out)["roles"]
        assert [role["name"] for role in found] == [f"big at {line.split()[3]}", f"small at {line.split()[5]}"]
        assert {role["server"].partition(" ")[0] for role in found} == {"llama.cpp"}
        assert command(["down"]) == 0
        assert up.wait(30) == 0
    assert not [file for file in records.state_folder().iterdir() if Path(file).suffix == ".json"]
