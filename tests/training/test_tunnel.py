"""The second pair's problems and documents: what is right is right, what is learnt is right, and no set shares a structure."""

from __future__ import annotations

import json
import random
import re
from collections import Counter, deque
from importlib.resources import files
from itertools import accumulate
from statistics import median

import pytest

from training import stories
from training.tunnel.dialect import ADVICE, CALL, CHECK, HANDOFF, INSTRUCTIONS, MARK, SCORE, TAGS, UNMARK, WAIT, prompt
from training.tunnel.documents import (
    BIG_DIET,
    SMALL_DIET,
    Sampled,
    asking,
    check,
    drill,
    end,
    hint,
    hinted,
    judge,
    recall,
    rewrite,
    sampled_problem,
    solve,
)  # fmt: skip
from training.tunnel.moves import LARGEST, DeadEndError, reckon
from training.tunnel.problems import DRAWN, FAMILIES, LEVELS, SECOND, THIRD, Split, draw, held_out, records, split_of
from training.tunnel.reading import read
from training.tunnel.slips import slip
from training.tunnel.writer import Span, Spans, Writer

# not the tail of a longer sum, such as 2+7+9=18
EQUATION = re.compile(r"(?<![\w)+])(\d+)([-+*/])(\d+)=(\d+)")
EACH = [(family, level) for family in DRAWN for level in (1, 5, SECOND.hardest, THIRD.hardest)]


def problem(seed: int = 0, family: str = "", level: int = 4):
    return draw(random.Random(seed), level, family=family)


def begun(seed: int = 0, family: str = "stories", level: int = 4, watchful: bool = True) -> Writer:
    drawn = problem(seed, family, level)
    return Writer(random.Random(seed), drawn, watchful, [Span(prompt(drawn.text))])


def text_of(spans: Spans) -> str:
    """The document, what is learnt in «»."""
    return "".join(f"«{span.text}»" if span.weight else span.text for span in spans)


@pytest.mark.parametrize(("family", "level"), EACH)
def test_every_equation_of_a_solution_holds_and_its_steps_are_read_as_right(family: str, level: int) -> None:
    for seed in range(20):
        drawn = problem(seed, family, level)
        steps = [step for _, step in drawn.walk()]
        assert all(step.text.endswith(".\n\n") and step.text.count("\n") == 2 for step in steps)
        for left, sign, right, result in (found for step in steps for found in EQUATION.findall(step.text)):
            assert reckon(int(left), sign, int(right)) == int(result) <= LARGEST
        whole = "".join(step.text for step in steps) + f"So the answer is {drawn.answer}.\n\n</think>"
        found = read(drawn, whole)
        assert all(step.right for step in found)
        assert len(found) == len(steps) + 1


@pytest.mark.parametrize("family", FAMILIES)
def test_a_slip_is_read_as_the_first_wrong_step_with_the_right_one_beside_it(family: str) -> None:
    made = 0
    for seed in range(30):
        drawn, rng = problem(seed, family), random.Random(seed)
        walked = list(drawn.walk())
        place = rng.randrange(len(walked))
        state, right = walked[place]
        move = drawn.move(state)
        assert move is not None
        wrong = slip(rng, drawn, state, move)
        if wrong is None:
            continue
        made += 1
        chain = [step.text for _, step in walked[:place]] + [wrong.text] + [step.text for _, step in walked[place + 1 :]]
        found = read(drawn, "".join(chain) + "</think>")
        assert [step.right for step in found] == [True] * place + [False]
        assert found[-1].truth == right.text
    assert made > 15


def test_conditions_are_checked_in_the_order_in_which_the_text_names_them() -> None:
    moved = 0
    for seed in range(60):
        drawn = problem(seed, "counting", 9)
        places = [drawn.text.index(condition.text) for condition in drawn.told]
        assert places == sorted(places)
        moved += drawn.told != list(drawn.conditions)
        for (_, step), n in zip(drawn.walk(), drawn.values, strict=True):
            failing = next((place for place, condition in enumerate(drawn.told) if not condition.holds(n)), len(drawn.told) - 1)
            said = [condition.said(n, condition.holds(n)) for condition in drawn.told[: failing + 1]]
            assert f" is {', '.join(said)}" in step.text
    assert moved > 5


