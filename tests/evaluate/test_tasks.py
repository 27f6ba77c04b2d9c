"""Tasks: rows become problems with permanent ids and readable gold answers."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speculative import Problem, UsageError
from speculative.errors import UnknownNameError
from speculative.evaluate.grading.grade import grade
from speculative.evaluate.problems import problems
from speculative.evaluate.tasks import TASKS, data_hash, describe_data, load, load_all, prompt_hash, task

SHARED = Path(__file__).parents[3] / "shared" / "data"

GPQA = {
    "Question": "Which of them is a noble gas?\n",
    "Correct Answer": "Neon\n",
    "Incorrect Answer 1": "Iron",
    "Incorrect Answer 2": "Zinc",
    "Incorrect Answer 3": "Lead",
    "High-level domain": "Chemistry",
}


def file_of(folder, *rows):
    path = folder / "rows.jsonl"
    path.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return path


@pytest.mark.parametrize(
    ("name", "row", "problem", "answer", "level"),
    [
        ("aime24", {"ID": "2024-I-1", "Problem": "Find n.", "Solution": "So 204.", "Answer": 204}, "Find n.", "204", ""),
        ("aime24", {"id": "aime24-60", "problem": "Find n.", "answer": "033", "level": "", "subject": ""}, "Find n.", "033", ""),
        ("aime25", {"problem": " Find n. ", "answer": "70.0", "id": "0"}, "Find n.", "70.0", ""),
        ("aime25_nofigures", {"question": "Find n.", "answer": 70.0}, "Find n.", "70", ""),
        ("math500", {"problem": "$x$?", "answer": "\\frac{1}{2}", "subject": "Algebra", "level": 4}, "$x$?", "\\frac{1}{2}", 4),
        ("openai_math", {"problem": "{x} %s?", "answer": "\\text{Evelyn}", "level": "3"}, "{x} %s?", "\\text{Evelyn}", 3),
        ("gsm8k", {"question": "How many?", "answer": "9 and 9 <<9+9=18>>\n#### 1,018"}, "How many?", "1,018", ""),
        ("gsm8k", {"problem": "How many?", "solution": "… #### 18", "answer": "18"}, "How many?", "18", ""),
        ("gpqa_diamond", {"problem": "Which? (A) x (B) y", "answer": "B"}, "Which? (A) x (B) y", "B", ""),
    ],
)
def test_a_row_becomes_a_problem(name, row, problem, answer, level):
    stated = task(name).problem_of(row)
    assert (stated.problem, stated.answer, stated.level, stated.task, stated.kind) == (problem, answer, level, name, TASKS[name].kind)


def test_options_are_shuffled_by_the_question_alone(tmp_path):
    stated = task("gpqa_diamond").problem_of(GPQA)
    assert f"({stated.answer}) Neon" in stated.problem
    assert stated.problem.startswith("Which of them is a noble gas?\n\n(A) ")
    assert task("gpqa_diamond").problem_of({**GPQA, "Incorrect Answer 1": "Lead", "Incorrect Answer 3": "Iron"}) == stated
    found = load(task("gpqa_diamond"), file_of(tmp_path, *({**GPQA, "Question": f"Is it {number}?"} for number in range(80))))
    assert {one.answer for one in found} == set("ABCD")
    assert max(sum(one.answer == letter for one in found) for letter in "ABCD") < 40


@given(st.text(min_size=1), st.integers(0, 999))
def test_ids_are_a_hash_of_the_problem(text, gold):
    if not text.strip() or "\x00" in text:
        return
    one, other = (task("aime24").problem_of({"problem": text, "answer": answer}) for answer in (gold, 7))
    assert one.id == other.id
    assert one.id == task("aime24").problem_of({"Problem": f"  {text}\n", "Answer": gold}).id
    assert one.id != task("aime24").problem_of({"problem": f"{text}x", "answer": gold}).id


def test_a_problem_that_comes_twice_has_two_ids(tmp_path):
    found = load(task("aime24"), file_of(tmp_path, *[{"problem": "Find n.", "answer": 1}] * 3))
    assert len({one.id for one in found}) == 3


def test_a_file_may_have_a_mark_in_front_and_other_line_ends_within(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes('\ufeff{"problem": "Find\u2028n.", "answer": 1}\r\n{"problem": "n\x85?", "answer": 2}\r\n'.encode())
    assert [(one.problem, one.answer) for one in load(task("aime24"), path)] == [("Find\u2028n.", "1"), ("n\x85?", "2")]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("[" * 100_000, "line 2 must be JSON"),
        ("not json", "line 2 must be JSON: Expecting value at column 1;"),
        ("[1]", "line 2 must be an object, got '[1]'"),
        ('{"answer": 1}', "line 2: it must have a column 'problem' or 'question' (its columns: answer)"),
        ('{"problem": "Find n."}', "line 2: it must have a column 'answer' (its columns: problem)"),
        ('{"problem": "", "answer": 1}', "it must have a column 'problem' or 'question' with a text or a number, got ''"),
        ('{"problem": "n?", "answer": true}', "with a text or a number, got True"),
        ('{"problem": "n?", "answer": NaN}', "with a text or a number, got nan"),
        ('{"problem": "n?", "answer": "x^2"}', "line 2: the gold answer 'x^2' cannot be read as integer"),
        ('{"problem": "n?", "answer": 1, "Correct Answer": 3, "Incorrect Answer 1": {}}', "must have a column 'incorrect answer 1'"),
    ],
)
def test_a_bad_row_is_named_before_anything_runs(tmp_path, line, told):
    path = tmp_path / "rows.jsonl"
    path.write_text(f'{{"problem": "Find n.", "answer": 1}}\n{line}\n')
    with pytest.raises(UsageError) as raised:
        load(task("aime24"), path)
    assert told in str(raised.value)
    assert str(path) in str(raised.value)


@pytest.mark.parametrize("content", [b"", b"\n \n", b"\xff\xfe"])
def test_a_file_without_problems_is_an_error(tmp_path, content):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=r"rows\.jsonl"):
        load(task("aime24"), path)
    with pytest.raises(UsageError, match="No such file"):
        load(task("aime24"), tmp_path / "none.jsonl")


def test_bundled_tasks_are_those_that_ship():
    assert load(task("tunnel")) == list(problems())
    assert load(task("stories")) == list(problems(task="stories"))
    assert len({prompt_hash(one) for one in TASKS.values()}) == 2
    assert data_hash(problems()) != data_hash(problems()[1:]) != data_hash(problems("tuning")[1:])


def test_a_task_has_its_own_instruction_unless_one_is_given():
    assert task("aime24").with_instruction(Problem.of("x")).answer_instruction is None
    assert "letter" in task("gpqa_diamond").with_instruction(Problem.of("x")).answer_instruction
    assert task("gpqa_diamond").with_instruction(Problem.of("x", answer_instruction="")).answer_instruction == ""


def test_an_unknown_task_gets_the_closest_name():
    with pytest.raises(UnknownNameError, match="did you mean 'aime24_figures'"):
        task("aime24figures")
    assert task("gpqa-diamond") is TASKS["gpqa_diamond"]


@pytest.mark.skipif(not SHARED.is_dir(), reason="the public problems are not beside the checkout")
@pytest.mark.parametrize(("name", "number"), [("aime24", 30), ("math500", 500), ("gsm8k", 1319)])
def test_real_problems_are_loaded(name, number):
    found = load(task(name), SHARED / f"{name}.jsonl")
    assert len({one.id for one in found}) == len({one.problem for one in found}) == number
    assert grade(f"\\boxed{{{found[0].answer}}}", found[0].answer, found[0].kind).correct


def test_all_golds_that_cannot_be_read_are_named_at_once_or_left_out(tmp_path):
    golds = ["1", "x^2", "3", "y", "5", "6"]
    path = file_of(tmp_path, *({"problem": f"Find {place}.", "answer": gold} for place, gold in enumerate(golds)))
    loaded = load_all(task("aime24"), path)
    with pytest.raises(UsageError) as raised:
        loaded.check(3)
    told = str(raised.value)
    assert "2 of 6 gold answers cannot be read, 1 of them are among the 3 chosen problems" in told
    assert "--skip-unreadable" in told
    assert [note.partition("jsonl, ")[2] for note in raised.value.__notes__] == [
        "line 2: the gold answer 'x^2' cannot be read as integer",
        "line 4: the gold answer 'y' cannot be read as integer",
    ]
    loaded.check(1)
    readable = loaded.readable()
    assert [one.answer for one in readable] == ["1", "3", "5", "6"]
    described = describe_data(readable, path, loaded.unreadable)
    assert described["problems"] == 4
    assert list(described["skipped_unreadable"].values()) == ["x^2", "y"]
