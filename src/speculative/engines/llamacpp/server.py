"""Runs llama.cpp's server out of the package xllamacpp until Ctrl-C or SIGTERM.

    PYTHON server.py --model model.gguf --port 8811

It is a program of its own and takes those flags of the program `llama-server` that are listed below, with the same meaning.
"""

from __future__ import annotations

import argparse
import signal
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

FLASH = {"off": 0, "on": 1, "auto": -1}


def main() -> None:
    """Serves the model and waits for a signal to end."""
    parser = flags()
    chosen = parser.parse_args()
    if not chosen.model.is_file():
        parser.exit(1, f"the model {chosen.model} must be a GGUF file, and there is no such file\n")
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})  # for the server's threads too: we wait for them
    xllamacpp: Any = import_module("xllamacpp")
    try:
        server = xllamacpp.Server(settings(xllamacpp, chosen))
    except RuntimeError as error:
        parser.exit(1, f"{chosen.model} cannot be served on port {chosen.port}: {error}; the lines above may say why\n")
    sys.stdout.write(f"listening on {server.listening_address}\n")
    sys.stdout.flush()
    signal.sigwait({signal.SIGINT, signal.SIGTERM})
    del server


def flags() -> argparse.ArgumentParser:
    """Returns the parser of the flags that this program takes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, prog="llama.cpp's server"
    )
    parser.add_argument("-m", "--model", type=Path, required=True)
    parser.add_argument("-a", "--alias", help="the name of the model")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--api-key", action="append", default=[], help="a key that requests must carry")
    parser.add_argument("-c", "--ctx-size", type=int, default=0, help="positions, which the slots share; 0: what the model has")
    parser.add_argument("-np", "--parallel", type=int, default=1, help="slots: texts that are written side by side")
    parser.add_argument("-t", "--threads", type=int)
    parser.add_argument("-tb", "--threads-batch", type=int)
    parser.add_argument("-b", "--batch-size", type=int)
    parser.add_argument("-ub", "--ubatch-size", type=int)
    parser.add_argument("-ngl", "--n-gpu-layers", type=int, help="layers on the GPU; -1: as many as fit")
    parser.add_argument("-mg", "--main-gpu", type=int)
    parser.add_argument("-fa", "--flash-attn", choices=sorted(FLASH))
    parser.add_argument("-ctk", "--cache-type-k", help="the type of cached keys, as f16, f32 or q8_0")
    parser.add_argument("-ctv", "--cache-type-v", help="the type of cached values")
    parser.add_argument("--fit", choices=["on", "off"], help="whether unset sizes are fitted to the memory")
    parser.add_argument("--swa-full", action="store_true", help="keep the whole cache of sliding windows")
    parser.add_argument("--kv-unified", action="store_true", help="one buffer of keys and values for all slots")
    parser.add_argument("--cache-ram", type=int, help="MiB of memory for prompts that have left their slot")
    parser.add_argument("--metrics", action="store_true")
    return parser


def settings(xllamacpp: Any, chosen: argparse.Namespace) -> Any:
    """Converts the flags to the package's parameters."""
    params = xllamacpp.CommonParams()
    params.model.path = str(chosen.model)
    params.model_alias = {chosen.alias or chosen.model.stem}
    params.hostnames = [chosen.host]
    params.api_keys = chosen.api_key
    params.endpoint_metrics = chosen.metrics
    params.swa_full, params.kv_unified = chosen.swa_full, chosen.kv_unified
    plain = {
        "port": chosen.port,
        "n_ctx": chosen.ctx_size,
        "n_parallel": chosen.parallel,
        "n_batch": chosen.batch_size,
        "n_ubatch": chosen.ubatch_size,
        "n_gpu_layers": chosen.n_gpu_layers,
        "main_gpu": chosen.main_gpu,
        "cache_ram_mib": chosen.cache_ram,
    }
    for name, value in plain.items():
        if value is not None:
            setattr(params, name, value)
    if chosen.threads is not None:
        params.cpuparams.n_threads = chosen.threads
    if (threads := chosen.threads_batch or chosen.threads) is not None:
        params.cpuparams_batch.n_threads = threads
    if chosen.flash_attn is not None:
        params.flash_attn_type = xllamacpp.llama_flash_attn_type(FLASH[chosen.flash_attn])
    if chosen.fit is not None:
        params.fit_params = chosen.fit == "on"
    for name in ("cache_type_k", "cache_type_v"):
        if (kind := getattr(chosen, name)) is not None:
            setattr(params, name, xllamacpp.ggml_type[f"GGML_TYPE_{kind.upper()}"])
    return params


if __name__ == "__main__":
    main()
