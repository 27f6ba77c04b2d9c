"""Make the second pair from nothing: tokenizer, small, its slips, big, the asking model, the reward model.

    python -m training.tunnel.make --out build/tunnel/pair

Every stage is fixed by its seed and number of steps, and is skipped when its result is there: run the command again and it
goes on. With `--together` the lines of stages run side by side, as a GPU can: big and the reward model then wait for small's
slips where they first need them.
"""

from __future__ import annotations

import argparse
import os
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
from training.tunnel.batches import BLOCK
from training.tunnel.documents import BIG_DIET, SMALL_DIET
from training.tunnel.export import export, export_problems, export_reward
from training.tunnel.plans import BIG, REWARD, REWARD_DIET, SMALL, Freeze
from training.tunnel.train import Plan, train

PLANS: Mapping[str, Plan] = {
    plan.name: plan
    for plan in (
        Plan("small", SMALL, SMALL_DIET, 60, 16 * BLOCK, end=Freeze(0.44), end_from=0.3, end_every=4, makers=12),
        Plan("big", BIG, BIG_DIET, 60, 24 * BLOCK, wide=2, watches=True, matrix_rate=0.012),
        Plan("asking", SMALL, None, 2, BLOCK, flat=0.0, matrix_rate=0.004, other_rate=6e-4, makers=4),
        Plan("reward", REWARD, REWARD_DIET, 30, BLOCK, reward=True, makers=6),
    )
}
FIRST = ("problems", "tokenizer")
LINES = (("small", "slips", "hard", "asking"), ("big",), ("reward",))
STAGES = (*FIRST, "small", "slips", "big", "hard", "asking", "reward")


def make(
    out: Path, work: Path, seed: int, stages: Sequence[str] = STAGES, plans: Mapping[str, Plan] = PLANS, numbers: int = sampled.NUMBERS,
) -> None:  # fmt: skip
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
                export_reward(train(plans["reward"], tokens, work, seed, slips), tokens, out / "reward")
            case _:  # the tokenizer is there by now
                pass


def run_together(commands: Sequence[Sequence[str]], devices: Sequence[str] = ()) -> int:
    """Run commands side by side, each on its device of CUDA if told. Returns 0, or the exit status of the first that failed,
    once the others were ended.
    """
    places = [{"CUDA_VISIBLE_DEVICES": device} for device in devices] or [{}] * len(commands)
    running = [subprocess.Popen(command, env={**os.environ, **place}) for command, place in zip(commands, places, strict=True)]
    try:
        while None in (ends := [process.poll() for process in running]) and not any(ends):
            time.sleep(0.2)
        return next((process.returncode for process in running if process.returncode), 0)
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait()


def times(given: Sequence[str]) -> dict[str, int]:
    """Read `MODEL=N`. Raises `SystemExit` where it is something else."""
    found: dict[str, int] = {}
    for text in given:
        name, _, seconds = text.partition("=")
        if name not in PLANS or not seconds.isdecimal():
            raise SystemExit(f"make: --seconds must be MODEL=N with a model of {', '.join(PLANS)}, got {text}")
        found[name] = int(seconds)
    return found


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("build/tunnel/pair"), help="where the models go")
    parser.add_argument("--work", type=Path, default=Path("build/tunnel"), help="checkpoints and logs, by seed")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(STAGES))
    parser.add_argument("--together", action="store_true", help="run lines of stages side by side")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads(), help="CPU threads")
    parser.add_argument(
        "--tokens",
        type=int,
        default=0,
        metavar="N",
        help="tokens of a step; big takes twice as many [default: 4096 on a CPU, 32768 on a GPU]",
    )
    parser.add_argument("--seconds", action="append", default=[], metavar="MODEL=N",
                        help="train a model so long, whatever the steps (written to MODEL.seconds, which may be changed)")  # fmt: skip
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    work = options.work / f"seed-{options.seed}"
    plans = {name: replace(plan, tokens=options.tokens) for name, plan in PLANS.items()} if options.tokens else PLANS
    try:
        for name, seconds in times(options.seconds).items():
            work.mkdir(parents=True, exist_ok=True)
            (work / f"{name}.seconds").write_text(f"{seconds}\n")
        if not options.together:
            make(options.out, work, options.seed, options.stages, plans)
            return
        make(options.out, work, options.seed, FIRST)
        same = ["--out", str(options.out), "--work", str(options.work), "--seed", str(options.seed), "--threads", str(options.threads)]
        same += ["--tokens", str(options.tokens)]
        commands = [[sys.executable, "-m", "training.tunnel.make", *same, "--stages", *line] for line in LINES]
        # big has the last device for itself, if there are several
        several = torch.cuda.device_count() > 1
        status = run_together(commands, [str(int("big" in line)) for line in LINES] if several else ())
    except OtherOriginError as error:
        raise SystemExit(f"make: {error}") from None
    except KeyboardInterrupt:
        raise SystemExit(f"interrupted; the same command goes on from what is in {work}") from None
    if status:
        raise SystemExit(f"make: a line of stages ended with status {status}; the same command goes on from what is in {work}")


if __name__ == "__main__":
    main()
