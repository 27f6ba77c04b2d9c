"""Rows of a comparison: their order, and their controls."""

from msgspec import to_builtins
from samples import sample

from speculative.report.tables import comparison
from speculative.stats.summary import summarize
from speculative.trace.usage import Usage


def kept(big, small, **more):
    return {"usage": {"big": Usage(kept_tokens=big, produced_tokens=big), "small": Usage(kept_tokens=small, produced_tokens=small)}} | more


def switch(share, problems, big):
    label = f"random_switch(big_share={share}) like mine"
    return [sample(f"p{place}", label, method="random_switch", control_of="mine", **kept(big, 100 - big)) for place in range(problems)]


def test_controls_follow_their_method_and_the_nearest_share_is_taken():
    mine = [sample(f"p{place}", "mine", **kept(40, 60)) for place in range(4)]
    vote = [sample("p1", "vote like mine", method="vote*small_only", control_of="mine")]
    tries = [*switch(0.5, 4, 48), *switch(0.42, 4, 41), *switch(0.41, 3, 40)]  # the last one was interrupted
    rows = summarize([*vote, sample("p1", "small_only"), *tries, *mine, sample("p1", "big_only")], ["mine", "big_only"])
    labels = ["mine", "random_switch(big_share=0.42) like mine", "vote like mine", "big_only", "small_only"]
    assert [row.label for row in rows] == labels
    assert [row.control_of for row in rows] == [None, "mine", "mine", None, None]
    assert [met.against for met in rows[0].contrasts] == ["big_only", *labels[1:3]]
    assert rows[0].contrasts[1].share_kept == (0.4, 0.41)
    assert [met.against for met in rows[4].contrasts] == ["big_only"]
    assert rows[3].contrasts == []


def test_every_seed_may_have_a_control_of_its_own():
    mine = [sample("p", "mine", seed=seed, **kept(40, 60)) for seed in (1, 2)]
    switches = [
        sample(
            "p", f"random_switch(big_share={share}) like mine", method="random_switch", control_of="mine", seed=seed, **kept(big, 100 - big)
        )
        for share, seed, big in [(0.3, 1, 33), (0.4, 1, 41), (0.5, 2, 39)]
    ]
    rows = summarize([*mine, *switches])
    assert {row.label for row in rows[1:]} == {switches[1].label, switches[2].label}
    assert [met.chains for met in rows[0].contrasts] == [1, 1]


def test_a_share_that_every_seed_began_with_gives_way_to_the_nearer_ones_that_they_found():
    mine = [sample("p", "mine", seed=seed, **kept(40, 60)) for seed in (1, 2)]
    more = {"method": "random_switch", "control_of": "mine"}

    def rows(*tried):
        return summarize(
            [*mine, *(sample("p", f"{share} like mine", seed=seed, **more, **kept(big, 100 - big)) for share, seed, big in tried)]
        )

    began = [(0.4, 1, 49), (0.4, 2, 49)]
    assert [row.label for row in rows(*began, (0.3, 1, 41), (0.2, 2, 38))[1:]] == ["0.3 like mine", "0.2 like mine"]
    assert [row.label for row in rows(*began, (0.3, 1, 41))[1:]] == ["0.4 like mine"]
    assert [row.label for row in rows(*began, (0.3, 1, 41), (0.2, 2, 10))[1:]] == ["0.4 like mine"]


def test_a_method_is_held_against_the_baseline_with_its_own_settings():
    one, other, third = ({"big": engine} for engine in ("one", "other", "third"))
    big = [
        sample("p1", "big_only A", method="big_only", settings=one),
        sample("p1", "big_only B", method="big_only", settings=other, seconds=4.0),
    ]
    mine = [sample("p1", "mine A", settings=one), sample("p1", "mine B", settings=other), sample("p1", "mine C", settings=third)]
    rows = {row.label: row for row in summarize([*big, *mine])}
    assert [rows[label].contrasts[0].against for label in ("mine A", "mine B", "mine C")] == ["big_only A", "big_only B", "big_only A"]
    assert [rows[label].speed for label in ("mine A", "mine B", "mine C")] == [1.0, 8.0, None]
    assert rows["big_only B"].contrasts == []


def test_of_several_folders_the_baseline_is_that_of_its_own():
    samples = [sample("p1", label, method=label.partition(" ")[0]) for label in ("big_only @ a", "big_only @ b", "mine")]
    for folder in ("a", "b"):
        rows = summarize(samples, folders={("stories", one.label): one.label[-1].replace("e", folder) for one in samples})
        assert [(row.folder, [met.against for met in row.contrasts]) for row in rows][2] == (folder, [f"big_only @ {folder}"])


def test_rows_on_other_problems_are_named():
    mine = [sample(f"p{place}", "mine", epoch=epoch) for place in (1, 2) for epoch in (0, 1)]
    theirs = [sample(f"p{place}", "big_only") for place in (1, 2)]
    rows = summarize([*mine, *theirs])
    assert len({row.problem_set for row in rows}) == 1  # more tries of the same problems say the same, more surely
    assert "Not on the same problems" not in str(comparison([to_builtins(row) for row in rows])[-1])
    for unlike, told in (
        (mine[:3], "2 problems (some more often): mine; 2 problems: big_only"),
        (mine[:2], "1 problem: mine; 2 problems: big_only"),
    ):
        rows = summarize([*unlike, *theirs])
        assert len({row.problem_set for row in rows}) == 2
        assert str(comparison([to_builtins(row) for row in rows])[-1]).startswith(f"Not on the same problems: {told}.")


def test_speed_is_null_if_the_concurrency_differs_much():
    big = [sample("p1", "big_only", method="big_only", mean_concurrency=4.0)]
    rows = summarize([*big, *(sample("p1", f"beside {n}", mean_concurrency=n) for n in (1.0, 2.0, 7.0, 9.0))])
    assert [(row.mean_concurrency, row.speed) for row in rows] == [(4.0, 1.0), (1.0, None), (2.0, 1.0), (7.0, 1.0), (9.0, None)]


def test_controls_without_their_method_are_not_shown():
    assert summarize(switch(0.5, 2, 50)) == []


def test_chains_that_one_model_finished_alone_are_counted_and_named():
    rows = summarize([sample("p1", "a", degraded="big"), sample("p2", "a"), sample("p1", "big_only")])
    assert [row.degraded for row in rows] == [1, 0]
    told = str(comparison([to_builtins(row) for row in rows])[-1])
    assert told.startswith("A server was lost, and the other model finished 1 of 2 chains of a: ")
    assert "lost" not in str(comparison([to_builtins(rows[1])])[-1])


def test_tasks_are_apart():
    rows = summarize([sample("p1", "a"), sample("p1", "big_only", task="aime24"), sample("p1", "a", task="aime24")])
    assert [(row.task, row.label, len(row.contrasts)) for row in rows] == [
        ("stories", "a", 0),
        ("aime24", "big_only", 0),
        ("aime24", "a", 1),
    ]
