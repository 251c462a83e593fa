#!/usr/bin/env bash
# What the alerting part costs beside Alertmanager, side by side, each started from the same configuration file.
#
#   benches/peers/alerts_alertmanager.sh [ROUNDS]
#
# Each round runs both one after the other (A B A B ...); the medians and their ratios are printed, and the script fails where
# a bar is missed:
#
#   processor time per alert, one alert a request over 64 connections         <= 0.5 of Alertmanager's, ours durable
#   the same, 100 alerts a request                                            <= 0.5
#   from POST to webhook without group wait, median                           <= Alertmanager's and one fsync
#   one POST of 10,000 alerts that make 10,000 groups: until it is answered   <= 0.2
#   memory with 100,000 active alerts                                         <= 0.4
#
# All processor time of the server counts, in user and kernel mode; that of the client and the receiver does not.
#
# Needs: cargo, wrk, python3; the peer is Debian's prometheus-alertmanager.
set -euo pipefail

rounds=${1:-3}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
work=$(mktemp -d)
declare -a started=()

cleanup() {
    for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done
    wait 2>/dev/null || true
    rm -rf "$work"
}
trap cleanup EXIT

if ! command -v prometheus-alertmanager > /dev/null; then
    echo "missing: prometheus-alertmanager" >&2
    exit 1
fi
(cd "$root" && cargo build --release --quiet --locked --bin alpha)
alpha=${CARGO_TARGET_DIR:-$root/target}/release/alpha

cat > "$work/client.py" <<'PY'
"""The client and the receiver: latency from POST to webhook, one large POST, filling up; prints seconds or nothing."""
import http.client, http.server, json, os, socketserver, sys, threading, time

def alerts(names, **labels):
    return json.dumps([{"labels": {"alertname": name, "severity": "P1", "job": "bench", "cluster": "eu-1", **labels},
                        "annotations": {"summary": "a sentence of about the usual length for " + name}} for name in names])

def post(connection, body):
    connection.request("POST", "/api/v2/alerts", body, {"Content-Type": "application/json"})
    answer = connection.getresponse()
    text = answer.read()
    assert answer.status == 200, (answer.status, text)

class Receiver(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    arrived = {}
    changed = threading.Condition()
    def do_POST(self):
        now = time.perf_counter()
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with self.changed:
            for alert in body["alerts"]:
                self.arrived[alert["labels"]["alertname"]] = now
            self.changed.notify_all()
        self.send_response(200); self.send_header("Content-Length", "0"); self.end_headers()
    def log_message(self, *_): pass

class Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True
    request_queue_size = 1024

what, port, receiver_port = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
connection = http.client.HTTPConnection("127.0.0.1", port)
if what == "latency":
    threading.Thread(target=Server(("127.0.0.1", receiver_port), Receiver).serve_forever, daemon=True).start()
    took = []
    for index in range(300):
        name = f"L{os.getpid()}-{index}"
        begin = time.perf_counter()
        post(connection, alerts([name]))
        with Receiver.changed:
            assert Receiver.changed.wait_for(lambda: name in Receiver.arrived, 10), name
        took.append(Receiver.arrived[name] - begin)
    took.sort()
    print(f"{took[len(took) // 2]:.6f}")
elif what == "flood":
    threading.Thread(target=Server(("127.0.0.1", receiver_port), Receiver).serve_forever, daemon=True).start()
    body = alerts([f"G{index}" for index in range(10_000)])
    begin = time.perf_counter()
    post(connection, body)
    # Blocked for as long as nothing else is answered, the flood's own answer included.
    connection.request("GET", "/-/ready"); connection.getresponse().read()
    print(f"{time.perf_counter() - begin:.6f}")
elif what == "fill":
    for start in range(0, 100_000, 100):
        post(connection, json.dumps([{"labels": {"alertname": "Load", "severity": "P1", "job": "bench",
            "cluster": "eu-1", "chain": "alpha", "instance": f"node-{start + index}:9100"},
            "annotations": {"summary": "a sentence of about the usual length"}} for index in range(100)]))
elif what == "fsync":
    took = []
    with open(sys.argv[4], "wb") as file:
        for _ in range(200):
            begin = time.perf_counter(); file.write(b"x" * 4096); file.flush(); os.fsync(file.fileno())
            took.append(time.perf_counter() - begin)
    took.sort()
    print(f"{took[len(took) // 2]:.6f}")
PY

# Each request has so many alerts that nobody has seen before.
cat > "$work/load.lua" <<'LUA'
local batch = tonumber(os.getenv("BATCH"))
local thread, count = 0, 0
function setup(new) new:set("id", thread); thread = thread + 1 end
function init() wrk.method = "POST"; wrk.headers["Content-Type"] = "application/json" end
function request()
    local alerts = {}
    for index = 1, batch do
        count = count + 1
        alerts[index] = string.format('{"labels":{"alertname":"Load","severity":"P1","job":"bench","cluster":"eu-1","chain":"alpha","instance":"node-%d-%d:9100"},"annotations":{"summary":"a sentence of about the usual length"}}', id, count)
    end
    return wrk.format(nil, "/api/v2/alerts", nil, "[" .. table.concat(alerts, ",") .. "]")
end
function done(summary)
    if summary.errors.status + summary.errors.read + summary.errors.timeout > 0 then
        io.stderr:write(string.format("errors: %d status, %d read, %d timeout\n", summary.errors.status, summary.errors.read, summary.errors.timeout))
    end
    io.stderr:write(string.format("requests=%d\n", summary.requests))
end
LUA

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }

