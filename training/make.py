"""Make the bundled pair from nothing: problems, tokenizer, small, its slips, big, export, evaluation.

    python -m training.make --out src/speculative/bundled

Every stage is fixed by its seed and number of steps, and is skipped when its result is there: run the command again and
it goes on.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from tokenizers import Tokenizer

from training import sampled, tokenizer
from training.batches import CHUNK
from training.documents import BIG_DIET, SMALL_DIET
from training.evaluate import evaluate, table
from training.export import export, export_problems
from training.freezing import half_right
from training.model import BIG, SMALL
from training.train import Plan, train

PLANS = (
    Plan("small", SMALL, SMALL_DIET, steps=2560, wide=4, keep_every=2 * CHUNK),
    Plan("big", BIG, BIG_DIET, steps=3072, wide=8),
)


def make(out: Path, work: Path, seed: int) -> None:
    """Run the stages."""
    work.mkdir(parents=True, exist_ok=True)
    export_problems(out)
    vocabulary = work / "tokenizer.json"
    if not vocabulary.exists():
        part = work / ".tokenizer.part"
        tokenizer.train(seed).save(str(part))
        part.replace(vocabulary)
    tokens = Tokenizer.from_file(str(vocabulary))
    small_plan, big_plan = PLANS
    # The small model is frozen where it is about half right; that is the point of the pair.
    small = train(small_plan, tokens, work, seed, enough=half_right(tokens, work / "freezing.jsonl"))
    export(small, tokens, out / "small")
    slips = work / "slips.jsonl"
    if not slips.exists():
        sampled.save(sampled.collect(small.eval(), tokens, seed), slips)
    big = train(big_plan, tokens, work, seed, sampled.load(slips))
    export(big, tokens, out / "big")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("src/speculative/bundled"), help="where the pair goes")
    parser.add_argument("--work", type=Path, default=Path("build/training"), help="checkpoints, logs, figures, by seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    work = options.work / f"seed-{options.seed}"
    try:
        make(options.out, work, options.seed)
        figures = evaluate(options.out)
    except KeyboardInterrupt:
        raise SystemExit(f"interrupted; the same command goes on from what is in {work}") from None
    (work / "figures.json").write_text(json.dumps(figures, indent=2) + "\n")
    print(table(figures))


if __name__ == "__main__":
    main()
