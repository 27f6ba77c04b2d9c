"""Runs llama.cpp's own server on a GGUF file, out of the package xllamacpp, which carries it. Ends with Ctrl-C or SIGTERM.

    PYTHON scripts/llama_server.py big.gguf --port 8811

Keys and values are kept in 32 bits, as the weights of scripts/gguf_file.py are: greedy text is to be the same.
"""

from __future__ import annotations

import argparse
import signal
from pathlib import Path

import xllamacpp

FLOAT32 = xllamacpp.ggml_type.GGML_TYPE_F32


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--context", type=int, default=8192, help="positions of each slot")
    parser.add_argument("--slots", type=int, default=4, help="texts that are written side by side")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--key", action="append", default=[], help="a key that calls have to bear")
    arguments = parser.parse_args()
    if not arguments.model.is_file():
        parser.error(f"{arguments.model}: there is no such file; scripts/gguf_file.py writes one")
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})  # for the server's threads too: we wait for them
    try:
        server = xllamacpp.Server(_settings(arguments))
    except RuntimeError as error:
        parser.exit(1, f"{arguments.model}, port {arguments.port}: {error} Is the port taken, or the file cut off?\n")
    print(f"listening on {server.listening_address}", flush=True)
    signal.sigwait({signal.SIGINT, signal.SIGTERM})
    del server


def _settings(arguments: argparse.Namespace) -> xllamacpp.CommonParams:
    settings = xllamacpp.CommonParams()
    settings.model.path = str(arguments.model)
    settings.model_alias = {arguments.model.stem}
    settings.port = arguments.port
    settings.n_parallel = arguments.slots
    settings.n_ctx = arguments.context * arguments.slots
    settings.fit_params = False
    settings.cache_type_k = settings.cache_type_v = FLOAT32
    settings.cpuparams.n_threads = settings.cpuparams_batch.n_threads = arguments.threads
    settings.endpoint_metrics = True
    settings.api_keys = arguments.key
    return settings


if __name__ == "__main__":
    main()
