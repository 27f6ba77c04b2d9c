"""The picture of a comparison."""

from pathlib import Path

import pytest

from speculative.errors import UsageError
from speculative.report.frontier import draw, points

ROWS = [
    {
        "label": name,
        "method": name.split("(")[0],
        "share_kept": share,
        "accuracy": right,
        "interval": [right - 0.05, right + 0.05],
        "problems": 60,
    }
    for name, share, right in [
        ("small_only", 0.0, 0.5),
        ("big_only", 1.0, 0.95),
        ("random_switch(big_share=0.2)", 0.2, 0.55),
        ("random_switch(big_share=0.7)", 0.7, 0.8),
    ]
]


def test_every_method_of_the_comparison_is_a_point() -> None:
    assert [(point.method, point.share, point.low) for point in points(ROWS)] == [
        (row["method"], row["share_kept"], row["interval"][0]) for row in ROWS
    ]


@pytest.mark.parametrize("rows", [[{}], [{"method": "big_only"}], ["text"]])
def test_anything_else_is_an_error_that_says_so(rows: list) -> None:
    with pytest.raises(UsageError, match="compare --json"):
        points(rows)


def test_the_picture_names_the_methods_and_is_the_same_each_time(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="needs the extra plots")
    pictures = [tmp_path / "a.svg", tmp_path / "b.svg"]
    for picture in pictures:
        draw(ROWS, picture)
    assert pictures[0].read_bytes() == pictures[1].read_bytes()
    drawn = pictures[0].read_text()
    assert "small_only" in drawn
    assert "the line to beat" in drawn
