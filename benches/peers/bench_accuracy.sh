#!/usr/bin/env bash
# The accuracy bars of the load generator: `alpha bench selftest` measures servers of known latency over real sockets.
#   bench_accuracy.sh
# ALPHA names the binary to measure; by default the workspace's release build. Run it on a quiet machine: noise only
# ever adds latency, and what a healthy server's floor looks like is decided by the scheduler.
set -euo pipefail
workspace=$(cd "$(dirname "$0")/../.." && pwd)
alpha=${ALPHA:-${CARGO_TARGET_DIR:-$workspace/target}/release/alpha}
[ -x "$alpha" ] || { echo "missing: alpha ($alpha)"; exit 1; }
exec "$alpha" bench selftest
