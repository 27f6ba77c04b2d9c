"""Where to freeze the small model: its accuracy on the tuning problems along its whole schedule.

python -m training.freezing [--work build/freezing]
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

from training import tokenizer
from training.decode import write
from training.make import PLANS
from training.model import Model
from training.reading import boxed
from training.stories import held_out
from training.train import train
from training.writer import prompt


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("build/freezing"), help="checkpoints and logs")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    tokens = tokenizer.train(options.seed)
    stories = held_out("tuning")

    def tell(step: int, model: Model) -> None:
        model.eval()
        written = write(model, tokens, [prompt(s.problem) for s in stories])
        right = sum(boxed(tokens.decode(ids)) == s.answer for ids, s in zip(written, stories, strict=True))
        print(f"step {step}: {100 * right / len(stories):.1f} %")
        model.train()

    plan = PLANS[0]
    train(replace(plan, last=plan.steps), tokens, options.work, options.seed, kept=tell)


if __name__ == "__main__":
    main()
