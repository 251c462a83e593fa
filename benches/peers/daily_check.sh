#!/usr/bin/env bash
# The plan's daily check as its own shell script (plan/daily-check.sh) beside `alpha check` with the same questions.
#   benches/peers/daily_check.sh [ROUNDS]
# Starts five containers of a local image and an API double; prints wall and CPU seconds of each, the medians of paired
# rounds A B A B, and the ratios. Bars: at most 1/5 of the wall time, 1/10 of the CPU time.
# What each of them finds of seven planted faults is a test: alpha-cli/tests/it/planted_faults.rs.
set -euo pipefail
cd "$(dirname "$0")/../.."
rounds=${1:-11}
for program in docker curl jq python3 busybox; do
  command -v "$program" > /dev/null || { echo "missing: $program"; exit 0; }
done
cargo build --release --quiet --bin alpha
alpha=${CARGO_TARGET_DIR:-target}/release/alpha
folder=$(mktemp -d)
names=(alpha-validator-1 alpha-postgres alpha-redis alpha-api alpha-frontend)
cleanup() {
  docker rm -f "${names[@]}" > /dev/null 2>&1 || true
  docker rmi alpha-daily-check > /dev/null 2>&1 || true
  [ -z "${api:-}" ] || kill "$api" 2> /dev/null || true
  rm -rf "$folder"
}
trap cleanup EXIT

mkdir -p "$folder/image/bin"
cp "$(command -v busybox)" "$folder/image/bin/busybox"
tar -C "$folder/image" -c . | docker import -c 'ENTRYPOINT ["/bin/busybox"]' - alpha-daily-check > /dev/null
for name in "${names[@]}"; do docker run -d --name "$name" alpha-daily-check sleep 3600 > /dev/null; done

cat > "$folder/api.py" << 'PYTHON'
import http.server, json, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = json.dumps({"status": "healthy"}).encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("127.0.0.1", 5000), Handler).serve_forever()
PYTHON
python3 "$folder/api.py" & api=$!
sleep 0.5

{
  for name in "${names[@]}"; do printf '[[check]]\nname = "%s"\ncontainer.name = "%s"\n' "$name" "$name"; done
  cat << 'TOML'
[[check]]
name = "node"
substrate.node = { node = "http://127.0.0.1:9933" }
[[check]]
name = "cpu"
cpu = {}
[[check]]
name = "memory"
memory = {}
[[check]]
name = "disk"
filesystem = {}
[[check]]
name = "peers"
substrate.peers = { node = "http://127.0.0.1:9933" }
[[check]]
name = "api"
http.url = "http://127.0.0.1:5000/api/health"
conditions = ["[STATUS] == 200", "[BODY].status == healthy"]
[[check]]
name = "database"
tcp.address = "127.0.0.1:5432"
TOML
} > "$folder/alpha.toml"

python3 - "$rounds" "$alpha" "$folder" << 'PYTHON'
import os, resource, statistics, subprocess, sys, time
rounds, alpha, folder = int(sys.argv[1]), sys.argv[2], sys.argv[3]
commands = {
    "script": ["bash", "benches/peers/plan/daily-check.sh"],
    "alpha": [alpha, "check", "--config", f"{folder}/alpha.toml", "--no-history"],
}
figures = {name: [] for name in commands}
for turn in range(rounds + 1):
    for name, command in commands.items():
        before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wall, after = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        if turn:
            figures[name].append((wall, cpu))
median = {name: [statistics.median(column) for column in zip(*rows)] for name, rows in figures.items()}
for name, (wall, cpu) in median.items():
    print(f"{name:7} wall {wall:.3f} s   cpu {cpu:.3f} s   (median of {rounds})")
ratios = [[a[i] / s[i] for a, s in zip(figures["alpha"], figures["script"])] for i in (0, 1)]
print(f"ratio   wall {statistics.median(ratios[0]):.3f} (bar 0.2)   cpu {statistics.median(ratios[1]):.3f} (bar 0.1)")
PYTHON
