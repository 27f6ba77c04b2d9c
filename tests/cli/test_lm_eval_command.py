"""`speculative lm-eval`: the real harness, as a process, on local data with the pair that ships."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest
from easy import easy_problems

import speculative
from speculative.runs.folder import Run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
"""Each start of the harness reads thousands of task files first."""

installed = pytest.mark.skipif(find_spec("lm_eval") is None, reason="needs the extra lm-eval")
COMMAND = [sys.executable, "-m", "speculative", "lm-eval"]
THEIRS = """
include: {stock}
task: gsm8k_here
dataset_path: json
dataset_name: null
dataset_kwargs: {{data_files: {{train: {file}, test: {file}}}}}
num_fewshot: 2
"""
LIKELY = """
task: likely_here
dataset_path: json
dataset_kwargs: {{data_files: {{test: {file}}}}}
test_split: test
output_type: multiple_choice
doc_to_text: question
doc_to_choice: ["1", "2"]
doc_to_target: 0
"""
HOSTILE = r"""
import sys
from speculative import pair
from speculative.cli import main
from speculative.testing import ScriptedEngine

TEXTS = [
    "",
    "no end",
    "So.</think>\n\n\\boxed{10^{10^{10}}}",
    "So.</think>\n\n" + "\\boxed{" * 2000,
    "So.</think>\n\n\\boxed{" + "(" * 3000,
    "So.</think>\n\n\\boxed{__import__('os').abort()}",
    "So.</think>\n\n\x00\ud7ff\u202e",
    "So.</think>\n\n\\boxed{" + "9" * 20000 + "}",
]

def script(seen, seed):
    text = TEXTS[seed % len(TEXTS)]
    return text.partition("</think>")[2].lstrip() if "</think>" in seen.rpartition("<think>\n")[2] else text

