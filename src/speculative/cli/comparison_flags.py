"""The flags that say what chains cost, and which controls run beside the methods."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Group, Parameter

from speculative.cli.engine_flags import EngineFlags
from speculative.errors import UsageError
from speculative.stats.cost import View
from speculative.stats.prices import Prices

COSTS = Group("Costs and controls", sort_key=2)
CONTROLS = (
    "beside each method that is no baseline, on the same problems: random_switch with the same kept share of the big model (its share "
    "is sought: 1 to 6 chains for each chain of the method, mostly 2), and small_only's vote at equal cost (as many chains of small as "
    "cost what the method does, 64 at most; and 5 of small, for all methods together, to learn what they cost)"
)


@Parameter(name="*")
@dataclass(frozen=True)
class PriceFlags:
    """What chains cost."""

    prices: Annotated[
        Path | None,
        Parameter(
            help="a TOML file: prices of tokens and of devices, and the models' parameters (docs/statistics.md) "
            "[default: an example for the bundled pair]",
            group=COSTS,
            show_default=False,
        ),
    ] = None

    def load(self, engines: EngineFlags | None = None) -> Prices | None:
        """The prices of the file; none for the bundled pair's. Raises `UsageError`, also if the file lacks one of the engines."""
        if self.prices is None:
            return None
        found = Prices.load(self.prices)
        roles = {"big": engines.big, "small": engines.small, "judge": engines.judge} if engines else {}
        lacking = found.lacking({role: " ".join(specs) for role, specs in roles.items() if specs})
        if lacking:
            raise UsageError(f"prices {self.prices}: {lacking[0]} is missing; give it, or leave that view out of the file")
        return found


@Parameter(name="*")
@dataclass(frozen=True)
class ControlFlags:
    """Which controls run beside the methods."""

    controls: Annotated[bool, Parameter(help=CONTROLS, group=COSTS)] = True
    equal_cost: Annotated[View, Parameter(help="the view in which small's vote costs what the method does", group=COSTS)] = "flops"


DEFAULT_PRICES = PriceFlags()
DEFAULT_CONTROLS = ControlFlags()
