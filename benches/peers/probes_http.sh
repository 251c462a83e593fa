#!/usr/bin/env bash
# What one HTTP+JSON check costs in processor time: Alpha beside blackbox_exporter and Monit, against one nginx.
#
#   benches/peers/probes_http.sh [ROUNDS]
#
# Each round runs all of them one after the other (A B C A B C ...), 1,000 checks a few times each; the medians and their
# ratios are printed, and the script fails where a bar is missed. All processor time of the program that probes counts, in
# user and kernel mode; the server's does not. A peer that is not installed is reported as missing.
#
# Needs: cargo, nginx, curl; the peers are Debian's prometheus-blackbox-exporter and monit. Gatus is in no distribution; what
# it cost beside the same Monit on another machine (0.118 ms against 0.15 ms) is scaled by what Monit costs here.
set -euo pipefail

rounds=${1:-5}
checks=1000
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
work=$(mktemp -d)
declare -a started=()

cleanup() {
    for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT

free_port() {
    python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

# Hundredths of a second that a process has used so far.
ticks() {
    local stat
    stat=$(<"/proc/$1/stat")
    # shellcheck disable=SC2086
    set -- ${stat##*) }
    echo $((${12} + ${13}))
}

requests() { wc -l <"$work/access.log"; }

# Milliseconds of processor time for each of so many requests.
each() { awk -v ticks="$1" -v requests="$2" 'BEGIN { printf "%.4f\n", ticks * 10 / requests }'; }

median() { sort -n "$1" | awk '{ value[NR] = $1 } END { print (value[int((NR + 1) / 2)] + value[int(NR / 2) + 1]) / 2 }'; }

ratio() { awk -v a="$1" -v b="$2" 'BEGIN { printf "%.3f", a / b }'; }

server() {
    local user=""
    if [ "$(id -u)" = 0 ]; then user="user root;"; fi
    mkdir -p "$work/nginx"
    cat >"$work/nginx.conf" <<CONF
daemon off; worker_processes 1; $user pid $work/nginx.pid; error_log $work/error.log;
events { worker_connections 4096; }
http {
    access_log $work/access.log; keepalive_requests 100000000;
    client_body_temp_path $work/nginx/a; proxy_temp_path $work/nginx/b; fastcgi_temp_path $work/nginx/c;
    uwsgi_temp_path $work/nginx/d; scgi_temp_path $work/nginx/e;
    server {
        listen 127.0.0.1:$port; default_type application/json;
        location / { return 200 '{"status":"healthy","checks":[{"name":"db","ok":true}],"queue":3}'; }
    }
}
CONF
    PATH=$PATH:/usr/sbin nginx -p "$work" -c "$work/nginx.conf" -e "$work/error.log" &
    started+=($!)
    curl -sf --retry 50 --retry-connrefused --retry-delay 0 -o /dev/null "http://127.0.0.1:$port/"
}

alpha() {
    "$program" "http://127.0.0.1:$port/health" "$1" 10 $checks | sed 's/.* ok, \([0-9.]*\) ms .*/\1/' >>"$work/alpha_$1"
}

blackbox_start() {
    cat >"$work/blackbox.yml" <<CONF
modules:
  json:
    prober: http
    timeout: 5s
    http:
      preferred_ip_protocol: ip4
      valid_status_codes: [200]
      fail_if_body_not_matches_regexp: ['"status":"healthy"']
CONF
    blackbox_port=$(free_port)
    prometheus-blackbox-exporter --config.file="$work/blackbox.yml" --web.listen-address="127.0.0.1:$blackbox_port" \
        --log.level=error &
    blackbox_pid=$!
    started+=("$blackbox_pid")
    curl -sf --retry 50 --retry-connrefused --retry-delay 0 -o /dev/null "http://127.0.0.1:$blackbox_port/metrics"
}

blackbox() {
    local ticks_before requests_before
    ticks_before=$(ticks "$blackbox_pid") requests_before=$(requests)
    curl -s "http://127.0.0.1:$blackbox_port/probe?module=json&target=http://127.0.0.1:$port/health&n=[1-$checks]" |
        grep -c '^probe_success 1' >"$work/successes"
    [ "$(cat "$work/successes")" = $checks ] || { echo "blackbox_exporter failed some probes" >&2; exit 1; }
    each $(($(ticks "$blackbox_pid") - ticks_before)) $(($(requests) - requests_before)) >>"$work/blackbox"
}

monit() {
    {
        echo "set daemon 1"
        echo "set pidfile $work/monit.pid"
        echo "set idfile $work/monit.id"
        echo "set statefile $work/monit.state"
        for index in $(seq $checks); do
            echo "check host h$index with address 127.0.0.1"
            echo "  if failed port $port protocol http request \"/health\" status = 200 content = '\"status\":\"healthy\"' then alert"
        done
    } >"$work/monitrc"
    chmod 600 "$work/monitrc"
    local pid ticks_before requests_before
    /usr/bin/monit -I -c "$work/monitrc" >"$work/monit.log" 2>&1 &
    pid=$!
    started+=("$pid")
    # Reading the configuration is not counted: wait for the first cycle to be over.
    requests_before=$(requests)
    until [ $(($(requests) - requests_before)) -ge $checks ]; do sleep 0.1; done
    ticks_before=$(ticks "$pid") requests_before=$(requests)
    until [ $(($(requests) - requests_before)) -ge $((5 * checks)) ]; do sleep 0.1; done
    each $(($(ticks "$pid") - ticks_before)) $(($(requests) - requests_before)) >>"$work/monit"
    kill "$pid" && wait "$pid" || true
    ! grep -q "failed" "$work/monit.log" || { echo "Monit failed some checks" >&2; exit 1; }
}

cargo build --quiet --release --manifest-path "$root/Cargo.toml" -p alpha-probes --no-default-features --features http \
    --example http_cost
program=${CARGO_TARGET_DIR:-$root/target}/release/examples/http_cost
port=$(free_port)
server
declare -a peers=()
if command -v prometheus-blackbox-exporter >/dev/null; then
    blackbox_start
    peers+=(blackbox)
else
    echo "missing: blackbox_exporter (package prometheus-blackbox-exporter)"
fi
if command -v monit >/dev/null && [ -x /usr/bin/monit ]; then peers+=(monit); else echo "missing: Monit (package monit)"; fi
echo "missing: Gatus (in no distribution)"

for round in $(seq "$rounds"); do
    echo "round $round of $rounds" >&2
    alpha fresh
    for peer in "${peers[@]}"; do
        $peer
        alpha pooled
    done
    alpha fresh
done

fresh=$(median "$work/alpha_fresh")
echo "Alpha, fresh connections: $fresh ms a probe"
pooled=""
if [ -f "$work/alpha_pooled" ]; then
    pooled=$(median "$work/alpha_pooled")
    echo "Alpha, pooled connections: $pooled ms a probe"
fi
failed=0
bar() { # name, ours, theirs, bar
    local share
    share=$(ratio "$2" "$3")
    echo "$1: $3 ms a probe; Alpha / $1 = $share (bar $4)"
    awk -v share="$share" -v bar="$4" 'BEGIN { exit !(share > bar) }' && { echo "missed: $1"; failed=1; } || true
}
if [ -f "$work/blackbox" ]; then bar "blackbox_exporter, fresh" "$fresh" "$(median "$work/blackbox")" 0.125; fi
if [ -f "$work/monit" ]; then
    bar "Monit, fresh" "$fresh" "$(median "$work/monit")" 0.6
    gatus=$(awk -v monit="$(median "$work/monit")" 'BEGIN { printf "%.4f", monit * 0.118 / 0.15 }')
    bar "Gatus as scaled from Monit, pooled" "$pooled" "$gatus" 0.333
fi
exit $failed
