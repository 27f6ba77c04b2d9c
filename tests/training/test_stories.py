"""The stories behind the bundled problems: right, disjoint, and the same on every machine."""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from pathlib import Path

import pytest

from training import documents
from training.documents import BIG_DIET, SAMPLED, SMALL_DIET, Diet, Sampled, begin, check, drill, recall
from training.slips import slip
from training.stories import LARGEST, LEVELS, Split, Story, draw, held_out, records, split_of
from training.writer import CHECK, SCORE, DeadEndError, Writer

BUNDLED = Path(__file__).parents[2] / "src" / "speculative" / "bundled"
EQUATION = re.compile(r"(\d+)([-+*/])(\d+)=(\d+)")


def holds(left: str, sign: str, right: str, result: str) -> bool:
    a, b, c = int(left), int(right), int(result)
    return {"+": a + b == c, "-": a - b == c, "*": a * b == c, "/": b > 0 and a == b * c}[sign]


@pytest.mark.parametrize("level", LEVELS)
def test_a_solution_is_right_and_ends_on_the_answer(level: int) -> None:
    for seed in range(20):
        story = draw(random.Random(seed), level)
        steps = story.steps()
        assert len(steps) == level + 2
        assert all(step.endswith(".\n\n") and step.count("\n") == 2 for step in steps)
        assert all(holds(*equation) for step in steps for equation in EQUATION.findall(step))
        assert steps[-1] == f"So the answer is {story.answer}.\n\n"
        assert all(0 <= value <= LARGEST for value in story.values)


def test_every_number_of_the_solution_is_in_the_problem() -> None:
    for seed in range(50):
        story = draw(random.Random(seed), 10)
        told = Counter(re.findall(r"\d+", story.problem))
        for operation in story.operations:
            halved = operation.a == 2 and operation.kind in ("times", "share")
            assert halved or told[str(operation.a)]
            assert not operation.grouped or told[str(operation.b)]
        assert told[str(story.start)]


@pytest.mark.slow
def test_the_three_sets_share_no_structure() -> None:
    rng = random.Random(0)
    benchmark, tuning = ({s.structure for s in held_out(split)} for split in ("benchmark", "tuning"))
    training = {draw(rng, level).structure for level in LEVELS for _ in range(200)}
    assert len(benchmark) == len(tuning) == 500
    assert not benchmark & tuning
    assert not training & (benchmark | tuning)
    assert {split_of(s) for s in benchmark} == {"benchmark"}
    assert {split_of(s) for s in tuning} == {"tuning"}
    assert {split_of(s) for s in training} == {"training"}


@pytest.mark.parametrize(("name", "split"), [("problems", "benchmark"), ("tuning", "tuning")])
def test_the_shipped_files_are_what_the_generator_makes(name: str, split: str) -> None:
    rows = [json.loads(line) for line in (BUNDLED / f"{name}.jsonl").read_text().splitlines()]
    assert rows == records(split)  # type: ignore[arg-type]
    assert len({row["id"] for row in rows}) == len({row["problem"] for row in rows}) == 500
    assert Counter(row["level"] for row in rows) == dict.fromkeys(LEVELS, 50)
    assert all(row["answer"] == str(int(row["answer"])) for row in rows)


DIETS = pytest.mark.parametrize("diet", [SMALL_DIET, BIG_DIET], ids=["small", "big"])


@DIETS
def test_no_document_is_about_a_held_out_structure(diet: Diet, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Split] = []

    def noting(rng: random.Random, story: Story, watchful: bool) -> Writer:
        told.append(split_of(story.structure))
        return begin(rng, story, watchful)

    monkeypatch.setattr(documents, "begin", noting)
    rng = random.Random(3)
    for _ in range(500):
        diet.document(rng, 1.0)
    assert len(told) > 400
    assert set(told) == {"training"}


def test_a_slip_ends_on_a_wrong_value() -> None:
    rng = random.Random(1)
    for _ in range(500):
        story = draw(rng, rng.choice(LEVELS))
        index = rng.randrange(story.level)
        made = slip(rng, story, index, story.values[index])
        assert made.value != story.values[index + 1]
        assert made.equations.endswith(f"={made.value}")


@DIETS
@pytest.mark.parametrize("kind", list(BIG_DIET.mix), ids=lambda kind: kind.__name__)
def test_what_is_learnt_is_right_arithmetic_and_ends_its_turn(kind, diet: Diet) -> None:
    rng = random.Random(2)
    for _ in range(100):
        try:
            spans = kind(begin(rng, draw(rng, rng.choice(LEVELS)), diet.watchful))
        except DeadEndError:
            continue
        whole = "".join(text for text, _ in spans)
        assert whole.endswith((".\n\n",) if kind.__name__ == "judge" else ("<|im_end|>",))
        if kind.__name__ == "rewrite":
            continue  # a rewrite keeps the values of its source, right or wrong
        for text, learn in spans:
            assert not learn or all(holds(*equation) for equation in EQUATION.findall(text))


def test_drills_are_right() -> None:
    rng = random.Random(5)
    equations = EQUATION.findall("".join(text for _ in range(50) for text, _ in drill(rng)))
    assert len(equations) > 500
    assert all(holds(*equation) for equation in equations)


def real() -> Sampled:
    """A chain whose second operation somebody got wrong."""
    story = draw(random.Random(4), 3)
    steps = story.steps()
    wrong = steps[2].replace(f"={story.values[2]}.", f"={story.values[2] + 1}.")
    return Sampled(story, (*steps[:2], wrong), story.values[2] + 1)


def told(kind, watchful: bool = False) -> str:
    """The document that the whole real chain gives, what is learnt in guillemets."""
    found = real()
    writer = begin(random.Random(0), found.story, watchful)
    writer.read(found.steps, found.value)
    return "".join(f"\xab{piece}\xbb" if learn else piece for piece, learn in SAMPLED[kind](writer))


def test_a_check_recomputes_the_step_before_it() -> None:
    story, steps = real().story, real().story.steps()
    step = f"Check:\xab {story.operations[1].equations(story.values[1])}.\n\n\xbb"
    assert f"{real().steps[-1]}{step}\xab{steps[3]}\xbb\xab{steps[4]}\xbb\xab</think>" in told(check)


def test_a_watchful_writer_checks_a_wrong_step_uncued_and_another_goes_on_from_it() -> None:
    solve, *_ = BIG_DIET.mix
    assert f"{real().steps[-1]}\xabCheck:\xbb" in told(solve, watchful=True)
    assert CHECK not in told(solve)


def test_a_score_names_the_right_value_and_whether_the_step_has_it() -> None:
    judge = list(BIG_DIET.mix)[2]
    assert told(judge).endswith(f"{real().steps[-1]}{SCORE}\xab{real().story.values[2]}, 0.\n\n\xbb")


def test_a_real_chain_is_taken_over_whole_or_cut_before_its_error() -> None:
    found = real()
    for seed in range(30):
        writer = recall(begin(random.Random(seed), found.story, watchful=False), found)
        taken = tuple(text for text, _ in writer.spans[1:])
        assert taken == found.steps[: len(taken)]
        assert writer.slipped == (len(taken) == 3)
        assert writer.value == (found.value if writer.slipped else found.story.values[len(taken) - 1])


@DIETS
def test_documents_repeat_with_their_seed(diet: Diet) -> None:
    first, second = ([diet.document(random.Random(7), 0.5, [real()]) for _ in range(9)] for _ in range(2))
    assert first == second