pair.open_engine = lambda spec, *_, **__: ScriptedEngine(script, name=str(spec), width=2)
main()
"""


def environment(folder, **more):
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("SPECULATIVE_", "HF_", "PYTHONWARN"))}
    source = str(Path(speculative.__file__).parents[1])
    return {**kept, "PYTHONPATH": source, "HF_HOME": str(folder / "hub"), "HF_HUB_OFFLINE": "1", **more}


def harness(folder, *argv, command=COMMAND, **more):
    """Runs the command to its end."""
    done = subprocess.run(
        [*command, *map(str, argv)], cwd=folder, env=environment(folder, **more), capture_output=True, text=True, timeout=300
    )
    return done.returncode, done.stdout, done.stderr


def mistake(folder, *argv, **more):
    """The one line that a user's mistake is told by, the harness's own log aside."""
    code, _, err = harness(folder, *argv, **more)
    assert code, err
    assert "Traceback" not in err
    told = [line for line in err.splitlines() if line.startswith("speculative: ")]
    assert len(told) == 1, err
    return told[0]


def results(out):
    """lm-eval's results, and its log of samples by task."""
    (file,) = out.rglob("results_*.json")
    logs = {path.name.split("_2")[0].removeprefix("samples_"): path.read_text().splitlines() for path in out.rglob("samples_*.jsonl")}
    return json.loads(file.read_text()), {task: [json.loads(line) for line in lines] for task, lines in logs.items()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A working folder with local data: short problems under the names of public tasks."""
    made = tmp_path_factory.mktemp("lm-eval")
    (made / "data").mkdir()
    some = easy_problems(10)

    def write(name, rows):
        (made / "data" / f"{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))

    write("aime24_nofigures", [{"problem": one.problem, "answer": one.answer} for one in some])
    write("openai_math", [{"problem": one.problem, "answer": one.answer} for one in some])
    options = {"Correct Answer": "Neon", "Incorrect Answer 1": "Iron", "Incorrect Answer 2": "Zinc", "Incorrect Answer 3": "Lead"}
    write("gpqa_diamond", [{"Question": one.problem, **options} for one in some[:2]])
    write("theirs", [{"question": one.problem, "answer": f"It is so.\n#### {one.answer}"} for one in some])
    (made / "own").mkdir()
    file = made / "data" / "theirs.jsonl"
    if find_spec("lm_eval"):
        stock = Path(str(find_spec("lm_eval").origin)).parent / "tasks" / "gsm8k" / "gsm8k.yaml"
        (made / "own" / "theirs.yaml").write_text(THEIRS.format(stock=stock, file=file))
    (made / "own" / "likely.yaml").write_text(LIKELY.format(file=file))
    return made


def joined(log, samples, task):
    """Each answer in lm-eval's log, with the sample of it."""
    by_place = {(sample.task, sample.doc_id, sample.epoch): sample for sample in samples}
    answers = [(line["doc_id"], repeat, answer) for line in log for repeat, answer in enumerate(line["resps"][0])]
    return [(answer, by_place[task, doc_id, repeat]) for doc_id, repeat, answer in answers]


def spent(sample):
    return {role: usage.kept_tokens for role, usage in sample.usage.items()}


@installed
def test_our_tasks_with_a_template_and_repeats(folder):
    args = ["--model", "speculative", "--model_args", "method=random_switch,switch_ratio=4,seed=3,data=data", "--apply_chat_template"]
    tasks = "aime24_nofigures_maj8cov8,openai_math,gpqa_diamond_openai"
    code, out, err = harness(
        folder, "run", *args, "--tasks", tasks, "--batch_size", "auto", "--output_path", "o1", "--log_samples", "--limit", 3
    )
    assert code == 0, err
    assert "exact_match" in out
    told, logs = results(folder / "o1")
    kept = Run(folder / "o1" / "chains")
    assert Counter(sample.task for sample in kept.samples) == {"aime24_nofigures_maj8cov8": 24, "openai_math": 3, "gpqa_diamond_openai": 2}
    for task, log in logs.items():
        pairs = joined(log, kept.samples, task)
        assert all(answer == sample.answer and sample.seconds > 0 and kept.trace(sample) for answer, sample in pairs)
        right = sum(sample.correct for _, sample in pairs) / len(pairs)
        assert told["results"][task]["exact_match,all"] == pytest.approx(right)
    scores = told["results"]["aime24_nofigures_maj8cov8"]
    assert scores["cov@8,all"] >= scores["cov@2,all"] >= scores["exact_match,all"] > 0
    assert {f"{kind}@{k},all" for kind in ("cov", "maj") for k in (2, 4, 8)} < set(scores)
    ours = told["config"]["speculative"]
    assert ours["usage"]["big"]["kept_tokens"] == sum(sample.usage["big"].kept_tokens for sample in kept.samples)
    assert (ours["chains"], ours["method"], ours["seeds"], ours["params"]["switch_ratio"]) == (29, "random_switch", [3], 4.0)
    assert told["config"]["model_args"]["out"] == "o1/chains"
    golds = {line["doc"]["problem"]: line["target"] for line in logs["gpqa_diamond_openai"]}
    assert all(f"({gold}) Neon" in problem for problem, gold in golds.items())


@installed
def test_a_task_of_theirs_without_a_template(folder):
    args = ["--model", "speculative", "--model_args", "method=big_only,temperature=0.6,out=o2/run", "--include_path", "own"]
    code, _, err = harness(
        folder, *args, "--tasks", "gsm8k_here", "--limit", 3, "--gen_kwargs", "max_gen_toks=300", "--output_path", "o2", "--log_samples"
    )
    assert code == 0, err
    assert "its generation_kwargs say temperature=0.0, not the 0.6 of model_args" in err
    told, logs = results(folder / "o2")
    assert set(told["results"]["gsm8k_here"]) >= {"exact_match,strict-match", "exact_match,flexible-extract"}
    kept = Run(folder / "o2" / "run" / "ungraded")
    assert Run(folder / "o2" / "run").samples == []
    log = [line for line in logs["gsm8k_here"] if line["filter"] == "strict-match"]
    assert all(answer == sample.answer for answer, sample in joined(log, kept.samples, "gsm8k_here"))
    assert {line["prompt_hash"] for line in log} == {sample.problem for sample in kept.samples}
    assert {sample.settings["max_tokens"] for sample in kept.samples} == {300}
    assert {tuple(sample.settings["stop"]) for sample in kept.samples} == {("Question:", "</s>", "<|im_end|>")}


@installed
def test_killed_runs_go_on(folder):
    argv = [
        "run",
        "--model",
        "speculative",
        "--model_args",
        "method=random_switch,chains=2,data=data",
        "--tasks",
        "aime24_nofigures_maj8cov8",
    ]
    argv += ["--output_path", "o3"]
    samples = folder / "o3" / "chains" / "samples.jsonl"
    lines = 0
    for _ in range(2):
        child = subprocess.Popen(
            [*COMMAND, *argv], cwd=folder, env=environment(folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        end = time.monotonic() + 120
        while not samples.exists() or samples.read_bytes().count(b"\n") < lines + 12:
            assert child.poll() is None, "it came to its end too soon"
            assert time.monotonic() < end
            time.sleep(0.02)
        child.send_signal(signal.SIGKILL)
        child.wait()
        lines = samples.read_bytes().count(b"\n")
    before = samples.read_bytes()[: samples.read_bytes().rfind(b"\n") + 1]
    code, _, err = harness(folder, *argv)
    assert code == 0, err
    assert samples.read_bytes().startswith(before)
    kept = Run(folder / "o3" / "chains")
    assert len(kept.samples) == len({sample.key for sample in kept.samples}) == 80
    assert len(list((folder / "o3" / "chains" / "traces").glob("*.jsonl"))) <= 80 + 2 * 2


@installed
def test_the_command_of_splitreason_runs(folder):
    """As in its `eval_script.sh`, but for the models and the beams."""
    told = (
        "service_script_path=./spec_service.py,pretrained=meta-llama/Llama-2-7b-chat-hf,big_model=bundled:big,big_model_port=8000,"
        "big_model_gpus=1|2,small_model=bundled:small,small_model_port=8001,small_model_gpus=0,max_tokens=600,stok=16,sgen=2,sdecay=2,"
        "ltok=32,lbound=2,small_model_only=True"
    )
    code, _, err = harness(
        folder, "--model", "vllm_speculative", "--model_args", told, "--tasks", "aime24_nofigures", "--batch_size", "auto",
        "--apply_chat_template", "--output_path", "o4", "--log_samples", "--gen_kwargs",
        "max_gen_toks=600,thinking_start=\\n<think>,thinking_end=\\n</think>", "--limit", 2, SPECULATIVE_DATA="data",
    )  # fmt: skip
    assert code == 0, err
    assert "vllm_speculative: not used here: service_script_path" in err
    kept = Run(folder / "o4" / "chains")
    assert [sample.method for sample in kept.samples] == ["small_only"] * 2
    assert (folder / "o4" / "meta-llama__Llama-2-7b-chat-hf").is_dir()


@installed
def test_hostile_answers_do_not_lose_the_run(folder):
    (folder / "hostile.py").write_text(HOSTILE)
    code, _, err = harness(
        folder, "lm-eval", "--model", "speculative", "--model_args", "method=big_only,data=data,max_tokens=30000", "--tasks",
        "openai_math,aime24_nofigures_maj8cov8", "--output_path", "o7", "--log_samples", command=[sys.executable, "hostile.py"],
    )  # fmt: skip
    assert code == 0, err
    told, logs = results(folder / "o7")
    assert {told["results"][task]["exact_match,all"] for task in logs} == {0}
    assert len(Run(folder / "o7" / "chains").samples) == 90


@installed
def test_mistakes_are_one_line(folder):
    model = ["--model", "speculative", "--model_args"]
    assert "Tasks not found: no_such_task" in mistake(folder, *model, "data=data", "--tasks", "no_such_task")
    told = mistake(folder, *model, "swich_ratio=4", "--tasks", "aime24_nofigures")
    assert "unknown model argument 'swich_ratio'; did you mean 'switch_ratio'" in told
    told = mistake(folder, *model, "data=own", "--tasks", "aime24_nofigures")
    assert "data own must hold aime24_nofigures.jsonl" in told
    told = mistake(folder, *model, "method=big_only", "--tasks", "likely_here", "--include_path", "own")
    assert "likely_here: it asks how likely given texts are (loglikelihood)" in told


@installed
def test_arguments_that_it_cannot_read_are_one_line(folder):
    told = mistake(folder, "run", "--model", "speculative", "--model_args", "{method=big_only", "--tasks", "no_such_task")
    assert "lm-eval: Invalid JSON: {method=big_only" in told


@installed
def test_a_cache_that_mixes_methods_is_refused(folder):
    told = mistake(folder, "--model", "speculative", "--model_args", "data=data", "--tasks", "aime24_nofigures", "--use_cache", "cache")
    assert "--use_cache would give one method the answers of another" in told


@installed
def test_its_own_help(folder):
    code, out, _ = harness(folder, "run", "--help")
    assert code == 0
    assert "--model_args" in out
    code, out, _ = harness(folder, "validate", "--tasks", "aime24_figures_agg64,openai_math_maj64_cov64,gpqa_diamond_openai,gsm8k")
    assert (code, out.splitlines()[-1]) == (0, "All tasks found and valid")
