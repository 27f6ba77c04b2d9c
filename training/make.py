"""Make the bundled pair from nothing: problems, tokenizer, small, its slips, big, export, evaluation.

    python -m training.make --out src/speculative/bundled

Every stage is fixed by its seed and number of steps, and is skipped when its result is there: run the command again and
it goes on. A result that was made of something else (another plan, other documents) is never used: the command says so and ends.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from training import sampled, tokenizer
from training.batches import CHUNK
from training.documents import BIG_DIET, SMALL_DIET
from training.evaluate import evaluate, table
from training.export import export, export_problems
from training.freezing import Freeze
from training.model import BIG, SMALL
from training.origin import OtherOriginError, claim, digest
from training.train import Plan, train

# The small model is frozen where it is about half right; that is the point of the pair. Between two checkpoints it gains up to 0.05.
HALF = Freeze(0.48, first=1024)
PLANS = (
    Plan("small", SMALL, SMALL_DIET, steps=2560, wide=4, keep_every=2 * CHUNK, freeze=HALF),
    Plan("big", BIG, BIG_DIET, steps=3072, wide=8),
)


def make(out: Path, work: Path, seed: int, plans: tuple[Plan, Plan] = PLANS, stories: int = sampled.STORIES) -> None:
    """Run the stages. Raises `OtherOriginError` before it would go on from what was made of something else."""
    export_problems(out)
    tokens = tokenizer.train(seed)
    small = train(plans[0], tokens, work, seed)
    export(small, tokens, out / "small")
    slips = work / "slips.jsonl"
    weights = digest(*(weight.cpu().numpy().tobytes() for weight in small.state_dict().values()))
    if not claim(slips, {"small": weights, "seed": seed, "stories": stories, "temperature": sampled.TEMPERATURE}):
        sampled.save(sampled.collect(small.eval(), tokens, seed, stories), slips)
    big = train(plans[1], tokens, work, seed, sampled.load(slips))
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
    except OtherOriginError as error:
        raise SystemExit(f"make: {error}") from None
    except KeyboardInterrupt:
        raise SystemExit(f"interrupted; the same command goes on from what is in {work}") from None
    (work / "figures.json").write_text(json.dumps(figures, indent=2) + "\n")
    print(table(figures))


if __name__ == "__main__":
    main()