@pytest.mark.slow
@pytest.mark.parametrize(("name", "split"), [("problems", "benchmark"), ("tuning", "tuning")])
def test_the_shipped_problems_of_counting_still_have_their_texts_and_answers(name: str, split: Split) -> None:
    path = files("speculative").joinpath("bundled", f"{name}.jsonl")
    shipped = [row for row in map(json.loads, path.read_text().splitlines()) if row["family"] == "counting"]
    drawn = [drawn for drawn in held_out(split) if drawn.family == "counting"]
    assert [(row["problem"], row["answer"]) for row in shipped] == [(one.text, str(one.answer)) for one in drawn]


def test_an_answer_does_not_hang_on_the_state_that_a_chain_is_in() -> None:
    for seed in range(60):
        drawn = problem(seed, level=seed % 10 + 1)
        last = drawn.start()
        for state, step in drawn.walk():
            last = {**state, **step.update}
        assert drawn.result(last) == drawn.guess(last) == drawn.answer


@pytest.mark.slow
def test_the_three_sets_share_no_structure_and_mix_all_families_at_all_levels() -> None:
    benchmark, tuning = (held_out(split) for split in ("benchmark", "tuning"))
    sets = [{drawn.structure for drawn in each} for each in (benchmark, tuning)]
    training = {draw(random.Random(seed), seed % THIRD.hardest + 1, family=THIRD.families[seed % 7]).structure for seed in range(2000)}
    assert len(sets[0]) == len(sets[1]) == 500
    assert not sets[0] & sets[1]
    assert not training & (sets[0] | sets[1])
    assert {split_of(structure) for structure in sets[0]} == {"benchmark"}
    assert {split_of(structure) for structure in sets[1]} == {"tuning"}
    assert Counter(drawn.level for drawn in benchmark) == dict.fromkeys(LEVELS, 50)
    for level in LEVELS:
        assert {drawn.family for drawn in benchmark if drawn.level == level} == set(FAMILIES)


def test_a_structure_does_not_hang_on_names_or_order() -> None:
    drawn = problem(3, "graphs")
    renamed = {box.name: f"{box.name}er" for box in drawn.boxes}
    boxes = [type(box)(renamed[box.name], box.kind, tuple(renamed[name] for name in box.of), box.a, box.b) for box in drawn.boxes]
    other = type(drawn)("", drawn.level, tuple(reversed(boxes)), renamed[drawn.asked])
    assert other.structure == drawn.structure


def test_tales_are_the_stories_of_the_first_pair_word_for_word_and_in_their_sets() -> None:
    for seed in range(30):
        drawn = problem(seed, "tales", seed % 10 + 1)
        story = drawn.story  # type: ignore[attr-defined]
        assert drawn.text == story.problem
        assert drawn.answer == story.answer
        assert [step.text for _, step in drawn.walk()] == story.steps()[:-1]
        assert stories.split_of(story.structure) == "training"


def test_a_harder_ladder_has_harder_problems_of_the_same_length() -> None:
    for family in FAMILIES:
        easy, hard = ([problem(seed, family, ladder.rungs[-1]) for seed in range(12)] for ladder in (SECOND, THIRD))
        longest = [median(max(map(int, re.findall(r"\d+", one.text))) for one in some) for some in (easy, hard)]
        steps = [median(sum(1 for _ in one.walk()) for one in some) for some in (easy, hard)]
        assert longest[0] < longest[1] or steps[0] < steps[1]
        assert steps[1] < 1.7 * steps[0]


@pytest.mark.slow
def test_the_files_of_the_harder_ladder_share_no_structure_with_any_other() -> None:
    sets = [{drawn.structure for drawn in held_out(split, THIRD)} for split in ("benchmark", "tuning")]
    assert [len(each) for each in sets] == [500, 500]
    assert not sets[0] & sets[1]
    rows = records("benchmark", THIRD)
    assert Counter(row["level"] for row in rows) == dict.fromkeys(LEVELS, 50)
    assert len({row["problem"] for row in rows}) == 500


@pytest.mark.slow
def test_rows_of_a_problem_file_have_ids_of_their_own_and_whole_answers() -> None:
    rows = records("benchmark")
    assert rows == records("benchmark")
    assert len({row["id"] for row in rows}) == len({row["problem"] for row in rows}) == 500
    assert all(row["answer"] == str(int(row["answer"])) for row in rows)


