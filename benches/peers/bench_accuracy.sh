#!/usr/bin/env bash
# The accuracy bars of the load generator: `alpha bench selftest` measures servers of known latency over real sockets.
#   bench_accuracy.sh [ROUNDS]     how often all cases run; by default once
# Then what hey, oha and wrk2 say of a server that freezes for 100 ms in every second, where they are installed: the truth at
# a fixed rate is a p99 of 90 ms. Run it on a quiet machine: noise only ever adds latency, and what the floor of a healthy
# server looks like is decided by the scheduler.
set -euo pipefail
. "$(dirname "$0")/bench_common.sh"
failed=0
for _ in $(seq "${1:-1}"); do "$alpha" bench selftest || failed=1; done
start_nginx
freeze_every_second "$server" & started+=($!)
"$alpha" bench run "$url" --rate 1000 --duration 10s --json > "$dir/out" || true
echo "frozen nginx   p99 90 ms by calculation"
echo "alpha          p99 $(grep -o '"p99":[0-9.e-]*' "$dir/out" | head -1 | cut -d: -f2 | awk '{ print $1 * 1000 }') ms"
if command -v hey > /dev/null; then
  hey -c 20 -q 50 -z 10s "$url" > "$dir/out"
  echo "hey -q         p99 $(awk '/99% in/ { print $3 * 1000 }' "$dir/out") ms"
else
  echo "hey            missing"
fi
if command -v oha > /dev/null; then
  oha --no-tui -c 20 -q 1000 -z 10s "$url" > "$dir/out"
  echo "oha -q         p99 $(awk '/99.00% in/ { print $3, $4 }' "$dir/out")"
else
  echo "oha            missing"
fi
if command -v wrk2 > /dev/null; then
  wrk2 -t1 -c20 -R1000 -d10s --latency "$url" > "$dir/out"
  echo "wrk2           p99 $(awk '/99.000%/ { print $2 }' "$dir/out")"
else
  echo "wrk2           missing"
fi
exit $failed
