"""Exports a run folder as log files of inspect-ai."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from inspect_ai.log import (
    EvalConfig,
    EvalDataset,
    EvalLog,
    EvalMetric,
    EvalResults,
    EvalSample,
    EvalScore,
    EvalSpec,
    EvalStats,
    write_eval_log,
)
from inspect_ai.model import ChatMessage, ChatMessageAssistant, ChatMessageSystem, ChatMessageUser, ModelUsage
from inspect_ai.scorer import CORRECT, INCORRECT, Score
from msgspec import json as msgjson

from speculative.evaluate.inspect_ai import model_output
from speculative.problem import Message
from speculative.runs.folder import SAMPLES, Run
from speculative.runs.sample import Sample
from speculative.trace.trace import Trace


def export(run: Run, folder: Path) -> list[Path]:
    """Writes the logs into the folder and returns their paths.

    Raises:
        SpeculativeError: A trace cannot be read.
        OSError: A log cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    created = datetime.fromtimestamp((run.path / SAMPLES).stat().st_mtime, UTC)
    paths: list[Path] = []
    for number, samples in enumerate(_groups(run.samples)):
        words = re.sub(r"[^A-Za-z0-9]+", "-", f"{samples[0].task} {samples[0].label}").strip("-")
        path = folder / f"{created:%Y-%m-%dT%H-%M-%S+00-00}_{words[:80]}_{number}.eval"
        write_eval_log(_log(run, samples, created, number), str(path), format="eval")
        paths.append(path)
    return paths


def _groups(samples: Sequence[Sample]) -> Iterator[list[Sample]]:
    """Yields the samples of each task, method and setting.

    Other seeds of the same epoch form a group of their own.
    """
    groups: dict[tuple[Any, ...], list[Sample]] = {}
    times: dict[tuple[Any, ...], int] = {}
    for sample in samples:
        kind = (sample.task, sample.label, msgjson.encode([sample.settings, sample.params], order="deterministic"))
        place = (*kind, sample.problem, sample.epoch)
        groups.setdefault((*kind, times.get(place, 0)), []).append(sample)
        times[place] = times.get(place, 0) + 1
    yield from groups.values()


def _log(run: Run, samples: Sequence[Sample], created: datetime, number: int) -> EvalLog:
    first, model = samples[0], f"speculative/{samples[0].label}"
    rows = [_sample(sample, run.trace(sample), model) for sample in samples]
    usage = ModelUsage()
    for row in rows:
        usage = usage + row.model_usage[model]
    ids = list(dict.fromkeys(sample.problem for sample in samples))
    epochs = max(sample.epoch for sample in samples) + 1
    right = [sample.correct for sample in samples]
    accuracy = sum(right) / len(right)
    metrics = {"accuracy": EvalMetric(name="accuracy", value=accuracy)}
    return EvalLog(
        status="success",
        eval=EvalSpec(
            created=created.isoformat(timespec="seconds"),
            task=f"speculative/{first.task}",
            task_id=f"{first.task}-{number}",
            dataset=EvalDataset(name=first.task, samples=len(ids), sample_ids=list(ids)),
            model=model,
            model_args={"method": first.method, **first.params},
            config=EvalConfig(epochs=epochs),
            metadata={"settings": first.settings, "run_folder": run.path.name, "control_of": first.control_of},
        ),
        samples=rows,
        results=EvalResults(
            total_samples=len(rows),
            completed_samples=len(rows),
            scores=[EvalScore(name="graded", scorer="graded", metrics=metrics)],
        ),
        stats=EvalStats(started_at=created.isoformat(), completed_at=created.isoformat(), model_usage={model: usage}),
    )


def _sample(sample: Sample, trace: Trace | None, model: str) -> EvalSample:
    output = model_output(model, sample, trace)
    prompt = [_message(message) for message in trace.started.problem.messages] if trace else []
    messages: list[ChatMessage] = [*prompt, output.message]
    more = {"level": sample.level, "epoch_seed": sample.seed, "undecided": sample.undecided, "trace": sample.trace}
    score = Score(
        value=CORRECT if sample.correct else INCORRECT, answer=sample.found, explanation=sample.why, metadata={"vote": sample.vote}
    )
    return EvalSample(
        id=sample.problem,
        epoch=sample.epoch + 1,
        input=prompt or sample.problem,
        target=sample.gold,
        messages=messages,
        output=output,
        scores={"graded": score},
        metadata=more,
        model_usage={model: output.usage or ModelUsage()},
        total_time=sample.seconds,
    )


def _message(message: Message) -> ChatMessage:
    kinds = {"system": ChatMessageSystem, "assistant": ChatMessageAssistant}
    return kinds.get(message.role, ChatMessageUser)(content=message.content)
