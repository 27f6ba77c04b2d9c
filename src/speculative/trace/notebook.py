"""Shows a chain in a notebook, in the colours of the viewer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from speculative.trace.state import Segment
from speculative.trace.usage import Usage

COLOURS = {"big": ("#3a49c9", "#93a2ff", "solid"), "small": ("#b65a00", "#f5a94d", "dotted"), "judge": ("#00735f", "#4fd1b0", "double")}
"""The colour on light and on dark paper and the line of each author, as in `web/src/style`."""
OTHER = ("#6b7280", "#a0a8b7", "dashed")
COLUMNS = ("requests", "prompt_tokens", "cached_tokens", "scored_tokens", "produced_tokens", "kept_tokens", "discarded_tokens")


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
    runs = [f'<span title="{escape(one.author)}" style="{_style(one.author)}">{escape(one.text)}</span>' for one in segments]
    return f'<div dir="auto" style="white-space: pre-wrap; overflow-wrap: anywhere">{"".join(runs)}</div>'


def _bar(segments: Sequence[Segment]) -> str:
    total = sum(one.tokens for one in segments) or 1
    parts = [
        f'<span title="{escape(one.author)}: {one.tokens} tokens" '
        f'style="width: {100 * one.tokens / total:.2f}%; background: {COLOURS.get(one.author, OTHER)[0]}"></span>'
        for one in segments
        if one.tokens
    ]
    style = "display: flex; height: 0.8em; margin: 0.4em 0"
    return f'<div role="img" aria-label="{escape(_shares(segments))}" style="{style}">{"".join(parts)}</div>'


def _shares(segments: Sequence[Segment]) -> str:
    kept: dict[str, int] = {}
    for one in segments:
        kept[one.author] = kept.get(one.author, 0) + one.tokens
    return ", ".join(f"{author} wrote {tokens} tokens" for author, tokens in kept.items() if tokens) or "nothing was written"


def _table(usage: Mapping[str, Usage]) -> str:
    head = "".join(f"<th>{name.replace('_', ' ')}</th>" for name in COLUMNS)
    rows = "".join(
        f"<tr><th>{escape(role)}</th>{''.join(f'<td>{getattr(cost, name):,}</td>' for name in COLUMNS)}<td>{cost.seconds:.2f}</td></tr>"
        for role, cost in usage.items()
    )
    return f"<table><thead><tr><th></th>{head}<th>seconds</th></tr></thead><tbody>{rows}</tbody></table>"
