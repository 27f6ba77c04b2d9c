"""`speculative methods --for`, the measured table behind it, and the picture of the families."""

import json
import re
from xml.etree import ElementTree

import pytest

from speculative.cli._advice import MEANING, advised
from speculative.cli.docs import families_page
from speculative.methods.registry import names, registered
from speculative.stats.measured import EQUAL, MeasuredMethod, measure_table, measured_table
from speculative.stats.summary import MethodSummary

KINDS = list(registered().values())


def test_the_measured_table_is_of_known_methods_beside_big():
    table = measured_table()
    assert table.methods[0].method == "big_only"
    assert table.methods[0].speed == table.methods[0].flops == 1.0
    assert {one.method for one in table.methods} <= set(names())
    assert len({one.method for one in table.methods}) == len(table.methods)
    assert table.command.startswith("python scripts/measured.py ")
    assert all(-1 <= one.interval[0] <= one.difference <= one.interval[1] <= 1 for one in table.methods)
    assert all(one.flops > 0 for one in table.methods)


VALUES = {"few big tokens": "big_tokens", "low latency": "speed", "many users at once": "flops"}


@pytest.mark.parametrize("need", VALUES)
def test_measured_needs_list_methods_that_beat_big_alone(need):
    big = measured_table().of("big_only")
    rows = [measured_table().of(kind.name()) for kind in advised(KINDS, [need])]
    found = [getattr(row, VALUES[need]) for row in rows]
    assert all(row.difference >= EQUAL for row in rows)
    assert found == sorted(found, reverse=need == "low latency")
    sign = -1 if need == "low latency" else 1
    assert all(sign * value < sign * getattr(big, VALUES[need]) for value in found)


def test_methods_that_need_more_than_big_alone_are_not_advised():
    for need in ("few big tokens", "low latency"):
        found = {kind.name() for kind in advised(KINDS, [need])}
        assert "likelihood_verify" in found
        assert not found & {"lookahead", "spec_rewrite"}


def test_big_alone_is_best_where_no_method_gains(cli):
    ran = cli("methods", "--for", "many users at once")
    assert "so big alone (big_only) is best" in ran.out
    assert "speculative plan all --chains 256" in ran.out
    (row,) = json.loads(cli("methods", "--for", "many users at once", "--json").out)
    assert (row["name"], row["advised"]) == ("big_only", False)


def test_needs_that_exclude_each_other_are_said_to_have_no_method(cli, monkeypatch):
    monkeypatch.setattr("speculative.cli._advice.advised", lambda kinds, needs: [])
    assert "No method meets all of these needs." in cli("methods", "--for", "no training").out


def test_needs_of_traits():
    untrained = {kind.name() for kind in advised(KINDS, ["no training"])}
    assert "likelihood_verify" in untrained
    assert not untrained & {"offload", "relay", "handoff", "advisor", "reward_guided"}
    closed = {kind.name() for kind in advised(KINDS, ["closed big model"])}
    assert closed >= {"advisor", "guide", "step_verify"}
    assert not closed & {"likelihood_verify", "best_step", "stitch", "draft_verify"}
    assert {kind.name() for kind in advised(KINDS, ["no training", "closed big model"])} == untrained & closed
    assert not untrained & {"big_only", "random_switch", "vote"}


@pytest.mark.parametrize("need", MEANING)
def test_the_command_lists_them(cli, need):
    ran = cli("methods", "--for", need)
    assert ran.code == 0, ran.err
    assert MEANING[need] in ran.out
    told = json.loads(cli("methods", "--for", need, "--json").out)
    assert [one["name"] for one in told if one["advised"]] == [kind.name() for kind in advised(KINDS, [need])]
    assert told[-1]["name"] == "big_only"
    assert all(one["name"] in ran.out for one in told)


def test_an_unknown_need_and_a_method_beside_a_need_are_refused(cli):
    assert "few big tokens" in cli("methods", "--for", "fast").one_line()
    assert "cannot be combined" in cli("methods", "vote", "--for", "no training").one_line()


def test_every_method_of_the_library_has_a_family():
    assert {kind.name() for kind in KINDS if kind.family == "other" and kind.__module__.startswith("speculative.")} == set()
    assert all((kind.family == "around a method") == (name in names(wrappers=True)) for name, kind in registered().items())


def test_the_picture_shows_every_method_in_its_box():
    picture = ElementTree.fromstring(families_page())
    texts = " ".join(node.text or "" for node in picture.iter() if node.tag.endswith("text"))
    shown = set(re.findall(r"\w+", texts))
    assert {name for name, kind in registered().items() if kind.__module__.startswith("speculative.")} <= shown


def test_a_table_is_computed_from_summaries():
    (row,) = [one for one in [summary("big_only"), summary("small_only", control_of="x")] if not one.control_of]
    table = measure_table("command", [row, summary("small_only", control_of="x")])
    assert [one.method for one in table.methods] == ["big_only"]
    assert table.methods[0] == MeasuredMethod("big_only", "big_only", 1.0, 0.0, (0.0, 0.0), 1.0, 0.0, 0.0, 1.0, 1.0)


def summary(method, control_of=None):
    shared = {"problems": 2, "epochs": 1, "chains": 2, "accuracy": 1.0, "interval": (0.0, 1.0), "share_kept": 1.0, "share_spent": 1.0}
    more = {"seconds": 1.0, "speed": None, "finish_reasons": {}, "usage": {}, "pass_at": {}, "maj_at": {}, "costs": {}, "contrasts": []}
    return MethodSummary(task="stories", label=method, method=method, params={}, control_of=control_of, **shared, **more)
