#!/usr/bin/env bash
# The plan's own quarterly benchmark (plan/quarterly-benchmark.py, unchanged but for its address and its folder) beside
# `alpha bench run --quarterly`: CPU per request on a healthy nginx, and the p95 that each tells of an nginx that stands still
# for 100 ms in every second, which is 50 ms for users who come whatever happens.
#   bench_plan.sh [ROUNDS]
# Bar: at least twenty times less CPU, and the right answer.
set -euo pipefail
. "$(dirname "$0")/bench_common.sh"
rounds=${1:-3}
python3 -c 'import requests' 2> /dev/null || { echo "missing: python3 with the package requests"; exit 0; }
start_nginx
sed -e "s#http://localhost:5000/api#${url%/}#" -e "s#/var/log/alpha-social#$dir#" "$(dirname "$0")/plan/quarterly-benchmark.py" > "$dir/plan.py"
# 100 requests to each of three endpoints, then ten for each of 10, 50 and 100 users.
sent_by_plan=$((300 + 100 + 500 + 1000))
: > "$dir/r"
for _ in $(seq "$rounds"); do
  used=$(cpu "$alpha" bench run "$url" --quarterly --json)
  sent=$(python3 -c 'import json, sys; print(sum(run["requests"] for run in json.load(open(sys.argv[1]))["runs"]))' "$dir/out")
  a=$(awk -v s="$used" -v n="$sent" 'BEGIN { printf "%.3f", s * 1e6 / n }')
  used=$(cpu python3 "$dir/plan.py")
  b=$(awk -v s="$used" -v n="$sent_by_plan" 'BEGIN { printf "%.3f", s * 1e6 / n }')
  echo "us CPU per request: alpha $a ($sent requests), the plan's script $b ($sent_by_plan requests)"
  awk -v a="$a" -v b="$b" 'BEGIN { print b / a }' >> "$dir/r"
done
ratio=$(median < "$dir/r")
echo "the plan's script costs $ratio times as much (median of $rounds pairs; bar: at least 20)"
truth=$(frozen 12 95 python3 "$dir/plan.py")
plan=$(awk '/95%/ { gsub(/[^0-9.]/, ""); print substr($0, 3) }' "$dir/out" | median)
echo "p95 of the nginx that freezes: $truth ms are true, the plan's script says $plan ms (median of its three)"
truth=$(frozen 12 95 "$alpha" bench run "$url" --rate 500 --duration 12s --json)
ours=$(number p95 | awk '{ print $1 * 1000 }')
echo "p95 of the nginx that freezes: $truth ms are true, alpha says $ours ms"
awk -v r="$ratio" -v p="$ours" -v t="$truth" 'BEGIN { exit !(r >= 20 && p > 0.9 * t && p < 1.1 * t) }' || { echo "the bar is missed"; exit 1; }
