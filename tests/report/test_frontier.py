"""Accuracy against cost: the points, the Pareto front and the line to beat."""

from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made import sample
from msgspec import structs

from speculative.report.chart import draw
from speculative.report.frontier import AXES, frontier
from speculative.stats.cost import Cost
from speculative.stats.summary import summarize
from speculative.trace.usage import Usage


def rows():
    """Methods with the big model's tokens out of ten, and how many of ten problems they solve."""
    samples = []
    for label, big, right in [
        ("small_only", 0, 5),
        ("big_only", 10, 9),
        ("random_switch(0.7)", 7, 8),
        ("random_switch(0.2)", 2, 4),
        ("worse", 8, 7),
    ]:
        usage = {"big": Usage(produced_tokens=big, kept_tokens=big), "small": Usage(produced_tokens=10 - big, kept_tokens=10 - big)}
        params = {"big_share": big / 10, "unit": "step"}
        samples += [sample(label, f"p{number}", params=params, usage=usage, correct=number < right) for number in range(10)]
    return summarize(samples)


def test_the_best_are_those_that_none_beats_in_both():
    found = frontier(rows(), "big_tokens")
    assert [point.label for point in found.points if point.best] == ["small_only", "big_only", "random_switch(0.7)"]
    assert {point.label: point.x for point in found.points}["random_switch(0.7)"] == 7


def test_random_switch_at_several_shares_is_a_line_from_cheap_to_dear():
    found = frontier(rows(), "share_kept")
    assert [[found.points[place].label for place in line] for line in found.lines] == [["random_switch(0.2)", "random_switch(0.7)"]]


def test_units_of_random_switch_are_lines_of_their_own():
    made = [structs.replace(row, params={**row.params, "unit": "chunk"}) if "0.2" in row.label else row for row in rows()]
    assert frontier(made, "share_kept").lines == []


@pytest.mark.parametrize(
    "other",
    [
        {"settings": {"max_tokens": 200}},
        {"folder": "b"},
        {"problem_set": "other"},
        {"params": {"big_share": 0.2, "unit": "step", "answer_by": "small"}},
    ],
    ids=lambda other: next(iter(other)),
)
def test_points_that_differ_in_more_than_the_share_are_not_joined(other):
    made = [structs.replace(row, **other) if "0.2" in row.label else row for row in rows()]
    assert frontier(made, "share_kept").lines == []


def test_a_share_in_either_spelling_is_of_the_line():
    ratio = {"switch_ratio": 4, "big_share": None, "unit": "step"}
    made = [structs.replace(row, params=ratio) if "0.2" in row.label else row for row in rows()]
    assert [len(line) for line in frontier(made, "share_kept").lines] == [2]


def test_only_points_of_the_same_problems_make_the_front():
    one = structs.replace(rows()[0], label="lucky", accuracy=1.0, problems=1, problem_set="one")
    best = [point.label for point in frontier([one, *rows()], "big_tokens").points if point.best]
    assert best == ["small_only", "big_only", "random_switch(0.7)"]
    more = structs.replace(rows()[0], label="more", problems=11, problem_set="more")
    assert [point.label for point in frontier([more, rows()[0]], "big_tokens").points if point.best] == ["more"]


@pytest.mark.parametrize("key", ["seconds", "gpu"])
def test_an_axis_of_time_has_only_methods_of_similar_concurrency(key):
    device = {"gpu": Cost("USD", 1.0, None, {}, {})}
    made = [structs.replace(row, mean_concurrency=64.0 if row.label == "worse" else 4.0, costs=device) for row in rows()]
    assert {row.label for row in made} - {point.label for point in frontier(made, key).points} == {"worse"}
    assert len(frontier(made, "big_tokens").points) == 5


def test_methods_without_a_point_are_named():
    made = [structs.replace(row, mean_concurrency=64.0 if row.label == "worse" else 4.0) for row in rows()]
    assert frontier(made, "seconds").left_out == "Left out: worse (many more or fewer chains shared the engines)."
    bare = [structs.replace(row, share_kept=None) if row.label == "worse" else row for row in made]
    assert frontier(bare, "share_kept").left_out == "Left out: worse (no value on this axis)."
    assert not frontier(made, "big_tokens").left_out


@pytest.mark.parametrize("key", AXES)
def test_a_method_without_a_value_has_no_point(key):
    bare = [structs.replace(row, costs={}, share_kept=None, share_spent=None) for row in rows()]
    found = frontier(bare, key)
    assert len(found.points) == (5 if key in ("big_tokens", "seconds") else 0)


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=9))
def test_no_point_is_beaten_by_another_exactly_if_it_is_best(values):
    row = rows()[0]
    made = [structs.replace(row, label=str(place), seconds=float(x), accuracy=y / 9) for place, (x, y) in enumerate(values)]
    points = frontier(made, "seconds").points
    assert any(point.best for point in points)
    for one, other in product(points, points):
        assert not (other.best and one.x < other.x and one.accuracy >= other.accuracy)
    for point in points:
        rivals = [other for other in points if (other.x, other.accuracy) != (point.x, point.accuracy)]
        assert point.best == (not any(other.x <= point.x and other.accuracy >= point.accuracy for other in rivals))


@pytest.mark.slow
def test_the_figure_names_the_methods_and_is_the_same_each_time(tmp_path: Path):
    pytest.importorskip("matplotlib", reason="needs the extra plots")
    pictures = [tmp_path / "a.svg", tmp_path / "b.svg"]
    for picture in pictures:
        draw(frontier(rows(), "share_kept"), picture)
    assert pictures[0].read_bytes() == pictures[1].read_bytes()
    drawn = pictures[0].read_text()
    assert "small_only" in drawn
    assert "the line to beat" in drawn
    draw(frontier(rows(), "seconds"), tmp_path / "c.png")
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")