config() { # group_by group_wait receiver_port
    cat > "$work/alertmanager.yml" <<YAML
route: { receiver: hook, group_by: [$1], group_wait: $2, group_interval: 1h, repeat_interval: 24h }
receivers: [{ name: hook, webhook_configs: [{ url: "http://127.0.0.1:$3/" }] }]
YAML
}

# Hundredths of a second that a process has used so far.
ticks() {
    local stat
    stat=$(< "/proc/$1/stat")
    # shellcheck disable=SC2086
    set -- ${stat##*) }
    echo $((${12} + ${13}))
}

start() { # alpha|alertmanager; sets pid and port
    port=$(free_port)
    rm -rf "$work/data"
    mkdir "$work/data"
    local flags=(--config.file="$work/alertmanager.yml" --storage.path="$work/data" --web.listen-address="127.0.0.1:$port")
    case $1 in
        alpha) "$alpha" alertmanager "${flags[@]}" > "$work/log" 2>&1 & ;;
        alertmanager) prometheus-alertmanager "${flags[@]}" --cluster.listen-address= > "$work/log" 2>&1 & ;;
    esac
    pid=$!
    started+=("$pid")
    for _ in $(seq 200); do
        python3 - "$port" 2> /dev/null <<'PY' && return
import http.client, sys
connection = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1])); connection.request("GET", "/-/ready")
sys.exit(connection.getresponse().status != 200)
PY
        sleep 0.05
    done
    echo "$1 did not start:" >&2
    cat "$work/log" >&2
    exit 1
}

stop() {
    kill "$pid"
    wait "$pid" 2> /dev/null || true
    started=()
}

load() { # name batch: microseconds of processor time for each alert
    config alertname 1h 1
    start "$1"
    local before after requests
    before=$(ticks "$pid")
    requests=$(BATCH=$2 wrk -t1 -c64 -d8s -s "$work/load.lua" "http://127.0.0.1:$port" 2>&1 > /dev/null | sed -n 's/^requests=//p')
    after=$(ticks "$pid")
    stop
    awk -v ticks=$((after - before)) -v alerts=$((requests * $2)) 'BEGIN { printf "%.3f\n", ticks * 10000 / alerts }'
}

latency() {
    local receiver
    receiver=$(free_port)
    config alertname 0s "$receiver"
    start "$1"
    python3 "$work/client.py" latency "$port" "$receiver"
    stop
}

flood() {
    local receiver
    receiver=$(free_port)
    config alertname 0s "$receiver"
    start "$1"
    python3 "$work/client.py" flood "$port" "$receiver"
    stop
}

memory() {
    config alertname 1h 1
    start "$1"
    python3 "$work/client.py" fill "$port" 1
    awk '/^VmRSS/ { print $2 / 1024 }' "/proc/$pid/status"
    stop
}

median() { sort -n "$1" | awk '{ value[NR] = $1 } END { print (value[int((NR + 1) / 2)] + value[int(NR / 2) + 1]) / 2 }'; }

failed=0
compare() { # what unit bar [slack]
    local ours theirs
    ours=$(median "$work/$1.alpha")
    theirs=$(median "$work/$1.alertmanager")
    awk -v what="$1" -v unit="$2" -v bar="$3" -v slack="${4:-0}" -v ours="$ours" -v theirs="$theirs" 'BEGIN {
        missed = ours > bar * theirs + slack
        printf "%-10s alpha %.4g %s, alertmanager %.4g %s, ratio %.3f, bar %s%s: %s\n", what, ours, unit, theirs, unit, ours / theirs, bar, slack ? " and one fsync of " slack " s" : "", missed ? "MISSED" : "met"
        exit missed
    }' || failed=1
}

for round in $(seq "$rounds"); do
    echo "round $round of $rounds" >&2
    for name in alpha alertmanager; do
        load "$name" 1 >> "$work/single.$name"
        load "$name" 100 >> "$work/batch.$name"
        latency "$name" >> "$work/latency.$name"
        flood "$name" >> "$work/flood.$name"
        memory "$name" >> "$work/memory.$name"
    done
    python3 "$work/client.py" fsync 0 0 "$work/fsync" >> "$work/fsync.all"
done

echo "Alertmanager $(prometheus-alertmanager --version 2>&1 | sed -n '1s/.*version \([^ ]*\).*/\1/p'), $rounds rounds"
compare single "us/alert" 0.5
compare batch "us/alert" 0.5
compare latency s 1 "$(median "$work/fsync.all")"
compare flood s 0.2
compare memory MiB 0.4
exit $failed
