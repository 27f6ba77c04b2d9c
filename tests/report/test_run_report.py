"""Samples of several run folders."""

import pytest
from made import sample

from speculative.errors import UsageError
from speculative.report.run_report import gather
from speculative.runs.folder import SAMPLES, RunFolder


def folder(path, *samples):
    with RunFolder(path) as kept:
        for one in samples:
            kept.append(one)
    return path


def labels(*folders):
    return [one.label for one, _ in gather(folders).samples]


def test_one_folder_keeps_its_labels(tmp_path):
    assert labels(folder(tmp_path / "a", sample("big_only"), sample("small_only"))) == ["big_only", "small_only"]


def test_the_same_label_in_two_folders_says_which(tmp_path):
    one, other = folder(tmp_path / "a", sample(), sample("vote")), folder(tmp_path / "b", sample())
    assert labels(one, other) == ["big_only @ a", "vote", "big_only @ b"]
    assert labels(one, one) == ["big_only", "vote"]


def test_folders_of_one_name_are_labelled_by_their_parent(tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "y").mkdir()
    assert labels(folder(tmp_path / "x" / "run", sample()), folder(tmp_path / "y" / "run", sample())) == [
        "big_only @ x/run",
        "big_only @ y/run",
    ]


def test_the_same_label_on_another_task_stays_as_it_is(tmp_path):
    assert labels(folder(tmp_path / "a", sample()), folder(tmp_path / "b", sample(task="math500"))) == ["big_only"] * 2


def test_samples_of_other_settings_are_another_method(tmp_path):
    made = folder(tmp_path / "a", sample(), sample(settings={"max_tokens": 50}), sample(params={"answer_by": "small"}))
    assert labels(made) == ["big_only [max_tokens=100]", "big_only [max_tokens=50]", "big_only [max_tokens=100, answer_by=small]"]


def test_only_sampling_fields_that_differ_are_in_a_label(tmp_path):
    hot, cold = ({"max_tokens": 100, "sampling": {"temperature": heat, "top_p": 0.95}} for heat in (0.6, 0.0))
    made = folder(tmp_path / "a", sample(settings=hot), sample(settings=cold))
    assert labels(made) == ["big_only [temperature=0.6]", "big_only [temperature=0.0]"]


def test_settings_that_differ_between_folders_are_in_a_label_and_engines_are_not(tmp_path):
    settings = ({"max_tokens": limit, "big": name} for limit, name in ((100, "x"), (50, "y")))
    one, other = (folder(tmp_path / name, sample(settings=its)) for name, its in zip("ab", settings, strict=True))
    assert labels(one, other) == ["big_only @ a [max_tokens=100]", "big_only @ b [max_tokens=50]"]


def test_tries_that_differ_in_the_seed_alone_are_epochs(tmp_path):
    found = gather([folder(tmp_path / "a", sample(seed=1), sample(seed=2), sample(seed=3))]).samples
    assert [one.epoch for one, _ in found] == [0, 1, 2]


def test_tries_of_one_seed_are_one_epoch_for_all_methods_in_any_order(tmp_path):
    made = [
        sample("big_only", seed=1),
        sample("big_only", seed=2),
        sample("vote", seed=2),
        sample("vote", seed=1),
        sample("vote", epoch=1, seed=3),
    ]
    found = gather([folder(tmp_path / "a", *made)]).samples
    assert [(one.label.partition(" ")[0], one.seed, one.epoch) for one, _ in found] == [
        ("big_only", 1, 0),
        ("big_only", 2, 1),
        ("vote", 2, 1),
        ("vote", 1, 0),
        ("vote", 3, 2),
    ]


def test_a_try_that_was_graded_again_counts_once(tmp_path):
    made = folder(tmp_path / "a", sample(gold="8", correct=False), sample(epoch=1, seed=9), sample())
    assert [(one.epoch, one.gold, one.correct) for one, _ in gather([made]).samples] == [(0, "7", True), (1, "7", True)]


def test_a_control_follows_its_method_to_its_new_label(tmp_path):
    control = sample("random_switch(0.3)", control_of="big_only")
    found = gather([folder(tmp_path / "a", sample(), control), folder(tmp_path / "b", sample())]).samples
    assert [(one.label, one.control_of) for one, _ in found] == [
        ("big_only @ a", None),
        ("random_switch(0.3)", "big_only @ a"),
        ("big_only @ b", None),
    ]


def test_a_method_on_fewer_problems_than_others_says_so(tmp_path):
    made = folder(tmp_path / "a", sample(), sample(problem="p2"), sample("vote"))
    assert labels(made) == ["big_only", "big_only", "vote (1 of 2 problems)"]
    other = folder(tmp_path / "b", sample("early_exit", problem="p3"))
    assert labels(made, other) == [*["big_only (2 of 3 problems)"] * 2, "vote (1 of 3 problems)", "early_exit (1 of 3 problems)"]


def test_a_method_that_tried_some_problems_more_often_says_so(tmp_path):
    made = folder(tmp_path / "a", sample(), sample(problem="p2"), sample(epoch=1, seed=9), sample("vote"))
    assert set(labels(made)) == {"big_only (some problems tried more often)", "vote (1 of 2 problems)"}
    more = folder(tmp_path / "b", *(sample("x", problem, epoch, seed=epoch) for problem in ("p1", "p2") for epoch in (0, 1)))
    assert set(labels(more)) == {"x"}


def test_a_control_follows_a_method_on_fewer_problems(tmp_path):
    made = folder(tmp_path / "a", sample("vote"), sample("mine"), sample("random_switch(0.3)", control_of="mine"), sample("vote", "p2"))
    found = {one.label: one.control_of for one, _ in gather([made]).samples}
    assert found == {"vote": None, "mine (1 of 2 problems)": None, "random_switch(0.3) (1 of 2 problems)": "mine (1 of 2 problems)"}


def test_the_folder_of_each_label_is_known(tmp_path):
    one, other = folder(tmp_path / "a", sample()), folder(tmp_path / "b", sample("vote"))
    assert gather([one, other]).folders == {("stories", "big_only"): "a", ("stories", "vote"): "b"}


def test_a_folder_without_samples_is_left_out_and_named(tmp_path):
    full, empty = folder(tmp_path / "a", sample()), folder(tmp_path / "b")
    assert gather([full, empty]).empty == [empty]
    with pytest.raises(UsageError, match=r"b: there is no sample yet"):
        gather([empty])


def test_an_unfinished_run_folder_is_read(tmp_path):
    with RunFolder(tmp_path / "a") as kept:
        kept.append(sample())
        with (tmp_path / "a" / SAMPLES).open("ab") as file:
            file.write(b'{"task":"sto')
        assert labels(tmp_path / "a") == ["big_only"]