@pytest.mark.parametrize("diet", [SMALL_DIET, BIG_DIET], ids=["small", "big"])
def test_what_is_learnt_in_a_chain_is_right_arithmetic(diet) -> None:
    rng, seen = random.Random(0), 0
    for kind in (solve, check, judge, hint, hinted):
        for seed in range(25):
            try:
                spans = kind(begun(seed, rng.choice(list(FAMILIES)), seed % THIRD.hardest + 1))
            except DeadEndError:
                continue
            for span in spans:
                assert not (span.weight and span.verdict == 0)
                for left, sign, right, result in EQUATION.findall(span.text) if span.weight else ():
                    assert reckon(int(left), sign, int(right)) == int(result)
                    seen += 1
    assert seen > 500
    assert all(diet.document(rng, progress, ladder) for progress in (0.0, 0.5, 1.0) for ladder in (SECOND, THIRD))


def test_a_watchful_writer_corrects_a_wrong_step_before_it_goes_on() -> None:
    writer = begun()
    writer.step()
    while not writer.slipped:
        writer.step(learn=False, wrong=True, detours=False)
    right = writer.right
    assert right is not None
    writer.step(detours=False)
    wrong, fixed, following = writer.spans[-3:]
    assert (wrong.weight, wrong.verdict) == (0, 0)
    assert fixed.text == f"{WAIT}, {right.short or right.text}"
    assert fixed.weight == following.weight == 1
    assert end(writer)[-1].text.endswith(f"\\boxed{{{writer.problem.answer}}}.<|im_end|>")


def test_a_verdict_is_one_token_behind_its_cue_and_says_whether_the_step_was_right() -> None:
    verdicts: Counter[tuple[int, str]] = Counter()
    for seed in range(40):
        spans = judge(begun(seed, "counting"))
        for before, cue, verdict in zip(spans, spans[1:], spans[2:], strict=False):
            if cue.text == SCORE:
                verdicts[before.verdict, verdict.text] += 1
    assert set(verdicts) == {(0, "0"), (1, "9")}
    assert min(verdicts.values()) > 20


def test_a_check_is_the_step_before_it_in_short() -> None:
    spans = check(begun(5, "equations"))
    cues = [place for place, span in enumerate(spans) if span.text == CHECK]
    assert cues
    assert all(spans[place + 1].weight for place in cues)
    assert any(spans[place - 1].verdict == 0 for place in cues)


def test_hints_grow_with_their_length_and_name_the_next_step() -> None:
    writer = begun(2, "graphs")
    for length in range(3):
        writer.hint(length)
    cues, said = writer.spans[1::2], [span.text for span in writer.spans[2::2]]
    assert [cue.text for cue in cues] == ["Hint 1:", "Hint 2:", "Hint 3:"]
    assert len(said[0]) < len(said[1]) < len(said[2])
    move = writer.move
    assert move is not None
    plan = re.search(r"plan ([^;.]+)", said[1])
    assert plan is not None
    assert set(plan[1].split(", ")) <= {box.name for box in writer.problem.boxes}  # type: ignore[attr-defined]
    assert all(f"next {move.words}" in text and f"goal {writer.problem.goal}" in text for text in said)


@pytest.mark.parametrize(("method", "tag"), [("offload", MARK), ("relay", CALL), ("handoff", HANDOFF), ("advisor", ADVICE)])
def test_an_asking_model_learns_its_tag_before_the_hard_step_only(method: str, tag: str) -> None:
    steps = sum(1 for _ in problem(1, "stories").walk())
    hard = [place == 2 for place in range(steps)]
    spans = asking(begun(1, "stories"), method, hard)
    assert INSTRUCTIONS[method] in spans[0].text
    learnt = [place for place, span in enumerate(spans) if span.text == tag]
    assert len(learnt) == 1
    assert spans[learnt[0]].weight > 0
    assert [span.verdict for span in spans[1 : learnt[0]]] == [1, 1]
    others = {other for other in TAGS if not other.startswith("</")} - {tag}
    assert not any(other in span.text for span in spans for other in others)
    if method == "handoff":
        assert spans[-1].text == HANDOFF
    if method == "offload":
        assert spans[learnt[0] + 2].text == UNMARK


def test_a_rewrite_keeps_every_value_and_leaves_out_plans() -> None:
    drawn = problem(4, "graphs")
    spans = rewrite(Writer(random.Random(4), drawn))
    shown, reply = spans[0].text, spans[-2].text
    assert "Rewrite the reasoning, shorter." in shown
    chain = shown.partition("Reasoning so far:")[2].partition("Rewrite")[0]
    value = re.compile(r"so (\w+ is \d+)|^Box (\w+ is \d+)", re.MULTILINE)
    assert [a or b for a, b in value.findall(chain)] == [a or b for a, b in value.findall(reply)]
    assert str(drawn.answer) in reply
    assert "We want" in chain
    assert "We want" not in reply


