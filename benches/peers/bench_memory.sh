#!/usr/bin/env bash
# Peak memory over a long run: closed load, 64 connections, one core; bar: 16 MB after ten million requests, flat.
#   bench_memory.sh [REQUESTS...]     by default 100,000, 1,000,000 and 10,000,000 requests
# oha, where it is installed, does the same with the smallest and the middle number.
set -euo pipefail
. "$(dirname "$0")/bench_common.sh"
[ $# -gt 0 ] || set -- 100000 1000000 10000000
start_nginx
missed=0
for requests in "$@"; do
  /usr/bin/time -o "$dir/peak" -f "%M" taskset -c 1 \
    "$alpha" bench run "$url" --model closed --connections 64 --workers 1 --requests "$requests" --json > "$dir/out"
  [ "$(number requests)" = "$requests" ] || { echo "only $(number requests) of $requests requests were sent"; exit 1; }
  peak=$(tail -1 "$dir/peak")
  echo "alpha   $requests requests   $((peak / 1000)).$((peak % 1000 / 100)) MB at the peak"
  [ "$peak" -le 16000 ] || missed=1
done
if command -v oha > /dev/null; then
  for requests in "${@:1:2}"; do
    /usr/bin/time -o "$dir/peak" -f "%M" oha --no-tui -c 64 -n "$requests" "$url" > "$dir/out"
    echo "oha     $requests requests   $(($(tail -1 "$dir/peak") / 1000)) MB at the peak"
  done
else
  echo "oha     missing"
fi
[ $missed = 0 ] || { echo "the bar is missed: at most 16 MB"; exit 1; }
