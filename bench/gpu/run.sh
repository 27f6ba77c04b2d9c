#!/usr/bin/env bash
# Measures the table of docs/planner.md on a host with two GPUs, without network, in one command of less than ten minutes:
#
#   bash bench/gpu/run.sh CARRY [SECONDS]
#
# SECONDS is the length of the whole command, 585 unless given. The first one starts the servers, which takes up to 280 s; two more measure
# the rows in the order of their worth. Each row is written when it is measured.
#
# CARRY holds a/ and b/: archives of vLLM, of this project with its dependencies, and of model folders without weights (config.json and
# tokenizer.json of the published shapes). vLLM serves them with dummy weights: time does not depend on what weights say.
#
# Two servers of the 32B, one on each GPU, and one of the 1.5B beside the second under CUDA MPS. From these three the layouts a, c, f and
# e-mps are measured (LAYOUTS=c,a takes only some of them). Servers outlive this command. The same command again starts nothing and goes on
# with the rows that lack: OUT/table.jsonl.
#
# ACCEPTED=3.4 starts the first server anew with token speculation by the 1.5B, four tokens ahead. Weights decide nothing here, so vLLM keeps
# as many tokens as told, on average, with its own one. The rows of layout c-spec are then measured.
set -euo pipefail
carry=$1 limit=${2:-585}
here=$(cd "$(dirname "$0")" && pwd)
export G=${G:-$HOME/gpu-trial} OUT=${OUT:-$HOME/gpu-trial/out}
mkdir -p "$G"/{site,psite,log,cache,mps,mpslog} "$OUT"
read -r first second_big small <<<"${PORTS:-8132 8133 8101}"
say() { echo "== $* ($SECONDS s)"; }

unpack() { python3 -c "import sys,tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2], filter='fully_trusted')" "$1" "$2"; }
if [ ! -e "$G/unpacked" ]; then
    for archive in "$carry"/a/site-*.tar.xz; do unpack "$archive" "$G/site"; done
    unpack "$carry/b/psite.tar.xz" "$G/psite"
    unpack "$carry/a/models.tar.xz" "$G"
    touch "$G/unpacked"
    say unpacked
fi

health() { python3 - "$1" <<'P'
import sys, urllib.request
try: urllib.request.urlopen(f"http://127.0.0.1:{sys.argv[1]}/health", timeout=3)
except OSError: sys.exit(1)
P
}
serve() { # NAME PORT GPU SHARE KV_BYTES [FLAG...]: starts a server that outlives this shell, unless it runs
    health "$2" && return
    local name=$1 port=$2 gpu=$3 share=$4 cache=$5
    shift 5
    CUDA_VISIBLE_DEVICES=$gpu setsid nohup env PYTHONPATH="$G/site" VLLM_NO_USAGE_STATS=1 DO_NOT_TRACK=1 HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 \
        VLLM_CACHE_ROOT="$G/cache" VLLM_HOST_IP=127.0.0.1 GLOO_SOCKET_IFNAME=lo NCCL_SOCKET_IFNAME=lo VLLM_USE_FLASHINFER_SAMPLER=0 \
        TORCHINDUCTOR_CACHE_DIR="$G/cache/inductor-$port" TRITON_CACHE_DIR="$G/cache/triton" PYTHONUNBUFFERED=1 \
        python3 -m vllm.entrypoints.openai.api_server --model "$G/models/$name" --served-model-name m --load-format dummy --host 127.0.0.1 \
        --port "$port" --max-model-len 24576 --gpu-memory-utilization "$share" --kv-cache-memory-bytes "$cache" --max-num-seqs 256 \
        --max-num-batched-tokens 8192 --enable-prompt-tokens-details --disable-uvicorn-access-log "$@" >"$G/log/$name-$port.log" 2>&1 </dev/null &
    echo $! >"$G/$port.pid"
}

mps=$(command -v nvidia-cuda-mps-control || ls /usr/local/nvidia/bin/nvidia-cuda-mps-control /usr/local/cuda/bin/nvidia-cuda-mps-control 2>/dev/null | head -1 || true)
layouts=${LAYOUTS:-c,a,f,e-mps}
flags=()
if [ -n "${ACCEPTED:-}" ]; then
    layouts=c-spec
    flags=(--speculative-config "{\"model\": \"$G/models/1.5b\", \"num_speculative_tokens\": 4, \"rejection_sample_method\": \"synthetic\", \"synthetic_acceptance_length\": $ACCEPTED}")
    if [ ! -e "$G/speculates" ]; then
        kill -- "-$(cat "$G/$first.pid")" || true
        while health $first; do sleep 0.5; done
        sleep 3 # until its memory is free
        touch "$G/speculates"
    fi
fi
serve 32b $first 0 0.92 $((56 << 30)) "${flags[@]}"
second=1
if [ -n "$mps" ]; then # only the servers of the second GPU, which is the only one that its clients see: number 0
    second=0
    export CUDA_MPS_PIPE_DIRECTORY=$G/mps CUDA_MPS_LOG_DIRECTORY=$G/mpslog
    CUDA_VISIBLE_DEVICES=1 "$mps" -d 2>/dev/null || say "the MPS daemon runs already"
else
    say "no MPS here: the layouts f and e-mps are without it"
fi
serve 32b $second_big $second 0.72 $((24 << 30))
serve 1.5b $small $second 0.15 $((10 << 30))
unset CUDA_MPS_PIPE_DIRECTORY CUDA_MPS_LOG_DIRECTORY
for port in $first $second_big $small; do
    until health $port; do
        [ $SECONDS -lt 280 ] || { tail -n 20 "$G"/log/*.log | cut -c1-300; cp "$G"/log/*.log "$OUT"/; exit 4; }
        sleep 1
    done
    say "port $port answers"
done

export PYTHONPATH=$G/psite XDG_STATE_HOME=$G/state
url=http://127.0.0.1
code=0
seconds=$((limit - SECONDS - 15)) # the last row begins only if it ends by then
timeout $((limit - SECONDS)) python3 "$here/table.py" "$G/table.jsonl" --big $url:$first/v1 --big $url:$second_big/v1 --small $url:$small/v1 --tokenizer "$G/models/1.5b" --layouts "$layouts" \
    --seconds "$seconds" --chains "${LOADS:-1,16,64,256}" --steps "${STEPS:-8}" || code=$?
cp "$G"/table.jsonl "$G"/table.calls "$OUT/" 2>/dev/null || true
say "done ($code: 3 means that rows are left; type the same command again)"
[ $code = 3 ] || exit $code
