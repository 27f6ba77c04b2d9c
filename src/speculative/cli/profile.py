"""`speculative profile`: measures a pair of live servers for the planner."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

from cyclopts import Group, Parameter
from msgspec import structs

from speculative.cli._flags import DEFAULT_ENGINES, EngineFlags, parse_count
from speculative.cli._output import check_writable, write_line
from speculative.cli._progress import LoadingLine
from speculative.cli._signals import run_interruptible
from speculative.errors import SpeculativeError, UsageError
from speculative.pair import Pair
from speculative.plan.measure import Measured, ServerMeter, measure_together
from speculative.plan.profile import Profile
from speculative.runs.provenance import describe_engine, hardware

OUTPUT = Group("Output", sort_key=1)
LIMITS = Group("Limits", sort_key=2)
APART = 1.1
"""A server that is slower than this beside the other one shares its device."""


def profile(
    out: Annotated[Path, Parameter(help="the file to write")] = Path("profile.json"),
    /,
    *,
    name: Annotated[str, Parameter(help="a short name for the hardware and the models", group=OUTPUT)] = "",
    devices: Annotated[str, Parameter(help="the devices of the servers, in words [default: those of this machine]", group=OUTPUT)] = "",
    note: Annotated[str, Parameter(help="the flags of the servers, in words", group=OUTPUT)] = "",
    seconds: Annotated[float, Parameter(help="time to measure in, about", group=LIMITS)] = 120.0,
    largest: Annotated[int, Parameter(converter=parse_count, help="sequences at once at most", group=LIMITS)] = 256,
    mps: Annotated[bool, Parameter(help="the servers share a GPU under CUDA MPS", group=OUTPUT, negative=(), show_default=False)] = False,
    engines: EngineFlags = DEFAULT_ENGINES,
) -> int:
    """Measure a pair of live servers for `speculative plan`.

    It measures writing by batch, reading, calls behind a cached prefix, judgements, scores, and both servers at once. Nothing else should
    use the servers meanwhile.
    """
    if not 0 < seconds < 1e5:
        raise UsageError(f"--seconds must be above 0, got {seconds:g}")
    check_writable(out)
    pair = engines.open()
    with LoadingLine() as tell:
        found = run_interruptible(_measure(pair, seconds, largest, tell, mps=mps))
    described = {role: describe_engine(pair[role]) for role in ("big", "small")}
    software = "; ".join(f"{role}: {one['server']}, {one.get('model', one['name'])}" for role, one in described.items())
    day = datetime.now(UTC).date().isoformat()
    made = structs.replace(
        found, name=name or out.stem, date=day, hardware=devices or hardware(), software=software, flags=note, source=SOURCE
    )
    try:
        made.save(out)
    except OSError as error:
        raise SpeculativeError(f"{out}: {error.strerror}; the profile is not saved") from None
    for role in ("big", "small"):
        shown = ", ".join(f"{size}: {ms:.4g}" for size, ms in made.server(role).decode)
        write_line(f"{role}: ms a token by sequences at once {shown}")
        write_line(f"{role}: ms of single calls " + ", ".join(f"{what} {ms:.4g}" for what, ms in made.checks[role].items()))
    write_line(f"speculative plan --profile {out}")
    return 0


SOURCE = ("measured by `speculative profile`, on random tokens, in milliseconds of the client",)


async def _measure(pair: Pair, seconds: float, largest: int, tell: LoadingLine, *, mps: bool) -> Profile:
    """Measures both servers one after the other, and then together."""
    try:
        found: dict[str, Measured] = {}
        for role in ("big", "small"):
            found[role] = await ServerMeter(pair[role], seconds=seconds * 0.4, largest=largest, tell=tell).measure()
        tell("both servers at once")
        together, factors = await measure_together(pair["big"], pair["small"])
        shares = max(factors.big, factors.small) > APART
        checks = {role: one.checks for role, one in found.items()}
        checks["together"] = {"big ms a token": together.big, "small ms a token": together.small}
        return Profile(
            found["big"].profile, found["small"].profile, shared={"mps" if mps else "plain": factors} if shares else {}, checks=checks
        )
    finally:
        await pair.aclose()
