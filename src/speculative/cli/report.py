"""`speculative report`: writes a page, tables and figures of run folders."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Group, Parameter
from msgspec import to_builtins

from speculative.cli._errors import warn
from speculative.cli._flags import DEFAULT_PRICES, PriceFlags
from speculative.cli._hardware import DEFAULT_HARDWARE, HardwareFlags, recorded_chains, show_prices, with_prices
from speculative.cli._output import check_writable, write_file, write_json, write_line
from speculative.cli._progress import count_progress
from speculative.errors import SpeculativeError, UsageError
from speculative.report import export
from speculative.report.frontier import Frontier
from speculative.report.hardware import HardwareForecast
from speculative.report.run_report import Report, gather

OUTPUT = Group("Output", sort_key=1)
DIRS = "run folders of `speculative compare --out DIR` or `speculative eval --out DIR`"
NAME = "report.html"


def report(
    folders: Annotated[list[Path], Parameter(help=DIRS, negative=())],
    /,
    *,
    out: Annotated[Path | None, Parameter(help=f"the page to write [default: {NAME} in the first folder]", group=OUTPUT)] = None,
    csv: Annotated[Path | None, Parameter(help="also write the samples as a table with a row for each", group=OUTPUT)] = None,
    parquet: Annotated[Path | None, Parameter(help="the same as Parquet (needs the extra `tables`)", group=OUTPUT)] = None,
    figures: Annotated[
        Path | None, Parameter(help="a folder for figures, SVG and PNG: one for each task and axis (needs the extra `plots`)", group=OUTPUT)
    ] = None,
    prices: PriceFlags = DEFAULT_PRICES,
    hardware: HardwareFlags = DEFAULT_HARDWARE,
    json: Annotated[
        bool, Parameter(help="print a JSON list with an object for each task and method", group=OUTPUT, negative=(), show_default=False)
    ] = False,
) -> int:
    """Write one page about methods: accuracy against cost, problems, chains.

    The page needs no network and no other files. Folders may be of different tasks, and of runs that are not finished.
    """
    hardware.load()
    page = out or folders[0] / NAME
    gathered = gather(folders)
    for path in filter(None, (page, csv, parquet)):
        check_writable(path)
    if parquet:
        export.check()
    for folder in gathered.empty:
        warn(f"{folder} has no samples yet; it is left out")
    made = Report(gathered, prices.load())
    samples = [sample for sample, _ in made.samples]
    if elsewhere := sum(not sample.gold for sample in samples):
        warn(f"{elsewhere} of {len(samples)} chains were graded by a harness, such as lm-eval; here they count as wrong")
    if figures:
        _draw(made.frontiers, figures)
    card = hardware.card()
    priced = hardware.price(recorded_chains(made.samples)) if card else {}
    with count_progress("chains", len(samples)) as advance:
        write_file(page, made.parts(advance, HardwareForecast.of(card, priced) if card else None), "report")
    if made.missing:
        warn(f"{len(made.missing)} of {len(samples)} chains have no text: {made.missing[0]}")
    if csv:
        write_file(csv, export.csv(samples, made.folders), "table")
    if parquet:
        write_file(parquet, export.parquet(samples, made.folders), "table")
    if json:
        write_json(with_prices([to_builtins(row) for row in made.summaries], priced, card))
    else:
        write_line(f"{page} (methods: {len(made.summaries)}, chains: {len(samples)})")
        show_prices(hardware, priced)
    return 0


def _draw(frontiers: list[Frontier], folder: Path) -> None:
    from speculative.report import chart as figure

    figure.check()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for frontier in frontiers:
            for kind in ("svg", "png"):
                figure.draw(frontier, folder / f"{_file(frontier)}.{kind}")
    except FileExistsError:
        raise UsageError(f"{folder} must be a folder, got a file; name a folder for the figures") from None
    except OSError as error:
        raise SpeculativeError(f"{error.filename or folder}: {error.strerror or error}; some figures are not saved") from None


def _file(frontier: Frontier) -> str:
    return f"{''.join(letter if letter.isalnum() else '-' for letter in frontier.task)}-{frontier.axis.key.replace('_', '-')}"
