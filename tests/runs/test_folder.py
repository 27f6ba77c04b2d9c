"""A run folder keeps all written samples, also after a crash."""

import resource
from contextlib import contextmanager

import pytest
from samples import sample

from speculative.errors import SpeculativeError, UsageError
from speculative.methods.registry import build
from speculative.runs.folder import PROVENANCE, SAMPLES, Run, RunFolder
from speculative.trace.trace import Trace


def test_samples_and_traces_read_back(tmp_path):
    with RunFolder(tmp_path / "run") as folder:
        kept = folder.append(sample(), Trace([]))
        folder.append(sample("p2"))
        folder.note({"command": "x"})
    run = Run(tmp_path / "run")
    assert run.samples == [kept, sample("p2")]
    assert run.trace(kept) == Trace([])
    assert run.trace(run.samples[1]) is None
    assert run.provenance == [{"command": "x"}]


def test_a_cut_last_line_is_removed(tmp_path):
    with RunFolder(tmp_path) as folder:
        folder.append(sample())
        folder.append(sample("p2"))
    data = (tmp_path / SAMPLES).read_bytes()
    first = data.index(b"\n") + 1
    for end in range(first, len(data)):
        (tmp_path / SAMPLES).write_bytes(data[:end])
        with RunFolder(tmp_path) as folder:
            assert folder.samples == [sample()]
            folder.append(sample("p2"))
        assert (tmp_path / SAMPLES).read_bytes() == data


def test_samples_that_differ_in_anything_have_traces_of_their_own(tmp_path):
    with RunFolder(tmp_path) as folder:
        variants = [
            sample(),
            sample(epoch=1),
            sample(label="big-only"),
            sample("p-1"),
            sample("P1"),
            sample(gold="2"),
            sample(params={"a": 1}),
        ]
        assert len({folder.append(one, Trace([])).trace for one in variants}) == len(variants)


def test_methods_of_an_older_version_are_read_as_this_one_writes_them(tmp_path):
    old = {"answer_by": "big", "switch_ratio": None, "big_share": None, "switch_chunk": 16, "unit": "chunk"}
    early = build("big_only", {}, ["early_exit"]).params["early_exit"]
    with RunFolder(tmp_path) as folder:
        folder.append(
            sample(
                method="vote(early_exit(random_switch))", params={**old, "vote": {"answer_by": "big", "ballots": 3}, "early_exit": early}
            )
        )
        folder.append(sample(method="vote(theirs)", params={"a": 1}))
    wrapped, unknown = Run(tmp_path).samples
    assert wrapped.method == "vote*early_exit*random_switch"
    assert wrapped.params == build("random_switch", {}, ["early_exit", "vote(ballots=3)"]).params
    assert (unknown.method, unknown.params) == ("vote*theirs", {"a": 1})


@pytest.mark.parametrize("trace", ["/etc/passwd", "../other/traces/a.jsonl"])
def test_traces_outside_the_folder_are_not_read(tmp_path, trace):
    with RunFolder(tmp_path) as folder:
        folder.append(sample(trace=trace))
    with pytest.raises(SpeculativeError, match="cannot be read, it is in another folder"):
        Run(tmp_path).trace(sample(trace=trace))


def note(model, big="http://host/v1", **more):
    return {"settings": {"big": big, **more}, "engines": {"big": {"name": f"{model} at host", "model": model}}}


def test_another_model_at_the_same_address_is_an_error(tmp_path):
    with RunFolder(tmp_path) as folder:
        folder.note(note("one"))
        folder.note(note("two"))  # there is no sample of the first
        folder.append(sample())
        folder.note(note("three", big="http://elsewhere/v1"))
        folder.note(note("four", big_model="four"))
        with pytest.raises(UsageError, match="has samples of model 'two' as big, and http://host/v1 has 'five' now; name another folder"):
            folder.note(note("five"))
    assert len(Run(tmp_path).provenance) == 4


def test_problems_of_another_set_are_refused(tmp_path):
    with RunFolder(tmp_path) as folder:
        folder.admit("stories", ["a", "b"])
        folder.append(sample("p1"))
        folder.append(sample("p2"))
        for alike in (["p1", "p2"], ["p1"], ["p3", "p2", "p1"]):  # fewer, or more of them
            folder.admit("stories", alike)
        folder.admit("aime24", ["p3"])
        told = "has samples of stories on other problems: 1 of 2 are not in the data of this command; name another folder"
        with pytest.raises(UsageError, match=told):
            folder.admit("stories", ["p2", "p3"])


def test_a_damaged_provenance_line_is_named(tmp_path):
    (tmp_path / "samples.jsonl").touch()
    (tmp_path / "provenance.jsonl").write_text('{"command": "x"}\n{"comm\n{"command": "y"}\n')
    with pytest.raises(UsageError, match=r"provenance\.jsonl, line 2 is damaged: .*; remove that line"):
        _ = Run(tmp_path).provenance


def test_a_cut_provenance_line_is_removed(tmp_path):
    with RunFolder(tmp_path) as folder:
        folder.note({"command": "x"})
        with (tmp_path / PROVENANCE).open("ab") as file:
            file.write(b'{"command":')
        assert Run(tmp_path).provenance == [{"command": "x"}]
        folder.note({"command": "y"})
    assert Run(tmp_path).provenance == [{"command": "x"}, {"command": "y"}]


@contextmanager
def files_of_at_most(size):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_takes_no_more_is_named(tmp_path):
    with RunFolder(tmp_path / "run") as folder:
        with files_of_at_most(10), pytest.raises(SpeculativeError, match=r"provenance cannot be written to .*run: File too large"):
            folder.note({"command": "long enough"})
        folder.note({"command": "x"})
    assert Run(tmp_path / "run").provenance == [{"command": "x"}]


def test_two_processes_do_not_write_one_folder(tmp_path):
    with RunFolder(tmp_path), pytest.raises(UsageError, match="written by another process"):
        RunFolder(tmp_path)
    RunFolder(tmp_path).close()


def test_another_folder_is_an_error(tmp_path):
    with pytest.raises(UsageError, match=r"must be a run folder.*samples\.jsonl"):
        Run(tmp_path)
