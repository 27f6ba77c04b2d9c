"""Measures the surplus of tokens at boundaries between two different tokenizers.

    python bench/boundaries.py --big bundled:big --small SmolLM2.gguf gemma.gguf [--text docs/*.md] [--chunks 1 4 16 64]

Two models write a given text in turn, in chunks of a number of tokens; each continues in the spelling of its own tokenizer. The surplus
is the number of tokens in a role's prefix beyond those of the whole text, in per cent: `apart` if every piece is encoded alone, `joined`
as a chain does it. `again` is the number of tokens before the boundary that a hand-over changed.
Each tokenizer is a folder, a tokenizer.json, a GGUF file or `bundled`.
"""

import argparse
import itertools
import statistics
from pathlib import Path

from rich.console import Console
from rich.table import Table

from speculative.chain.context import View
from speculative.engines.base import UnfinishedCharacter
from speculative.engines.tokenizers import loader
from speculative.problem import Problem
from speculative.trace.state import Piece

BUNDLED = Path(loader.__file__).parents[2] / "bundled"
SIZE = 6000
"""Characters that are taken of each text."""


class Reader:
    """Holds the attributes of an engine that a role's context reads."""

    def __init__(self, name, tokenizer):
        self.name, self.tokenizer, self.dialect = name, tokenizer, loader.dialect_of(tokenizer)


def opened(source):
    path = BUNDLED / "big" / "tokenizer.json" if source == "bundled" else loader.find(source)
    return Reader("bundled" if source == "bundled" else Path(source).stem, loader.read(path))


def written(text, writers, chunk):
    """The text as pieces of the writers in turn."""
    pieces, place, turns = [], 0, itertools.cycle(writers)
    while place < len(text):
        writer = next(turns)
        ids, to_bytes = writer.tokenizer.encode(text[place : place + 40 * chunk + 40]), writer.tokenizer.to_bytes
        size = next(size for size in range(chunk, len(ids) + chunk + 1) if not UnfinishedCharacter.trailing(to_bytes(ids[:size])))
        said = to_bytes(ids[:size]).decode()
        pieces.append(Piece(writer.name, said, tuple(ids[:size]), size, "thinking"))
        place += len(said)
    return pieces


def measure(text, writers, reader, chunk):
    """Surplus apart and joined, in tokens, the tokens of the whole text, and tokens that changed at a boundary."""
    pieces = written(text, writers, chunk)
    apart = sum(len(piece.ids if piece.author == reader.name else reader.tokenizer.encode(piece.text)) for piece in pieces)
    view, before, again, boundaries = View("big", reader, Problem.of("?"), frozenset({reader.name}), {}), [], 0, 0
    start = len(view.prefix(()))
    for size, piece in enumerate(pieces, 1):
        if piece.author == reader.name and size > 1:  # the prefix that this role's call gives to its engine
            now = view.prefix(pieces[: size - 1])
            again += len(before) - next((i for i, pair in enumerate(zip(before, now, strict=False)) if pair[0] != pair[1]), len(before))
            before, boundaries = view.prefix(pieces[:size]).copy(), boundaries + 1
    whole = len(reader.tokenizer.encode(text))
    assert view.tokenizer.to_bytes(view.prefix(pieces)[start:]) == text.encode(), "the text never changes"
    return apart - whole, len(view.prefix(pieces)) - start - whole, whole, again / max(1, boundaries)


def main(given):
    readers = [opened(source) for source in given.tokenizers]
    texts = [path.read_text()[:SIZE].strip() for path in given.text]
    table = Table("pair", "read by", "chunk", "apart %", "joined %", "kept of it", "again")
    for pair in itertools.combinations(readers, 2):
        for reader in pair:
            for chunk in given.chunks:
                rows = [measure(text, pair, reader, chunk) for text in texts]
                apart, joined, whole = (sum(row[i] for row in rows) for i in range(3))
                again = statistics.mean(row[3] for row in rows)
                shares = (f"{100 * apart / whole:.1f}", f"{100 * joined / whole:.1f}", f"{joined / apart:.2f}" if apart else "-")
                table.add_row(" + ".join(one.name for one in pair), reader.name, str(chunk), *shares, f"{again:.1f}")
    Console(width=120).print(table)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tokenizers", nargs="+")
    parser.add_argument("--text", type=Path, nargs="+", default=sorted(Path(__file__).parents[1].joinpath("docs").glob("*.md")))
    parser.add_argument("--chunks", type=int, nargs="+", default=[1, 4, 16, 64])
    main(parser.parse_args())
