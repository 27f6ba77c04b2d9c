"""The first library's service, with its flags: point its own client here (`--spec_service_path`, `service_script_path`).

    python scripts/spec_service.py --port 5000 --random_switch --big_model bundled:big --small_model bundled:small

The modes' flags are defaults for requests that leave them out. `POST /shutdown` is open to programs on this machine.
"""

import argparse
import sys

from speculative.engines.options import EngineOptions
from speculative.errors import SpeculativeError
from speculative.serve.server import pair_opener, serve
from speculative.settings import Settings
from speculative.splitreason.modes import MODES
from speculative.splitreason.service import SplitReasonService

NUMBERS = (
    "sgen",
    "stok",
    "sdecay",
    "ltok",
    "lbound",
    "max_iterations",
    "switch_chunk",
    "thinking_n_ignore",
    "drafting_n",
    "bloat_tokens",
    "sequential_scale",
)
SWITCHES = ("full_rewrite", "draft_propose_ignore_str", "small_first")
UNUSED = ("speculative_config", "gpu_memory_utilization", "max_model_len")
"""Flags of its token-level speculative decoding, which is the engine's own affair."""


def parser() -> argparse.ArgumentParser:
    """Every flag that the first service had."""
    made = argparse.ArgumentParser(description="The first library's service, with its flags.")
    made.add_argument("--host", default="127.0.0.1")
    made.add_argument("--port", "--service_port", type=int, default=5000)
    for role in ("big", "small"):
        made.add_argument(f"--{role}_model", default=f"bundled:{role}", help="an engine, as `speculative serve` takes it")
        made.add_argument(f"--{role}_model_port", type=int, help="where a server of this model answers or is started")
        made.add_argument(f"--{role}_model_gpus", help="which GPUs it is started on")
    for mode in MODES:
        made.add_argument(f"--{mode}", action="store_true", help="the mode of requests that name none")
    for name in NUMBERS:
        made.add_argument(f"--{name}", type=int)
    made.add_argument("--switch_ratio", type=float)
    for name in SWITCHES:
        made.add_argument(f"--{name}", action="store_true", default=None)
    made.add_argument("--max_tokens", type=int, default=16384)
    made.add_argument("--terminating_string")
    made.add_argument("--seed", type=int)
    for name in UNUSED:
        made.add_argument(f"--{name}", help=argparse.SUPPRESS)
    for name in ("test_logging", "terminate_on_exit", "enforce_eager"):
        made.add_argument(f"--{name}", action="store_true", help=argparse.SUPPRESS)
    made.add_argument("--no_auth", action="store_true", help="serve other machines without a key")
    return made


def main(argv: list[str]) -> int:
    """Serves until it is told to stop; says what to exit with."""
    flags = parser().parse_args(argv)
    defaults = {
        name: value
        for name in (*NUMBERS, *SWITCHES, "switch_ratio", "terminating_string", "seed")
        if (value := getattr(flags, name)) is not None
    }
    mode = next((mode for mode in MODES if getattr(flags, mode)), None)
    try:
        settings = Settings(
            host=flags.host,
            port=flags.port,
            big=flags.big_model,
            small=flags.small_model,
            no_auth=flags.no_auth,
            max_tokens=max(65536, flags.max_tokens),
            max_drafts=max(512, flags.sgen or 0, flags.drafting_n or 0),
        )
        engines = {
            role: EngineOptions(gpus=getattr(flags, f"{role}_model_gpus"), port=getattr(flags, f"{role}_model_port") or 0)
            for role in ("big", "small")
            if not getattr(flags, f"{role}_model").startswith("bundled:")  # these run in this process, without a port or a device
        }
        service = SplitReasonService(defaults, mode, flags.max_tokens, shutdown=True)
        serve(settings, pair_opener(settings, engines), extensions=[service.mount])
    except SpeculativeError as error:
        sys.stderr.write(f"spec_service.py: {error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
