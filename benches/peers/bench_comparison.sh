#!/usr/bin/env bash
# "+50 % response time?" judged by the naive ratio of two p95, by Mann and Whitney's test on all requests, and by
# `alpha bench compare`, on seeded simulations whose truth is known (bench_comparison.rs).
#   bench_comparison.sh [ROUNDS]
# Bars: the interval holds the truth in 90 to 98 % of the rounds, and at +40 % at most 2 % are rolled back. The figures follow
# from the seed, so that any build will do: PROFILE=release makes it faster.
set -euo pipefail
cd "$(dirname "$0")/../.."
cargo run --quiet ${PROFILE:+--profile "$PROFILE"} --locked -p benches --example bench_comparison -- "${1:-300}" | tee /dev/stderr |
  awk '/^\+/ && ($7 < 0.90 || $7 > 0.98) { print "the interval of " $1 " % misses its bar"; missed = 1 }
       /^\+40/ && $5 > 0.02 { print "too many false rollbacks"; missed = 1 }
       END { exit missed }'
