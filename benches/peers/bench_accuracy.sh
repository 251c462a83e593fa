#!/usr/bin/env bash
# The accuracy bars of the load generator: `alpha bench selftest` measures servers of known latency over real sockets.
#   bench_accuracy.sh [ROUNDS]     how often all cases run; by default once
# Then what alpha, hey, oha and wrk2, where they are installed, say of an nginx that freezes for 100 ms in every second. Run it
# on a quiet machine: noise only ever adds latency, and what the floor of a healthy server looks like is decided by the
# scheduler.
set -euo pipefail
. "$(dirname "$0")/bench_common.sh"
failed=0
for _ in $(seq "${1:-1}"); do "$alpha" bench selftest || failed=1; done
start_nginx
truth=$(frozen 10 99 "$alpha" bench run "$url" --rate 1000 --duration 10s --json)
echo "nginx that freezes: alpha says p99 $(number p99 | awk '{ print $1 * 1000 }') ms, $truth ms are true"
if command -v hey > /dev/null; then
  truth=$(frozen 10 99 hey -c 20 -q 50 -z 10s "$url")
  echo "nginx that freezes: hey -q says p99 $(awk '/99% in/ { print $3 * 1000 }' "$dir/out") ms, $truth ms are true"
else
  echo "hey            missing"
fi
if command -v oha > /dev/null; then
  truth=$(frozen 10 99 oha --no-tui -c 20 -q 1000 -z 10s "$url")
  echo "nginx that freezes: oha -q says p99 $(awk '/99.00% in/ { print $3, $4 }' "$dir/out"), $truth ms are true"
else
  echo "oha            missing"
fi
if command -v wrk2 > /dev/null; then
  truth=$(frozen 10 99 wrk2 -t1 -c20 -R1000 -d10s --latency "$url")
  echo "nginx that freezes: wrk2 says p99 $(awk '/99.000%/ { print $2 }' "$dir/out"), $truth ms are true"
else
  echo "wrk2           missing"
fi
exit $failed
