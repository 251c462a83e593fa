# What the scripts of the load generator share; sourced, not run.
# ALPHA names the binary to measure; by default the workspace's release build.

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
workspace=$(cd "$here/../.." && pwd)
alpha=${ALPHA:-${CARGO_TARGET_DIR:-$workspace/target}/release/alpha}
[ -x "$alpha" ] || { echo "missing: alpha ($alpha); build it with cargo build --release -p alpha-cli"; exit 1; }
dir=$(mktemp -d)
declare -a started=()

cleanup() {
  # A server that stands still does not hear that it shall end.
  for pid in "${started[@]}"; do kill -CONT "$pid" 2> /dev/null || true; kill "$pid" 2> /dev/null || true; done
  rm -rf "$dir"
}
trap cleanup EXIT

# Starts nginx as one process on core 0, which answers every path; sets url and server.
start_nginx() {
  command -v nginx > /dev/null || { echo "missing: nginx"; exit 0; }
  local port=${PORT:-$((20000 + RANDOM % 10000))}
  mkdir -p "$dir/logs" "$dir/nginx"
  cat > "$dir/nginx.conf" <<CONF
master_process off; daemon off; pid $dir/nginx.pid; error_log $dir/logs/error.log;
events { worker_connections 4096; }
http {
  access_log off; keepalive_requests 1000000000;
  client_body_temp_path $dir/nginx/b; proxy_temp_path $dir/nginx/p; fastcgi_temp_path $dir/nginx/f; uwsgi_temp_path $dir/nginx/u; scgi_temp_path $dir/nginx/s;
  server { listen 127.0.0.1:$port; location / { return 200 "a small answer\n"; } }
}
CONF
  taskset -c 0 nginx -p "$dir" -c "$dir/nginx.conf" & server=$!
  started+=("$server")
  for _ in $(seq 50); do (exec 3<> "/dev/tcp/127.0.0.1/$port") 2> /dev/null && break; sleep 0.1; done
  url=http://127.0.0.1:$port/
}

# frozen SECONDS PERCENT COMMAND...: runs a command while the server stands still for 100 ms in every second; what it prints goes
# to $dir/out, the true percentile in milliseconds to standard output.
frozen() {
  local freezer
  python3 "$here/bench_freeze.py" "$server" "$1" "$2" > "$dir/truth" & freezer=$!
  "${@:3}" > "$dir/out" 2>&1 || true
  wait "$freezer"
  cat "$dir/truth"
}

# cpu COMMAND...: runs it on core 1, keeps what it prints in $dir/out; prints its seconds of CPU, user and kernel.
cpu() {
  /usr/bin/time -o "$dir/time" -f "%U %S" taskset -c 1 "$@" > "$dir/out" 2>&1 || true
  tail -1 "$dir/time" | awk '{ print $1 + $2 }'
}

# The number that stands behind a key in the last JSON that was printed, the first one of that name.
number() { grep -o "\"$1\":[0-9.e-]*" "$dir/out" | head -1 | cut -d: -f2; }

median() { sort -n | awk '{ v[NR] = $1 } END { if (NR) print (NR % 2) ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2 }'; }
