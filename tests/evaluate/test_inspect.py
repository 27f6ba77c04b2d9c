"""Our provider, tasks, grader and reducer as inspect-ai uses them, through its own command line too."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from inspect_ai import eval_async
from inspect_ai.model import ChatMessageAssistant, ChatMessageSystem, ChatMessageUser, GenerateConfig, ModelAPI, ModelOutput, modelapi
from inspect_ai.scorer import Score
from inspect_ai.tool import ToolInfo
from inspect_ai.util._display import init_display_type
from inspecting import inspecting

from speculative import Pair, UsageError
from speculative.engines.options import EngineOptions
from speculative.errors import UnknownNameError
from speculative.evaluate import inspect_ai as entry
from speculative.evaluate.inspect_ai import DECLARED, build_inspect_task, maj, provider
from speculative.evaluate.problems import problems
from speculative.evaluate.runner import derive_seed
from speculative.evaluate.tasks import task
from speculative.testing import ScriptedEngine

SCRIPT = "Let us see.\n\nSo it is.</think>\n\nThe answer is \\boxed{174}."


@pytest.fixture
def scripted(monkeypatch):
    monkeypatch.setattr(entry, "_open_pair", lambda given: Pair(*(ScriptedEngine(SCRIPT, width=2) for _ in range(2))))


async def said(model, *messages, **config):
    return await model.generate(list(messages), [], "none", GenerateConfig(**config))


async def test_a_chain_becomes_an_output_with_its_usage_and_reasoning(scripted):
    model = provider("random_switch", switch_ratio=4)
    output = await said(model, ChatMessageUser(content="How many?"), seed=5)
    reasoning, text = output.message.content
    assert reasoning.reasoning.strip() == "Let us see.\n\nSo it is."
    assert text.text == output.completion == "The answer is \\boxed{174}."
    costs = output.metadata["usage"].values()
    assert output.usage.output_tokens == sum(cost["produced_tokens"] for cost in costs)
    assert output.usage.input_tokens + output.usage.input_tokens_cache_read == sum(cost["prompt_tokens"] for cost in costs)
    assert 0 < output.usage.reasoning_tokens < output.usage.output_tokens
    assert output.stop_reason == output.metadata["finish_reason"] == "stop"
    assert output.metadata["params"]["switch_ratio"] == 4
    assert output.metadata["seconds"] > 0


async def test_a_cut_chain_says_so(scripted):
    output = await said(provider("big_only"), ChatMessageUser(content="How many?"), max_tokens=4)
    assert output.stop_reason == "max_tokens"
    assert output.metadata["finish_reason"] == "length"


async def test_a_prompt_that_comes_again_gets_another_seed(scripted):
    model = provider("big_only")
    asked = [
        ChatMessageSystem(content="Be brief."),
        ChatMessageUser(content="n?"),
        ChatMessageAssistant(content="1"),
        ChatMessageUser(content="m?"),
    ]
    seeds = [(await said(model, *asked)).metadata["seed"] for _ in range(3)]
    assert len(set(seeds)) == 3
    assert [(await said(provider("big_only"), *asked)).metadata["seed"] for _ in range(2)] == [seeds[0]] * 2
    placed = ChatMessageUser(content="n?", metadata={entry.POSED: {"problem": "x", "epoch": 0}})
    assert [(await said(model, placed, seed=9)).metadata["seed"] for _ in range(2)] == [9, 9]


async def test_a_tasks_instruction_reaches_the_prompt(monkeypatch):
    seen = []
    engine = ScriptedEngine(lambda prompt, seed: seen.append(prompt) or SCRIPT)
    monkeypatch.setattr(entry, "_open_pair", lambda given: Pair(engine, engine))
    for instruction in ("Put the letter.", None):
        place = {"problem": "x", "epoch": 0, "instruction": instruction}
        await said(provider("big_only"), ChatMessageUser(content="n?", metadata={entry.POSED: place}), seed=1)
    assert "n?\nPut the letter.<" in seen[0]
    assert "n?\nPut your final answer within \\boxed{}.<" in seen[-1]


async def test_wrong_uses_are_errors(scripted):
    with pytest.raises(UsageError, match="cannot call tools"):
        await provider("big_only").generate(
            [ChatMessageUser(content="n?")], [ToolInfo(name="t", description="d")], "auto", GenerateConfig()
        )
    with pytest.raises(UnknownNameError, match="did you mean 'random_switch'"):
        provider("random_swich")
    with pytest.raises(UnknownNameError, match="parameter of big_only"):
        provider("big_only", switch_ratio=4)
    with pytest.raises(UnknownNameError):  # a path is code, and a model's name may be somebody else's
        provider("./mine.py:Mine")


async def test_a_parameter_that_begins_like_a_role_is_the_methods(scripted):
    reply = await said(provider("random_switch", big_share=0.25), ChatMessageUser(content="n?"))
    assert reply.metadata["params"]["big_share"] == 0.25


async def test_arguments_of_engines_reach_them(monkeypatch):
    seen = {}
    monkeypatch.setattr(
        entry.Pair, "open", lambda *specs, options: seen.update(specs=specs, options=options) or Pair(*[ScriptedEngine(SCRIPT)] * 2)
    )
    await said(
        provider("big_only", big=["http://one/v1", "http://two/v1"], big_gpus=1, vllm="py", judge_model="m"), ChatMessageUser(content="n?")
    )
    assert seen["specs"] == (["http://one/v1", "http://two/v1"], "bundled:small", None)
    assert seen["options"]["big"] == EngineOptions(gpus="1", vllm="py")
    assert seen["options"]["judge"] == EngineOptions(model="m", vllm="py")


async def test_unknown_model_arguments_are_errors():
    with pytest.raises(UnknownNameError, match="did you mean 'big_gpus'"):
        await said(provider("big_only", big_gpu=1), ChatMessageUser(content="n?"))


@pytest.mark.parametrize(
    ("votes", "k", "value"),
    [
        ([("1", "C"), ("2", "I"), ("1", "C")], 0, 1),
        ([("2", "I"), ("3", "I"), ("1", "C"), ("2", "I")], 0, 0),
        ([("1", "C"), ("2", "I")], 0, 0.5),
        ([("1", "C"), ("2", "I"), ("2", "I")], 1, 1 / 3),
        ([(None, "I"), (None, "I"), ("1", "C")], 0, 1),
        ([(None, "I")], 8, 0),
    ],
)
def test_a_vote_is_by_answers_not_by_verdicts(votes, k, value):
    scores = [Score(value=verdict, answer=vote, metadata={"vote": vote}) for vote, verdict in votes]
    assert maj(k)(scores).value == pytest.approx(value)


class Other(ModelAPI):
    """A model of somebody else's."""

    async def generate(self, input, tools, tool_choice, config):
        return ModelOutput.from_content("other/model", "Answer: \\boxed{174}" if "131" in input[0].text else "so 174")


