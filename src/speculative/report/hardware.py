"""Predicts the chains of a report on hardware with a profile."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct, structs

from speculative.plan.forecast import Forecast
from speculative.plan.layout import find_layout
from speculative.plan.profile import Profile


class HardwareCard(Struct, frozen=True):
    """The hardware of a prediction.

    Attributes:
        profile: the name of the profile.
        hardware: the devices.
        software: the servers' program and version.
        date: the day of the measurement.
        big: the big model of the measurement.
        small: the small model of the measurement.
        layout: the name of the layout.
        placed: the layout in words.
        gpus: the number of its GPUs.
        gpu_hour: the price of an hour of one GPU, if it is known.
    """

    profile: str
    hardware: str
    software: str
    date: str
    big: str
    small: str
    layout: str
    placed: str
    gpus: int
    gpu_hour: float | None

    @classmethod
    def of(cls, profile: Profile, name: str, layout: str, gpu_hour: float | None) -> HardwareCard:
        """Describes a profile and a layout.

        `name` stands for a profile without a name of its own.
        """
        placed = find_layout(layout)
        return cls(
            profile.name or name,
            profile.hardware,
            profile.software,
            profile.date,
            profile.big.model,
            profile.small.model,
            layout,
            placed.about,
            placed.gpus,
            gpu_hour,
        )

    def placed_as(self, layout: str) -> HardwareCard:
        """Describes the same hardware with another layout."""
        placed = find_layout(layout)
        return structs.replace(self, layout=layout, placed=placed.about, gpus=placed.gpus)


class Prediction(Struct, frozen=True):
    """The predicted cost of one method's chains at one load.

    Attributes:
        chains: chains that begin at once. With 1 they run one after another.
        latency_s: seconds of a chain, the median.
        chains_per_gpu_hour: chains that an hour of one GPU of the layout gives.
        against_big: tokens a second over those of big alone on as many GPUs.
        money: the price of a chain, if an hour has a price.
    """

    chains: int
    latency_s: float
    chains_per_gpu_hour: float
    against_big: float | None
    money: float | None

    @classmethod
    def of(cls, found: Forecast) -> Prediction:
        """Takes from a forecast the figures that the page shows."""
        return cls(found.chains, found.latency_s, per_gpu_hour(found), found.against_big, found.money)


class PredictedMethod(Struct, frozen=True):
    """The predictions for one method of one task, by rising load."""

    task: str
    label: str
    predictions: list[Prediction]


class HardwareForecast(Struct, frozen=True):
    """The section of a report about hardware with a profile."""

    card: HardwareCard
    methods: list[PredictedMethod]

    @classmethod
    def of(cls, card: HardwareCard, priced: Mapping[tuple[str, str], Sequence[Forecast]]) -> HardwareForecast:
        """Collects the forecasts by task and label.

        The card names the layout of methods with a judge, too.
        """
        judged = {one.layout for found in priced.values() for one in found} - {card.layout}
        placed = "; ".join([card.placed, *(f"{layout} for methods with a judge: {find_layout(layout).about}" for layout in sorted(judged))])
        methods = [PredictedMethod(task, label, list(map(Prediction.of, found))) for (task, label), found in priced.items()]
        return cls(structs.replace(card, placed=placed), methods)


def per_gpu_hour(found: Forecast) -> float:
    """Returns the chains that an hour of one GPU gives."""
    return 3600 / found.gpu_s
