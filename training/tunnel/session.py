"""Make, measure and pack a pair within some time. Where the time ends first, the same command goes on.

    python -m training.tunnel.session --within 570 --more 570 --work build/tunnel --pack packed
    python -m training.tunnel.session --within 570 --work build/tunnel --pack packed

`--more` tells how many seconds a later call will have: the rates of the trainings then fall over both. Without it this call is the
last one: it ends the trainings, however far they are, in time for the reward model, the measurement and the packing. With the
variable TUNNEL_REHEARSAL set, all is too small and too short to learn anything.
"""

from __future__ import annotations

import argparse
import json
import lzma
import subprocess
import sys
import tarfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from training.tunnel.batches import BLOCK, REHEARSAL
from training.tunnel.make import FIRST, LATE, LINES, PLANS, make, on_ladder, run_together
from training.tunnel.plans import Freeze
from training.tunnel.problems import LADDERS, THIRD

SETUP = 40  # seconds until a training begins
BEFORE_RIVAL = 260  # seconds of small and all that is made of it
REWARD, MEASURE, PACK = 150, 120, 15  # seconds that are kept for the ends
SMALL = 150
REWARD_TRAINING = 100  # of its seconds: the rest is starting, compiling and exporting
if REHEARSAL:
    MEASURE = 200  # on a CPU


class Session:
    """One call."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.until = time.monotonic() + options.within
        self.last = not options.more
        self.out, self.work = options.work / "pair", options.work / f"seed-{options.seed}"
        self.several = torch.cuda.device_count() > 1
        self.ends = on_ladder(PLANS, LADDERS[options.ladder], self.work)

    def command(self, *stages: str) -> list[str]:
        """The command of some stages."""
        options = self.options
        where = ["--out", str(self.out), "--work", str(options.work), "--seed", str(options.seed), "--ladder", options.ladder]
        return [sys.executable, "-m", "training.tunnel.make", *where, "--threads", str(options.threads), "--stages", *stages]

    def plan_times(self) -> None:
        """Tell every training how long it has, this call and the next one."""
        if REHEARSAL:
            return
        ends = REWARD + MEASURE + PACK
        whole = self.options.within + self.options.more - ends - SETUP * (1 + bool(self.options.more))
        before = 0 if (self.work / "asking.pt").exists() else BEFORE_RIVAL
        for name, more in (("small", SMALL), ("reward", REWARD_TRAINING), ("big", whole), ("rival", whole - before)):
            path = self.work / f"{name}.pt"
            done = torch.load(path, map_location="cpu", weights_only=True)["seconds"] if path.exists() else 0.0
            length = more if name in ("small", "reward") else done + more
            (self.work / f"{name}.seconds").write_text(f"{max(1, round(length))}\n")

    def train(self) -> bool:
        """Run the lines of stages side by side. Returns whether they came to their ends."""
        line, big = LINES
        lines = [(*line, "rival"), big] if self.several or REHEARSAL else [line, big]
        until = self.until - (REWARD + MEASURE + PACK if self.last else PACK)
        devices = [str(int("big" in line)) for line in lines] if self.several else ()
        status = run_together([self.command(*line) for line in lines], devices, until)
        if status not in (0, LATE):
            raise SystemExit(f"session: a line of stages ended with status {status}; the same command goes on from what is in {self.work}")
        return not status

    def stop_trainings(self) -> None:
        """Count trainings that are under way as finished where they are."""
        for name in ("big", "rival"):
            path = self.work / f"{name}.pt"
            if path.exists():
                step = torch.load(path, map_location="cpu", weights_only=True)["step"]
                (self.work / f"{name}.seconds").unlink(missing_ok=True)
                (self.work / f"{name}.blocks").write_text(f"{step // BLOCK}\n")

    def finish(self) -> None:
        """Take the best big, make the reward model of it, and measure."""
        status = run_together([self.command("big", "reward")], until=self.until - MEASURE - PACK)
        print(f"session: reward {'ended' if not status else f'did not end ({status})'}", flush=True)
        measuring = [sys.executable, "-m", "training.tunnel.measure", "--pair", str(self.out), "--ladder", self.options.ladder]
        measuring += ["--json", str(self.work / "figures.json"), "--chains", str(self.work / "chains.jsonl"), *self.options.measure]
        try:
            subprocess.run(measuring, timeout=max(1.0, self.until - PACK - time.monotonic()), check=False)
        except subprocess.TimeoutExpired:
            print("session: the measurement was ended early", flush=True)

    def pack(self) -> list[Path]:
        """Put what is there into eight files: models, one other look at big, figures, chains, and the rest."""
        folder: Path = self.options.pack
        folder.mkdir(parents=True, exist_ok=True)
        ends = [self.ends[name].end for name in ("big", "rival")]
        looks = sorted(look for end in ends if isinstance(end, Freeze) for look in end.ranked())
        models = {name: self.out / name / "model.safetensors" for name in ("big", "small", "asking", "reward")}
        spare = next((look.weights for look in looks[(1 if self.last else 0) :]), None)
        found = {f"{name}.safetensors": path for name, path in (*models.items(), ("spare", spare)) if path and path.exists()}
        found["figures.json"] = self.work / "figures.json"
        for name, path in found.items():
            if path.exists():
                (folder / name).write_bytes(path.read_bytes())
        chains = self.work / "chains.jsonl"
        if chains.exists():
            (folder / "chains.jsonl.xz").write_bytes(lzma.compress(chains.read_bytes(), preset=6))
        with tarfile.open(folder / "rest.tar.xz", "w:xz") as rest:
            kinds = ("*.jsonl", "*.json", "*.blocks", "*.seconds")
            some = {
                path for kind in kinds for path in self.work.glob(kind) if path.name not in ("hard.jsonl", "slips.jsonl", "chains.jsonl")
            }
            for path in (*sorted(some), *sorted(self.out.glob("*.jsonl")), *sorted(self.out.glob("*/config.json"))):
                rest.add(path, path.relative_to(self.options.work))
        return sorted(folder.iterdir())

    def run(self) -> int:
        """Do as much as there is time for. Returns 0 once all is done, `LATE` before."""
        self.work.mkdir(parents=True, exist_ok=True)
        make(self.out, self.work, self.options.seed, FIRST, ladder=LADDERS[self.options.ladder])
        self.plan_times()
        ended = self.train()
        if self.last:
            if not ended:
                self.stop_trainings()
            self.finish()
        for path in self.pack():
            print(f"session: {path} {path.stat().st_size / 1e6:.1f} MB", flush=True)
        best = [json.loads(line) for name in ("big", "rival") for line in self.looks(name)]
        print(f"session: looks at big {json.dumps(best)}", flush=True)
        return 0 if self.last else LATE

    def looks(self, name: str) -> list[str]:
        """The lines of a model's log of looks."""
        path = self.work / f"{name}.freezing.jsonl"
        return path.read_text().splitlines() if path.exists() else []


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--within", type=float, required=True, help="seconds of this call")
    parser.add_argument("--more", type=float, default=0, help="seconds of the call that goes on")
    parser.add_argument("--work", type=Path, default=Path("build/tunnel"))
    parser.add_argument("--pack", type=Path, default=Path("build/tunnel/packed"), help="where the results go")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ladder", choices=list(LADDERS), default=THIRD.name)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--measure", nargs=argparse.REMAINDER, default=[], help="more arguments of the measurement; the last flag")
    return parser.parse_args(arguments)


def main() -> None:
    """Run one call."""
    raise SystemExit(Session(parse()).run())


if __name__ == "__main__":
    main()
