#!/usr/bin/env bash
# CPU per request beside wrk, hey and oha: closed load, 64 connections, one core; paired rounds (A B A B), medians.
#   bench_wrk.sh [ROUNDS] [SECONDS]
# The server (nginx) is pinned to core 0 and the clients to core 1. A tool that is not installed is reported as missing.
# ALPHA names the binary to measure; by default the workspace's release build.
set -euo pipefail
rounds=${1:-5} seconds=${2:-5}
workspace=$(cd "$(dirname "$0")/../.." && pwd)
alpha=${ALPHA:-${CARGO_TARGET_DIR:-$workspace/target}/release/alpha}
dir=$(mktemp -d); server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null; rm -rf "$dir"' EXIT
port=${PORT:-$((20000 + RANDOM % 10000))}
command -v nginx > /dev/null || { echo "missing: nginx"; exit 0; }
mkdir -p "$dir/logs"
cat > "$dir/nginx.conf" <<CONF
worker_processes 1; daemon off; pid $dir/nginx.pid; error_log $dir/logs/error.log;
events { worker_connections 4096; }
http {
  access_log off; keepalive_requests 1000000000;
  client_body_temp_path $dir/b; proxy_temp_path $dir/p; fastcgi_temp_path $dir/f; uwsgi_temp_path $dir/u; scgi_temp_path $dir/s;
  server { listen 127.0.0.1:$port; location / { return 200 "a small answer\n"; } }
}
CONF
taskset -c 0 nginx -p "$dir" -c "$dir/nginx.conf" & server=$!
for _ in $(seq 50); do (exec 3<> "/dev/tcp/127.0.0.1/$port") 2>/dev/null && break; sleep 0.1; done
url=http://127.0.0.1:$port/
# measure NAME REQUESTS-COMMAND... : runs it on core 1; prints microseconds of CPU per request
measure() {
  local out=$dir/out time=$dir/time
  /usr/bin/time -o "$time" -f "%U %S" taskset -c 1 "${@:2}" > "$out" 2>&1 || true
  local requests
  case $1 in
    alpha) requests=$(grep -o '"requests":[0-9]*' "$out" | head -1 | cut -d: -f2);;
    wrk) requests=$(awk '/requests in/ {print $1}' "$out");;
    hey) requests=$(awk '/\[200\]/ {print $2}' "$out");;
    oha) requests=$(awk '/\[200\]/ {print $2}' "$out");;
  esac
  awk -v n="${requests:-0}" '{ if (n > 0) printf "%.3f\n", ($1 + $2) * 1e6 / n }' "$time"
}
run() {
  case $1 in
    alpha) measure alpha "$alpha" bench run "$url" --model closed --connections 64 --workers 1 --duration "${seconds}s" --json;;
    wrk) measure wrk wrk -t1 -c64 -d"${seconds}s" "$url";;
    hey) measure hey env GOMAXPROCS=1 hey -c 64 -z "${seconds}s" "$url";;
    oha) measure oha oha --no-tui -c 64 -z "${seconds}s" "$url";;
  esac
}
median() { sort -n | awk '{ v[NR] = $1 } END { if (NR) print (NR % 2) ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
[ -x "$alpha" ] || { echo "missing: alpha ($alpha)"; exit 1; }
echo "tool   us CPU per request   alpha's ratio to it   (median of $rounds pairs)"
for peer in wrk hey oha; do
  command -v "$peer" > /dev/null || { echo "$peer    missing"; continue; }
  : > "$dir/a"; : > "$dir/b"; : > "$dir/r"
  for _ in $(seq "$rounds"); do
    a=$(run alpha); b=$(run "$peer")
    [ -n "$a" ] && [ -n "$b" ] || continue
    echo "$a" >> "$dir/a"; echo "$b" >> "$dir/b"; awk -v a="$a" -v b="$b" 'BEGIN { print a / b }' >> "$dir/r"
  done
  echo "$peer    $(median < "$dir/b")   $(median < "$dir/r")   (alpha $(median < "$dir/a"))"
done
