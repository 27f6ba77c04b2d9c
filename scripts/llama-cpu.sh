#!/usr/bin/env bash
# Builds a virtual environment with llama.cpp's own server (out of the package xllamacpp), or keeps the one that is there. Prints its Python.
#
#   LLAMA_CPU=~/llama-cpu scripts/llama-cpu.sh
#
# About half a minute and 200 MB. scripts/gguf_file.py and scripts/llama_server.py run in it.
set -euo pipefail

VERSION=2026.10.11549
HOME_OF_IT=${LLAMA_CPU:-$HOME/.cache/speculative/llama-cpu}
PYTHON=$HOME_OF_IT/bin/python
MARK=$HOME_OF_IT/built-$VERSION

if [[ ! -e $MARK ]]; then
    "${BASE_PYTHON:-python3}" -m venv "$HOME_OF_IT" >&2
    # gguf and msgspec are for the files that the server loads.
    "$PYTHON" -m pip install --quiet --only-binary :all: "xllamacpp==$VERSION" gguf==0.19.0 msgspec==0.22.0 >&2
    touch "$MARK"
fi
echo "$PYTHON"
