"""A method looks the same in every picture, and coinciding points are visible."""

from itertools import combinations, permutations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from made import sample
from msgspec import structs
from test_frontier import rows

from speculative.methods.registry import names
from speculative.report.chart import draw
from speculative.report.frontier import frontier, usual_axis
from speculative.stats.summary import summarize
from speculative.viewer.marks import OWN, mark_of, marks_of, spread


def test_a_mark_depends_on_the_method_alone():
    made = rows()
    for chosen in permutations(made, 3):
        assert all(marks_of(chosen)[row.label] == marks_of(made)[row.label] for row in chosen)


def test_methods_that_ship_have_marks_of_their_own():
    shipped = [*names(), *names(wrappers=True)]
    assert set(shipped) == {*OWN, "random_switch"}
    marks = [mark_of(name, name) for name in shipped]
    for one, other in combinations(marks, 2):
        assert one.hollow or other.hollow or (one.colour, one.symbol) != (other.colour, other.symbol)


def test_variants_of_a_method_share_its_colour_and_controls_are_hollow():
    assert mark_of("vote(ballots=5)*small_only", "vote(small_only)").colour == mark_of("vote", "vote").colour
    samples = [sample("spec_rewrite"), sample("random_switch(0.4) like spec_rewrite", method="random_switch", control_of="spec_rewrite")]
    own, control = marks_of(summarize(samples)).values()
    assert (control.hollow, own.hollow) == (True, False)
    assert control.colour == own.colour


@given(st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300)), max_size=9, unique=False))
def test_points_that_coincide_are_drawn_apart_and_near(places):
    moved = spread(places, near=9, radius=9)
    for (x, y), (at, up) in zip(places, moved, strict=True):
        assert abs(x - at) + abs(y - up) < 60
    for one, other in combinations(range(len(places)), 2):
        if places[one] == places[other]:
            assert moved[one] != moved[other]
    alone = [place for place in places if all(abs(place[0] - x) + abs(place[1] - y) > 20 for x, y in places if (x, y) != place)]
    assert all(place in moved for place in alone if places.count(place) == 1)


def test_a_figure_names_every_method_at_its_point_and_both_axes_begin_at_zero(tmp_path: Path):
    pytest.importorskip("matplotlib", reason="needs the extra plots")
    big = rows()[1]
    made = [*rows(), *(structs.replace(big, label=name, method=name) for name in ("placeholder", "early_exit"))]
    draw(frontier(made, "big_tokens"), tmp_path / "a.svg")
    drawn = (tmp_path / "a.svg").read_text()
    for label in ("small_only", "big_only", "placeholder", "early_exit", "worse", "the line to beat"):
        assert f"<!-- {label}" in drawn or label in drawn
    assert drawn.count("<!-- 0 -->") == 2
    assert "legend" not in drawn


def test_a_picture_of_its_own_shows_what_is_spent():
    assert usual_axis(rows()) == "big_tokens"
    priced = summarize([sample(settings={"big": "bundled:big", "small": "bundled:small"})])
    assert usual_axis(priced) == "flops"
