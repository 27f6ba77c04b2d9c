"""Profiles: reading, writing, refusing."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from msgspec import structs

from speculative.errors import UsageError
from speculative.plan.costs import StepCosts, interpolate
from speculative.plan.profile import Profile, Sharing, load_profile, shipped


@pytest.mark.parametrize("name", shipped())
def test_a_shipped_profile_tells_its_hardware_and_its_sources(name: str) -> None:
    profile = load_profile(name)
    assert profile.hardware
    assert profile.software
    assert profile.date
    assert profile.source


def test_a_profile_comes_back_from_its_file(tmp_path: Path) -> None:
    profile = load_profile("h200-32b-1.5b")
    profile.save(tmp_path / "own.json")
    assert load_profile(tmp_path / "own.json") == profile


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"decode": ()}, "big.decode must be points"),
        ({"decode": ((2, 1.0), (1, 2.0))}, "big.decode must be points"),
        ({"read": ((1, -1.0),)}, "big.read must be milliseconds above 0"),
        ({"call_ms": -1.0}, "big.call_ms must be at least 0"),
        ({"block": 0}, "big.block must be from 1 to"),
        ({"decode_context": -1}, "big.decode_context must be at least 0"),
        ({"max_sequences": 1 << 36}, "big.max_sequences must be from 1 to 1048576, got 68719476736"),  # a table of all sizes is made
        ({"max_step_tokens": 1 << 36}, "big.max_step_tokens must be from 1 to 1048576"),
        ({"cache_tokens": 1 << 60}, "big.cache_tokens must be from 1 to"),
    ],
)
def test_impossible_costs_are_refused(tmp_path: Path, change: dict[str, object], reason: str) -> None:
    profile = load_profile("h200-32b-1.5b")
    structs.replace(profile, big=structs.replace(profile.big, **change)).save(tmp_path / "own.json")
    with pytest.raises(UsageError, match=reason):
        load_profile(tmp_path / "own.json")


@pytest.mark.parametrize("factors", [Sharing(0.0, 1.0), Sharing(1.0, -3.0), Sharing(1e9, 1.0)])
def test_servers_that_share_a_gpu_cannot_gain_by_it(tmp_path: Path, factors: Sharing) -> None:
    profile = load_profile("h200-32b-1.5b")
    structs.replace(profile, shared={"mps": factors}).save(tmp_path / "own.json")
    with pytest.raises(UsageError, match=r"shared\.mps\.(big|small) must be from 1 to"):
        load_profile(tmp_path / "own.json")


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b'{"big": 1}', b'{"version": 2}', b"\xff"])
def test_other_files_are_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "own.json").write_bytes(data)
    with pytest.raises(UsageError, match="must be a file of `speculative profile`"):
        load_profile(tmp_path / "own.json")


def test_a_missing_file_and_a_newer_version_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="h200-32b"):
        load_profile(tmp_path / "none.json")
    newer = msgspec.json.decode(msgspec.json.encode(load_profile("h200-32b-1.5b"))) | {"version": 9}
    (tmp_path / "new.json").write_bytes(msgspec.json.encode(newer))
    with pytest.raises(UsageError, match="version 1, got 9"):
        load_profile(tmp_path / "new.json")


def test_costs_pass_through_the_measured_points_and_rise_beyond() -> None:
    profile: Profile = load_profile("h200-32b-1.5b")
    costs = StepCosts(profile.big)
    for sequences, ms in profile.big.decode:
        assert costs.decode(sequences, profile.big.decode_context * sequences) == pytest.approx(ms / 1000, rel=1e-6)
    for tokens, ms in profile.big.read:
        assert costs.mixed(0, 0, tokens, 0) == pytest.approx(ms / 1000, rel=1e-6)
    assert costs.mixed(8, 0, 500, 0) > costs.mixed(8, 0, 100, 0) >= costs.decode(8, 0)
    assert interpolate(((1, 1.0), (2, 3.0)), 4) == [1, 1, 3, 5, 7]
    assert interpolate(((2, 1.0), (4, 0.0)), 6) == [1, 1, 1, 0.5, 0, 0, 0]
    assert interpolate(((2, 1.0),), 1) == [1, 1]
