"""Shows a chain in a notebook, in the colours, lines and words of the viewer.

It is HTML without script: docs/report.md says why. Tests compare it with the source of the viewer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from speculative.trace.state import Segment
from speculative.trace.usage import Usage

COLOURS = {"big": ("#3a49c9", "#93a2ff", "solid"), "small": ("#b65a00", "#f5a94d", "dotted"), "judge": ("#00735f", "#4fd1b0", "double")}
"""The colour on light and on dark paper and the line of each author, as in `web/src/style`."""
OTHER = ("#6b7280", "#a0a8b7", "dashed")
COLUMNS = {
    "requests": "calls",
    "prompt_tokens": "prompt",
    "cached_tokens": "cached",
    "scored_tokens": "scored",
    "produced_tokens": "produced",
    "kept_tokens": "kept",
    "discarded_tokens": "discarded",
}
"""The titles of the usage's columns, as in `web/src/view/usage.ts`."""
OFTEN_ZERO = ("cached_tokens", "scored_tokens")
"""Columns that are left out where they are zero."""
LARGEST = 200_000
"""The characters of a chain that are shown, each run with its mark-up, so that a notebook stays small."""
RUN, MOST_PARTS = 150, 500
"""The characters of a run's mark-up, about, and the most parts of a bar; a bar of more has one for each author."""


def chain_html(segments: Sequence[Segment], usage: Mapping[str, Usage], title: str) -> str:
    """Returns a chain as HTML without script: its text, its bar and its usage.

    Text of models is escaped. Authors are told apart by colour, by line, and by the tooltip.
    """
    return (
        f'<div style="max-width: 60em; line-height: 1.6"><p><b>{escape(title)}</b></p>'
        f"{_bar(segments)}{_text(segments)}{_table(usage)}</div>"
    )


def _style(author: str) -> str:
    light, dark, line = COLOURS.get(author, OTHER)
    colour = f"light-dark({light}, {dark})"
    return f"border-bottom: 2px {line} {light}; border-bottom-color: {colour}"


def _text(segments: Sequence[Segment]) -> str:
    runs: list[str] = []
    room = LARGEST
    left = sum(len(one.text) for one in segments)
    for one in segments:
        shown = one.text[: max(0, room)]
        room -= len(shown) + RUN
        left -= len(shown)
        if shown:
            runs.append(f'<span title="{escape(one.author)}" style="{_style(one.author)}">{escape(shown)}</span>')
    more = f"<p>{left:,} more characters; `speculative show` has them.</p>" if left else ""
    return f'<div dir="auto" style="white-space: pre-wrap; overflow-wrap: anywhere">{"".join(runs)}</div>{more}'


def _bar(segments: Sequence[Segment]) -> str:
    written = [(one.author, one.tokens) for one in segments if one.tokens]
    total = sum(tokens for _, tokens in written) or 1
    parts = [
        f'<span title="{escape(author)}: {tokens} tokens" '
        f'style="width: {100 * tokens / total:.2f}%; background: {COLOURS.get(author, OTHER)[0]}"></span>'
        for author, tokens in (written if len(written) <= MOST_PARTS else _tokens_of(segments).items())
    ]
    style = "display: flex; height: 0.8em; margin: 0.4em 0"
    return f'<div role="img" aria-label="{escape(_shares(segments))}" style="{style}">{"".join(parts)}</div>'


def _shares(segments: Sequence[Segment]) -> str:
    return (
        ", ".join(f"{author} wrote {tokens} tokens" for author, tokens in _tokens_of(segments).items() if tokens) or "nothing was written"
    )


def _tokens_of(segments: Sequence[Segment]) -> dict[str, int]:
    """Returns the tokens of each author."""
    kept: dict[str, int] = {}
    for one in segments:
        kept[one.author] = kept.get(one.author, 0) + one.tokens
    return kept


def _table(usage: Mapping[str, Usage]) -> str:
    columns = {
        name: title for name, title in COLUMNS.items() if name not in OFTEN_ZERO or any(getattr(cost, name) for cost in usage.values())
    }
    head = "".join(f"<th>{title}</th>" for title in columns.values())
    rows = "".join(
        f"<tr><th>{escape(role)}</th>{''.join(f'<td>{getattr(cost, name):,}</td>' for name in columns)}<td>{cost.seconds:.2f}</td></tr>"
        for role, cost in sorted(usage.items())
    )
    return f"<table><thead><tr><th>tokens of</th>{head}<th>seconds</th></tr></thead><tbody>{rows}</tbody></table>"
