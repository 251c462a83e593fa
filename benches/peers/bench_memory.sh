#!/usr/bin/env bash
# Peak memory over a long run: closed load, 64 connections, one core; bar: 16 MB after ten million requests, flat.
#   bench_memory.sh URL [REQUESTS...]     by default 100,000, 1,000,000 and 10,000,000 requests
# ALPHA names the binary to measure; by default the workspace's release build.
set -euo pipefail
url=${1:?usage: bench_memory.sh URL [REQUESTS...]}; shift
workspace=$(cd "$(dirname "$0")/../.." && pwd)
alpha=${ALPHA:-${CARGO_TARGET_DIR:-$workspace/target}/release/alpha}
[ -x "$alpha" ] || { echo "missing: alpha ($alpha)"; exit 1; }
[ $# -gt 0 ] || set -- 100000 1000000 10000000
for requests in "$@"; do
  /usr/bin/time -f "$requests requests: %M KB at the peak" \
    "$alpha" bench run "$url" --model closed --connections 64 --workers 1 --requests "$requests" --quiet
done
