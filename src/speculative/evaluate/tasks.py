"""Tasks: public benchmarks and the bundled problems, with their prompts.

Problems come from the public data set, or from a file (`data_files`) with the same columns, or with `problem` and `answer`.
"""

from __future__ import annotations

import logging
import math
import os
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal
from hashlib import blake2b
from pathlib import Path
from typing import Any

from msgspec import Struct, structs

from speculative.engines.hub import unreachable
from speculative.errors import MissingExtraError, SpeculativeError, UnknownNameError, UsageError
from speculative.evaluate.data_files import Row, read_rows
from speculative.evaluate.grading.choices import Kind
from speculative.evaluate.grading.grade import GOLD_ADVICE, check_gold, shuffle_options
from speculative.evaluate.problems import FOLDERS, Set, TaskProblem, problems, spread
from speculative.problem import Problem
from speculative.redaction import read_secret

PROBLEM, ANSWER, LEVEL = ("problem", "question"), ("answer",), ("level", "subject", "high-level domain")
"""The columns of each, in upper or lower case; the first one that a row has counts."""

RIGHT, WRONG = "correct answer", "incorrect answer {}"
"""The columns of options."""

OFFLINE = "fetch it where there is a network, or name a file with --data"

LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"

CHOOSE = "Please reason step by step, and put the letter of the right option within \\boxed{}."


class Task(Struct, frozen=True):
    """A set of problems with their prompt and grading.

    Attributes:
        name: the task's name.
        about: a description.
        kind: the kind of grading.
        dataset: the id of the public data set, with its `config` and `split`; None stands for the bundled problems.
        prompt: the user's message, with `{problem}` and, for choices, `{options}`.
        instruction: the answer instruction after the prompt; None stands for the model family's own.
    """

    name: str
    about: str
    kind: Kind
    dataset: str | None
    config: str | None = None
    split: str = "train"
    prompt: str = "{problem}"
    instruction: str | None = None

    def with_instruction(self, problem: Problem) -> Problem:
        """Returns the problem with this task's instruction, unless it has its own."""
        given = problem.answer_instruction is not None
        return problem if given else structs.replace(problem, answer_instruction=self.instruction)

    def problem_of(self, row: Row) -> TaskProblem:
        """Makes the problem of a row. Raises `UsageError` that names the column."""
        columns = {str(name).lower(): value for name, value in row.items()}
        text = _text(columns, PROBLEM)
        options = [_text(columns, (name,)) for name in _option_columns(columns)]
        if options:
            _check_unlike(options)
            shown = shuffle_options(text, options)
            gold, listed = shown.gold, "\n".join(f"({LETTERS[place]}) {option}" for place, option in enumerate(shown.options))
        else:
            gold, listed = _text(columns, ANSWER).rpartition("####")[2].strip(), ""  # GSM8K has the answer after its solution
        prompt = self.prompt.format(problem=text, options=listed).strip()
        return TaskProblem(self.name + "-" + digest(prompt), prompt, gold, _level(columns), self.name, self.kind)


def _task(name: str, about: str, dataset: str, **more: Any) -> Task:
    return Task(name, about, more.pop("kind", "integer"), dataset, **more)


ALL = (
    Task("tunnel", "the bundled problems: 500 of six families, with whole numbers", "integer", None),
    Task("stories", "500 short stories with whole numbers, on which the bundled pair was not trained", "integer", None),
    _task("aime24", "AIME 2024, 30 problems", "Maxwell-Jia/AIME_2024"),
    _task("aime24_figures", "AIME 2024 with its figures as code", "simplescaling/aime24_figures"),
    _task("aime24_nofigures", "AIME 2024 without figures", "simplescaling/aime24_nofigures"),
    _task("aime25", "AIME 2025, 30 problems", "math-ai/aime25", split="test"),
    _task("aime25_nofigures", "AIME 2025 without figures", "TIGER-Lab/AIME25"),
    _task("aime26", "AIME 2026, 30 problems", "MathArena/aime_2026"),
    _task("hmmt_feb26", "HMMT of February 2026, 33 problems", "MathArena/hmmt_feb_2026", kind="math"),
    _task("math500", "MATH-500: 500 problems of seven subjects", "HuggingFaceH4/MATH-500", split="test", kind="math"),
    _task("openai_math", "MATH-500 under the name that the s1 evaluation gave it", "simplescaling/openaimath", split="test", kind="math"),
    _task("gsm8k", "GSM8K: 1,319 word problems of a primary school", "openai/gsm8k", config="main", split="test"),
    Task(
        "gpqa_diamond",
        "GPQA Diamond: 198 choices of four for graduates (gated: needs HF_TOKEN)",
        "letter",
        "Idavidrein/gpqa",
        "gpqa_diamond",
        prompt="{problem}\n\n{options}",
        instruction=CHOOSE,
    ),
)
TASKS: dict[str, Task] = {task.name: task for task in ALL}


