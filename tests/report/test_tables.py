"""The tables of the terminal fit 80 columns."""

import io

import pytest
from made import sample
from msgspec import to_builtins
from rich.console import Console

from speculative.report.tables import comparison
from speculative.stats.summary import summarize
from speculative.trace.usage import Usage

LABELS = ["big_only", "random_switch(unit=step,big_share=0.3)", "spec_rewrite(thinking_n_ignore=1,drafting_n=1,full_rewrite=true)"]


def usage(produced):
    role = Usage(requests=9, prompt_tokens=14_000, cached_tokens=9_000, produced_tokens=produced, kept_tokens=produced, seconds=1234.5)
    return {"big": role, "small": role}


@pytest.mark.parametrize("epochs", [1, 64])
def test_tables_fit_80_columns_and_cut_nothing_off(epochs):
    settings = {"big": "bundled:big", "small": "bundled:small"}
    samples = [
        sample(label, f"p{number}", epoch, correct=(number + place * epoch) % 3 > 0, usage=usage(23_456), seconds=1234.5, settings=settings)
        for place, label in enumerate(LABELS)
        for number in range(12)
        for epoch in range(epochs)
    ]
    console = Console(width=80, record=True, file=io.StringIO())
    for part in comparison([to_builtins(row) for row in summarize(samples)]):
        console.print(part)
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    assert all(f"@{k}" in text for k in (2, 4, 8, 16, 32, 64)) == (epochs == 64)
    for heading in ("small tokens", "big s", "speed", "FLOP cost", "here", "API, USD", "device, USD"):
        assert heading in text
    joined = "".join(text.split())
    assert LABELS[1] in joined