def test_a_real_wrong_step_is_recalled_with_its_verdict_and_corrected() -> None:
    number = 17
    drawn = sampled_problem(number, SECOND)
    walked = list(drawn.walk())
    state, right = walked[1]
    move = drawn.move(state)
    assert move is not None
    wrong = slip(random.Random(0), drawn, state, move)
    assert wrong is not None
    found = Sampled(number, (walked[0][1].text, wrong.text))
    texts = {text_of(recall(Writer(random.Random(seed), drawn, True, []), found, check)) for seed in range(20)}
    said = right.short or right.text
    assert any(f"{wrong.text}{CHECK}« {said}»" in text for text in texts)
    assert any(f"{right.text}{CHECK}« {said}»" in text for text in texts)


def test_drills_are_right() -> None:
    equations = [found for seed in range(60) for found in EQUATION.findall("".join(span.text for span in drill(random.Random(seed))))]
    assert len(equations) > 500
    assert all(reckon(int(left), sign, int(right)) == int(result) for left, sign, right, result in equations)


@pytest.mark.slow
def test_chains_have_hundreds_of_tokens_and_a_step_ends_in_one() -> None:
    pytest.importorskip("tokenizers")
    from training.tunnel import tokenizer

    trained = tokenizer.train(0, 300)
    assert trained.encode("1234").tokens == list("1234")
    assert trained.encode("7.\n\nNow").tokens[1] == ".ĊĊ"
    lengths = [len(trained.encode("".join(step.text for _, step in drawn.walk())).ids) for drawn in held_out("tuning")[::7]]
    assert median(lengths) >= 300
    assert 1000 < max(lengths) < 2600


def test_a_batch_predicts_the_next_token_where_it_weighs_and_keeps_verdicts_at_the_ends_of_steps() -> None:
    pytest.importorskip("tokenizers")
    from training.tunnel import tokenizer
    from training.tunnel.batches import IGNORE, NO_VERDICT, encode, lay_out

    trained = tokenizer.train(0, 100)
    documents = encode(trained, [judge(begun(seed, "programs", 2)) for seed in range(12)])
    tokens = sum(len(document.ids) for document in documents[:6])
    marks = (trained.token_to_id("0"), trained.token_to_id("9"))
    waiting = deque(documents)
    plain = lay_out(waiting, tokens, None)
    assert len(waiting) == 6
    assert plain.real == tokens
    starts = [0, *accumulate(len(document.ids) for document in documents[:6])]
    assert plain.bounds[:7].tolist() == starts
    assert set(plain.bounds[6:].tolist()) == {tokens}
    assert (plain.targets[[end - 1 for end in starts[1:]]] == IGNORE).all()  # no document foretells the next one
    learnt = plain.weights > 0
    assert (plain.targets[~learnt] == IGNORE).all()
    assert (plain.targets[:-1][learnt[:-1]] == plain.ids[1:][learnt[:-1]]).all()
    ends = plain.verdicts != NO_VERDICT
    assert {trained.id_to_token(int(token)) for token in plain.ids[ends]} == {".ĊĊ"}
    reward = lay_out(deque(documents), tokens, marks)
    assert (reward.targets[ends] == [marks[verdict] for verdict in plain.verdicts[ends]]).all()


def test_what_does_not_fit_waits_and_padding_is_no_document_longer_than_any() -> None:
    pytest.importorskip("tokenizers")
    from training.tunnel import tokenizer
    from training.tunnel.batches import LONGEST, encode, lay_out

    trained = tokenizer.train(0, 100)
    documents = encode(trained, [judge(begun(seed, "programs", 2)) for seed in range(3)])
    waiting = deque(documents)
    first = len(documents[0].ids)
    step = lay_out(waiting, first + 300, None)
    assert step.real in (first, first + len(documents[1].ids), first + len(documents[2].ids))
    assert len(waiting) in (1, 2)
    alone = lay_out(deque(documents[:1]), first + 3 * LONGEST, None)
    ends = alone.bounds.tolist()
    assert ends[:5] == [0, first, first + LONGEST, first + 2 * LONGEST, first + 3 * LONGEST]
    assert len(ends) == len(lay_out(deque(documents), first + 3 * LONGEST, None).bounds)
