"""Make the second pair from nothing: tokenizer, small, its slips, big, the asking model, the reward model.

    python -m training.tunnel.make --out build/tunnel/pair

Every stage is fixed by its seed and number of steps, and is skipped when its result is there: run the command again and it
goes on. With `--together` the lines of stages run side by side, as a GPU can: big and the reward model then wait for small's
slips where they first need them.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from tokenizers import Tokenizer

from training.model import Model
from training.origin import OtherOriginError
from training.tunnel import sampled, tokenizer
from training.tunnel.batches import BLOCK, NARROW
from training.tunnel.documents import BIG_DIET, SMALL_DIET
from training.tunnel.export import export, export_problems
from training.tunnel.plans import BIG, REWARD, REWARD_DIET, SMALL, Freeze
from training.tunnel.train import Plan, train

PLANS: Mapping[str, Plan] = {
    plan.name: plan
    for plan in (
        Plan("small", SMALL, SMALL_DIET, 36, 8 * BLOCK, 30 * BLOCK, NARROW, end=Freeze(0.45), end_from=4 * BLOCK, makers=6),
        Plan("big", BIG, BIG_DIET, 36, 20 * BLOCK, 30 * BLOCK, watches=True, matrix_rate=0.01),
        Plan("asking", SMALL, None, 1, BLOCK, BLOCK, NARROW, matrix_rate=0.004, other_rate=6e-4, makers=4),
        Plan("reward", REWARD, REWARD_DIET, 6, BLOCK, 5 * BLOCK, NARROW, reward=True, makers=4),
    )
}
FIRST = ("problems", "tokenizer")
LINES = (("small", "slips", "hard", "asking"), ("big",), ("reward",))
STAGES = (*FIRST, "small", "slips", "big", "hard", "asking", "reward")


def make(
    out: Path, work: Path, seed: int, stages: Sequence[str] = STAGES, plans: Mapping[str, Plan] = PLANS, numbers: int = sampled.NUMBERS
) -> None:
    """Run stages. Raises `OtherOriginError` before it would go on from what was made of something else."""
    work.mkdir(parents=True, exist_ok=True)
    small = plans["small"]
    if isinstance(small.end, Freeze):
        plans = {**plans, "small": replace(small, end=Freeze(small.end.share, str(work / "small.freezing.jsonl")))}
    token_file, slips, hard = work / "tokenizer.json", work / "slips.jsonl", work / "hard.jsonl"
    if not token_file.exists():
        tokenizer.train(seed).save(str(token_file))
    tokens = Tokenizer.from_file(str(token_file))

    def finished_small() -> Model:
        return train(plans["small"], tokens, work, seed)

    for stage in stages:
        match stage:
            case "problems":
                export_problems(out)
            case "small":
                export(finished_small(), tokens, out / "small")
            case "slips":
                if not slips.exists():
                    sampled.collect(finished_small().eval(), tokens, slips, numbers, seed)
            case "big":
                export(train(plans["big"], tokens, work, seed, slips), tokens, out / "big")
            case "hard":
                if not hard.exists():
                    sampled.measure(finished_small().eval(), tokens, hard, numbers, seed)
            case "asking":
                export(train(plans["asking"], tokens, work, seed, hard=hard, begin=finished_small()), tokens, out / "asking")
            case "reward":
                export(train(plans["reward"], tokens, work, seed, slips), tokens, out / "reward")
            case _:  # the tokenizer is there by now
                pass


def run_together(commands: Sequence[Sequence[str]]) -> int:
    """Run commands side by side. Returns 0, or the exit status of the first that failed, once the others were ended."""
    running = [subprocess.Popen(command) for command in commands]
    try:
        while None in (ends := [process.poll() for process in running]) and not any(ends):
            time.sleep(0.2)
        return next((process.returncode for process in running if process.returncode), 0)
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("build/tunnel/pair"), help="where the models go")
    parser.add_argument("--work", type=Path, default=Path("build/tunnel"), help="checkpoints and logs, by seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--together", action="store_true", help="run lines of stages side by side")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    work = options.work / f"seed-{options.seed}"
    try:
        if not options.together:
            make(options.out, work, options.seed, options.stages)
            return
        make(options.out, work, options.seed, FIRST)
        same = ["--out", str(options.out), "--work", str(options.work), "--seed", str(options.seed), "--threads", str(options.threads)]
        status = run_together([[sys.executable, "-m", "training.tunnel.make", *same, "--stages", *line] for line in LINES])
    except OtherOriginError as error:
        raise SystemExit(f"make: {error}") from None
    except KeyboardInterrupt:
        raise SystemExit(f"interrupted; the same command goes on from what is in {work}") from None
    if status:
        raise SystemExit(f"make: a line of stages ended with status {status}; the same command goes on from what is in {work}")


if __name__ == "__main__":
    main()
