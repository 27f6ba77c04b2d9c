"""Make the second pair from nothing: tokenizer, small, its slips, big, the asking model, the reward model.

    python -m training.tunnel.make --out build/tunnel/pair

Every stage is fixed by its seed and number of steps, and is skipped when its result is there: run the command again and it
goes on. With `--together` small's line of stages and big run side by side, as a GPU can: big then waits for small's slips where
it first needs them. The reward model comes last: it begins as the lowest layers of big.
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

from training.model import Model, Shape
from training.origin import OtherOriginError
from training.tunnel import sampled, tokenizer
from training.tunnel.batches import BLOCK, REHEARSAL
from training.tunnel.documents import BIG_DIET, SMALL_DIET
from training.tunnel.export import export, export_problems, export_reward
from training.tunnel.plans import BIG, REWARD, REWARD_DIET, SMALL, Freeze, lower, take
from training.tunnel.problems import LADDERS, THIRD, Ladder
from training.tunnel.tokenizer import SIZE
from training.tunnel.train import Plan, train

BIG_PLAN = Plan(
    "big", BIG, BIG_DIET, 60, 18 * BLOCK, wide=2, watches=True, matrix_rate=0.012, end=Freeze(0.80, 0.92), end_from=0.3, end_every=4
)
PLANS: Mapping[str, Plan] = {
    plan.name: plan
    for plan in (
        Plan("small", SMALL, SMALL_DIET, 60, 16 * BLOCK, end=Freeze(0.40, 0.48), end_from=0.2, end_every=4, makers=12),
        BIG_PLAN,
        replace(BIG_PLAN, name="rival"),
        Plan("asking", SMALL, None, 2, BLOCK, flat=0.0, matrix_rate=0.004, other_rate=6e-4, makers=4),
        Plan("reward", REWARD, REWARD_DIET, 30, BLOCK, reward=True, matrix_rate=0.008, other_rate=1.2e-3, makers=8),
    )
}


def rehearsal(plan: Plan) -> Plan:
    """The same for a model that is too small to learn anything."""
    shape = Shape(64, 3 if plan.watches else 2, 64, 1, 1, SIZE)
    end = plan.end and Freeze(0.4, 0.8, 6, longest=100)
    return replace(plan, shape=shape, blocks=2, tokens=1024, wide=1, ripe=BLOCK, end=end, end_from=0.0, end_every=1, makers=1)


if REHEARSAL:
    PLANS = {name: rehearsal(plan) for name, plan in PLANS.items()}
LATE = 75
"""The exit status of what ran out of time; the same command goes on."""
FIRST = ("problems", "tokenizer")
LINES = (("small", "slips", "hard", "asking"), ("big",))
LAST = ("big", "reward")
STAGES = (*FIRST, "small", "slips", "big", "rival", "hard", "asking", "reward")
DEFAULT = tuple(stage for stage in STAGES if stage != "rival")


def on_ladder(plans: Mapping[str, Plan], ladder: Ladder, work: Path) -> dict[str, Plan]:
    """The plans for one ladder, with their looks written down in a work folder."""
    found: dict[str, Plan] = {}
    for name, plan in plans.items():
        end = replace(plan.end, ladder=ladder, log=work / f"{name}.freezing.jsonl") if isinstance(plan.end, Freeze) else plan.end
        found[name] = replace(plan, ladder=ladder, end=end)
    return found


def make(
    out: Path,
    work: Path,
    seed: int,
    stages: Sequence[str] = DEFAULT,
    plans: Mapping[str, Plan] = PLANS,
    numbers: int = 24 if REHEARSAL else sampled.NUMBERS,
    ladder: Ladder = THIRD,
) -> None:
    """Run stages. Raises `OtherOriginError` before it would go on from what was made of something else."""
    work.mkdir(parents=True, exist_ok=True)
    plans = on_ladder(plans, ladder, work)
    token_file, slips, hard = work / "tokenizer.json", work / "slips.jsonl", work / "hard.jsonl"
    if not token_file.exists():
        tokenizer.train(seed, 200 if REHEARSAL else 3000, ladder).save(str(token_file))
    tokens = Tokenizer.from_file(str(token_file))

    def small() -> Model:
        return take(train(plans["small"], tokens, work, seed), [plans["small"].end])

    def big() -> Model:
        return take(train(plans["big"], tokens, work, seed, slips), [plans["big"].end, plans["rival"].end])

    for stage in stages:
        match stage:
            case "problems":
                export_problems(out, ladder)
            case "small":
                export(small(), tokens, out / "small")
            case "slips":
                if not slips.exists():
                    sampled.collect(small().eval(), tokens, slips, numbers, seed, ladder)
            case "big":
                export(big(), tokens, out / "big")
            case "rival":  # another big, of another seed; `big` takes the better one
                train(plans["rival"], tokens, work, seed + 1, slips)
            case "hard":
                if not hard.exists():
                    sampled.measure(small().eval(), tokens, hard, numbers, seed, ladder)
            case "asking":
                export(train(plans["asking"], tokens, work, seed, hard=hard, begin=small()), tokens, out / "asking")
            case "reward":
                plan = plans["reward"]
                export_reward(train(plan, tokens, work, seed, slips, begin=lower(big(), plan.shape)), tokens, out / "reward")
            case _:  # the tokenizer is there by now
                pass


def run_together(commands: Sequence[Sequence[str]], devices: Sequence[str] = (), until: float | None = None) -> int:
    """Run commands side by side, each on its device of CUDA if told. Returns 0, or the exit status of the first that failed,
    once the others were ended; `LATE` if the clock (`time.monotonic`) was at `until` before.
    """
    places = [{"CUDA_VISIBLE_DEVICES": device} for device in devices] or [{}] * len(commands)
    running = [subprocess.Popen(command, env={**os.environ, **place}) for command, place in zip(commands, places, strict=True)]
    try:
        while None in (ends := [process.poll() for process in running]) and not any(ends):
            if until is not None and time.monotonic() >= until:
                return LATE
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
    parser.add_argument("--stages", nargs="+", choices=STAGES, default=list(DEFAULT))
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
    parser.add_argument("--ladder", choices=list(LADDERS), default=THIRD.name, help="how hard the problems are")
    options = parser.parse_args()
    ladder = LADDERS[options.ladder]
    torch.set_num_threads(options.threads)
    work = options.work / f"seed-{options.seed}"
    plans = {name: replace(plan, tokens=options.tokens) for name, plan in PLANS.items()} if options.tokens else PLANS
    try:
        for name, seconds in times(options.seconds).items():
            work.mkdir(parents=True, exist_ok=True)
            (work / f"{name}.seconds").write_text(f"{seconds}\n")
        if not options.together:
            make(options.out, work, options.seed, options.stages, plans, ladder=ladder)
            return
        make(options.out, work, options.seed, FIRST, ladder=ladder)
        same = ["--out", str(options.out), "--work", str(options.work), "--seed", str(options.seed), "--threads", str(options.threads)]
        same += ["--tokens", str(options.tokens), "--ladder", ladder.name]
        commands = [[sys.executable, "-m", "training.tunnel.make", *same, "--stages", *line] for line in LINES]
        # big has the last device for itself, if there are several
        several = torch.cuda.device_count() > 1
        status = run_together(commands, [str(int("big" in line)) for line in LINES] if several else ())
        if not status:
            make(options.out, work, options.seed, LAST, plans, ladder=ladder)
    except OtherOriginError as error:
        raise SystemExit(f"make: {error}") from None
    except KeyboardInterrupt:
        raise SystemExit(f"interrupted; the same command goes on from what is in {work}") from None
    if status:
        raise SystemExit(f"make: a line of stages ended with status {status}; the same command goes on from what is in {work}")


if __name__ == "__main__":
    main()