@pytest.mark.slow
@inspecting
async def test_another_model_gets_our_instruction_and_grader(tmp_path):
    init_display_type("none")  # the first display of a process stays
    modelapi(name="other")(Other)
    task_of_three = build_inspect_task(task("stories"), problems(task="stories")[:3])
    quiet = {"log_realtime": False, "ctl_server": False, "acp_server": False}
    (log,) = await eval_async([task_of_three], model="other/model", log_dir=str(tmp_path), **quiet)
    assert log.status == "success", log.error
    assert [sample.scores["graded"].value for sample in log.samples] == ["C", "I", "I"]
    assert [sample.scores["graded"].explanation for sample in log.samples][1] == "no box and no final answer"
    assert log.samples[0].messages[0].text.endswith("\nPlease reason step by step, and put your final answer within \\boxed{}.")


def test_every_task_is_declared():
    assert DECLARED.keys() == {"stories", "tunnel", "gsm8k", "math500", "openai_math", "gpqa_diamond", "hmmt_feb26"} | {
        f"aime{name}" for name in ("24", "24_figures", "24_nofigures", "25", "25_nofigures", "26")
    }


@pytest.mark.slow
def test_its_own_command_line_knows_us(tmp_path):
    command = [str(Path(sys.executable).parent / "inspect"), "eval", "speculative/tunnel", "--model", "speculative/random_switch"]
    command += ["-M", "switch_ratio=4", "--limit", "3", "--epochs", "2", "-T", "seed=1", "--display", "plain", "--log-format", "json"]
    told = {**os.environ, "INSPECT_LOG_DIR": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=told, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (file,) = tmp_path.glob("*.json")
    log = json.loads(file.read_text())
    assert log["status"] == "success", log.get("error")
    assert log["eval"]["model"] == "speculative/random_switch"
    seeds = {(sample["id"], sample["epoch"]): sample["output"]["metadata"]["seed"] for sample in log["samples"]}
    assert seeds == {(stated.id, epoch + 1): derive_seed(1, stated.id, epoch) for stated in problems()[:3] for epoch in range(2)}
    assert "accuracy" in done.stdout