def task(name: str) -> Task:
    """Finds a task by name; `-` and `_` are equal. Raises `UnknownNameError`."""
    if name.replace("-", "_") not in TASKS:
        raise UnknownNameError("task", name, list(TASKS))
    return TASKS[name.replace("-", "_")]


class Unreadable(Struct, frozen=True):
    """A problem with an unreadable gold answer, its place and the reason."""

    place: str
    problem: TaskProblem
    why: str


class Loaded(Struct, frozen=True):
    """The problems of a task in their order, and those with unreadable gold answers."""

    source: str
    problems: list[TaskProblem]
    unreadable: list[Unreadable]

    def readable(self) -> list[TaskProblem]:
        """Returns the problems that can be graded."""
        bad = {one.problem.id for one in self.unreadable}
        return [one for one in self.problems if one.id not in bad]

    def check(self, limit: int | None = None) -> None:
        """Raises `UsageError` for unreadable gold answers in the first problems.

        Its notes list all of the data's, one each.
        """
        needed = {one.id for one in spread(self.problems, limit)}
        bad = [one for one in self.unreadable if one.problem.id in needed]
        if not bad:
            return
        if len(self.unreadable) == 1 and limit is None:
            one = self.unreadable[0]
            raise UsageError(f"{one.place}: {one.why}, or leave it out with --skip-unreadable")
        counted = f"{len(self.unreadable)} of {len(self.problems)} gold answers cannot be read"
        wanted = f"{len(bad)} of them are among the {len(needed)} chosen problems; {GOLD_ADVICE}, or leave them out with --skip-unreadable"
        error = UsageError(f"{self.source}: {counted}, {wanted}")
        for one in self.unreadable:
            error.add_note(f"{one.place}: {one.why.removesuffix(f'; {GOLD_ADVICE}')}")
        raise error


def load(task: Task, data: Path | None = None) -> list[TaskProblem]:
    """Loads the problems of a task, from a file or its public data set.

    Raises:
        UsageError: A row is not a problem, or its gold answer cannot be read.
        SpeculativeError: The data set cannot be loaded.
    """
    loaded = load_all(task, data)
    loaded.check()
    return loaded.problems


def bundled_problems(task: Task, name: Set = "benchmark") -> list[TaskProblem]:
    """Returns a set of a task whose problems ship with the library."""
    return list(problems(name, next(bundled for bundled in FOLDERS if bundled == task.name)))


def load_all(task: Task, data: Path | None = None) -> Loaded:
    """Loads the problems of a task, with those whose gold answer cannot be read.

    Raises:
        UsageError: A row is not a problem.
        SpeculativeError: The data set cannot be loaded.
    """
    source = f"data {data}" if data else task.dataset or task.name
    if data is None and task.dataset is None:
        return Loaded(source, bundled_problems(task), [])
    found: list[TaskProblem] = []
    unreadable: list[Unreadable] = []
    met: Counter[str] = Counter()
    for place, row in rows(task, data):
        try:
            problem = task.problem_of(row)
        except UsageError as error:
            raise UsageError(f"{place}: {error}") from None
        met[problem.id] += 1
        again = f"-{met[problem.id]}" if met[problem.id] > 1 else ""
        found.append(structs.replace(problem, id=problem.id + again))
        try:
            check_gold(problem.answer, task.kind)
        except UsageError as error:
            unreadable.append(Unreadable(place, found[-1], str(error)))
    if not found:
        raise UsageError(f"{data or task.dataset} must hold a problem; name another file with --data")
    return Loaded(source, found, unreadable)


