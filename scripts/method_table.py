"""Writes the table of all methods at several token limits into docs/methods.md.

    python scripts/method_table.py FOLDER… [--costs] [--write docs/methods.md]

Each folder is a run folder of `speculative compare --max-tokens N --out FOLDER`, one for each limit; the last one is ample, and its
columns of tokens are shown. `--costs` adds the tokens that were scored, and the operations of a chain relative to the baseline's.
Without `--write` the table goes to the terminal.
"""

import argparse
import sys
from pathlib import Path

from speculative.runs.folder import Run
from speculative.stats.summary import BASELINE, MethodSummary, summarize

BEGIN, END = "<!-- table: python scripts/method_table.py -->", "<!-- end of the table -->"
ROLES = ("big", "small")


class Limit:
    """The methods at one limit of tokens."""

    def __init__(self, folder: Path) -> None:
        samples = Run(folder).samples
        limits = {sample.settings["max_tokens"] for sample in samples}
        if len(limits) != 1:
            raise SystemExit(f"{folder}: all samples must have one max_tokens, got {sorted(limits)}")
        self.tokens: int = limits.pop()
        self.rows = {row.label: row for row in summarize(samples)}

    def solved(self, label: str) -> str:
        """Returns the accuracy with its interval."""
        row = self.rows.get(label)
        return f"{_percent(row.accuracy)} ({_percent(row.interval[0])} to {_percent(row.interval[1])})" if row else "·"

    def difference(self, label: str) -> str:
        """Returns the paired difference to the baseline in points, with its interval."""
        row = self.rows.get(label)
        found = [one for one in row.contrasts if one.against == BASELINE] if row else []
        if not found:
            return "·"
        low, high = found[0].interval
        return f"{100 * found[0].difference:+.1f} ({100 * low:+.1f} to {100 * high:+.1f})"


def table(limits: list[Limit], *, costs: bool = False) -> list[str]:
    """Returns the lines of the table, and of what must be said about it."""
    ample = limits[-1]
    cost_columns = ["scored", "FLOP"] if costs else []
    heads = [part for limit in limits for part in (f"solved at {limit.tokens}, %", "points")]
    columns = ["method", *heads, "length", "big kept, %", "big tokens", "small tokens", "discarded", *cost_columns]
    lines = [f"| {' | '.join(columns)} |", f"|{'---|' * len(columns)}"]
    for label, row in ample.rows.items():
        figures = [cell for limit in limits for cell in (limit.solved(label), limit.difference(label))]
        lines.append(
            f"| `{label}`{_idle(row)} | {' | '.join([*figures, *_tokens(row), *(_costs(row, ample.rows[BASELINE]) if costs else [])])} |"
        )
    chains = {(row.problems, row.epochs) for limit in limits for row in limit.rows.values()}
    told = ", ".join(f"{problems} problems with {_count(epochs, 'seed')} each" for problems, epochs in sorted(chains))
    idle = " \\*: a model did nothing but answer in all chains." if any(row.idle_roles for row in ample.rows.values()) else ""
    return [*lines, "", f"{told}.{idle}"]


def _tokens(row: MethodSummary) -> list[str]:
    made = [row.usage[role].produced_tokens / row.chains if role in row.usage else 0 for role in ROLES]
    discarded = sum(cost.discarded_tokens for cost in row.usage.values()) / row.chains
    share = "·" if row.share_kept is None else _percent(row.share_kept)
    return [f"{row.length:.0f}", share, *(f"{tokens:.0f}" for tokens in made), f"{discarded:.0f}"]


def _costs(row: MethodSummary, baseline: MethodSummary) -> list[str]:
    scored = sum(cost.scored_tokens for cost in row.usage.values()) / row.chains
    return [f"{scored:.0f}", f"{row.costs['flops'].chain / baseline.costs['flops'].chain:.2f}"]


def _idle(row: MethodSummary) -> str:
    return " \\*" if row.idle_roles else ""


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _percent(share: float) -> str:
    return f"{100 * share:.1f}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Writes the table of all methods at several token limits.")
    parser.add_argument("folders", nargs="+", type=Path, help="run folders, one for each limit")
    parser.add_argument("--costs", action="store_true", help="add the scored tokens and the operations")
    parser.add_argument("--write", type=Path, help="the document whose table is replaced")
    given = parser.parse_args()
    lines = "\n".join(table(sorted(map(Limit, given.folders), key=lambda limit: limit.tokens), costs=given.costs))
    if given.write is None:
        sys.stdout.write(f"{lines}\n")
        return
    before, begin, rest = given.write.read_text(encoding="utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise SystemExit(f"{given.write}: it must have the lines {BEGIN!r} and {END!r}")
    given.write.write_text(f"{before}{BEGIN}\n\n{lines}\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
