#!/usr/bin/env bash
# CPU per request beside wrk, hey and oha: closed load, 64 connections, one core; paired rounds (A B A B), medians.
#   bench_wrk.sh [ROUNDS] [SECONDS]
# The server (nginx) is pinned to core 0 and the clients to core 1. A tool that is not installed is reported as missing.
# Bar: alpha with everything on needs at most as much as wrk.
set -euo pipefail
. "$(dirname "$0")/bench_common.sh"
rounds=${1:-5} seconds=${2:-5}
start_nginx

# run TOOL: prints its microseconds of CPU per request.
run() {
  local used requests
  case $1 in
    alpha)
      used=$(cpu "$alpha" bench run "$url" --model closed --connections 64 --workers 1 --duration "${seconds}s" --json)
      requests=$(number requests);;
    wrk)
      used=$(cpu wrk -t1 -c64 -d"${seconds}s" "$url")
      requests=$(awk '/requests in/ { print $1 }' "$dir/out");;
    hey)
      used=$(cpu env GOMAXPROCS=1 hey -c 64 -z "${seconds}s" "$url")
      requests=$(awk '/\[200\]/ { print $2 }' "$dir/out");;
    oha)
      used=$(cpu oha --no-tui -c 64 -z "${seconds}s" "$url")
      requests=$(awk '/\[200\]/ { print $2 }' "$dir/out");;
  esac
  awk -v s="$used" -v n="${requests:-0}" 'BEGIN { if (n > 0) printf "%.3f\n", s * 1e6 / n }'
}

missed=0
echo "tool   us CPU per request   alpha's ratio to it   (median of $rounds pairs)"
for peer in wrk hey oha; do
  command -v "$peer" > /dev/null || { echo "$peer    missing"; continue; }
  : > "$dir/a"; : > "$dir/b"; : > "$dir/r"
  for _ in $(seq "$rounds"); do
    a=$(run alpha); b=$(run "$peer")
    [ -n "$a" ] && [ -n "$b" ] || continue
    echo "$a" >> "$dir/a"; echo "$b" >> "$dir/b"; awk -v a="$a" -v b="$b" 'BEGIN { print a / b }' >> "$dir/r"
  done
  ratio=$(median < "$dir/r")
  echo "$peer    $(median < "$dir/b")   $ratio   (alpha $(median < "$dir/a"); $(wc -l < "$dir/r") pairs, ratios $(sort -n "$dir/r" | tr '\n' ' '))"
  if [ "$peer" = wrk ] && awk -v r="$ratio" 'BEGIN { exit !(r > 1.0) }'; then missed=1; fi
done
[ $missed = 0 ] || { echo "the bar is missed: at most 1.00 of wrk"; exit 1; }