def rows(task: Task, data: Path | None = None) -> Iterator[tuple[str, Row]]:
    """Yields the rows of a task's data, each with a description of its place."""
    if data is None:
        assert task.dataset, "the bundled problems have no rows"
        for number, row in enumerate(_dataset_rows(task.dataset, task.config, task.split), 1):
            yield f"{task.dataset}, row {number}", row
        return
    yield from read_rows(data)


def _dataset_rows(dataset: str, config: str | None, split: str) -> Iterator[Row]:
    """Yields the rows of a public data set, from the package `datasets`.

    Raises:
        UsageError: The package is missing.
        SpeculativeError: The data set cannot be loaded.
    """
    os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
    if unreachable():
        os.environ["HF_HUB_OFFLINE"] = "1"  # the package then uses its cache, without retries
    try:
        import datasets
    except ImportError:
        raise MissingExtraError(f"the data set {dataset}", "the package datasets", "eval", " (or give a file with --data)") from None
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it logs every retry
    try:
        found: Any = datasets.load_dataset(dataset, config, split=split, token=read_secret("HF_TOKEN"))  # pyright: ignore[reportUnknownMemberType]
    except Exception as error:  # noqa: BLE001  the package raises many kinds of errors
        cause = error.__cause__ or error  # a reader wraps it
        reason = " ".join(str(cause).split()) or type(cause).__name__
        gate = "; it is gated: accept its terms on the hub and set HF_TOKEN" if "gated" in reason.lower() else ""
        raise SpeculativeError(f"the data set {dataset} cannot be loaded: {reason[:300]}{gate}; {OFFLINE}") from None
    yield from found


def digest(text: str) -> str:
    """Returns a short hash of a text, apart from its spaces and line ends."""
    return blake2b(" ".join(text.split()).encode(errors="replace"), digest_size=5).hexdigest()


def data_hash(problems: Sequence[TaskProblem]) -> str:
    """Returns a hash of problems with their gold answers."""
    return digest("\n".join(f"{one.id} {one.answer}" for one in problems))


def describe_data(problems: Sequence[TaskProblem], data: Path | None = None, skipped: Sequence[Unreadable] = ()) -> dict[str, Any]:
    """Describes the problems of a run for its provenance."""
    task = TASKS[problems[0].task]
    hashes = {"data_hash": data_hash(problems), "prompt_hash": prompt_hash(task)}
    left_out = {"skipped_unreadable": {one.place: one.problem.answer for one in skipped}} if skipped else {}
    return {"dataset": f"file {data.name}" if data else task.dataset or "bundled", "problems": len(problems), **hashes, **left_out}


def prompt_hash(task: Task) -> str:
    """Returns a hash of a task's prompt."""
    return digest(f"{task.prompt} {task.instruction}")


def _option_columns(columns: Row) -> list[str]:
    """Returns the columns of the options, the right one first; empty without options."""
    if RIGHT not in columns:
        return []
    names = [WRONG.format(number) for number in range(1, len(LETTERS))]
    return [RIGHT, *(name for name in names if columns.get(name) is not None)]


def _check_unlike(options: Sequence[str]) -> None:
    """Raises `UsageError` for equal options, since no single letter would be right."""
    met: dict[str, int] = {}
    for place, option in enumerate(options):
        other = met.setdefault(" ".join(option.split()), place)
        if other != place:
            columns = [RIGHT if number == 0 else WRONG.format(number) for number in (other, place)]
            raise UsageError(f"the columns {columns[0]!r} and {columns[1]!r} are equal ({option[:60]!r}); options must differ")


def _text(columns: Row, names: Sequence[str]) -> str:
    value = next((columns[name] for name in names if columns.get(name) is not None), None)
    if empty := [name for name in names if value is None and name in columns]:
        raise UsageError(f"its column {empty[0]!r} cannot be empty; write a text or a number")
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    number = isinstance(value, int | float | Decimal) and not isinstance(value, bool) and math.isfinite(value)
    if not number and not (isinstance(value, str) and value.strip()):
        wanted = " or ".join(map(repr, names))
        there = "" if value is None else f" with a text or a number, got {value!r}"
        raise UsageError(f"it must have a column {wanted}{there} (its columns: {', '.join(columns) or 'none'})")
    return str(value).strip()


def _level(columns: Row) -> int | str:
    value = next((columns[name] for name in LEVEL if columns.get(name) is not None), "")
    return int(value) if re.fullmatch(r"[0-9]{1,3}", str(value)) else str(value)
