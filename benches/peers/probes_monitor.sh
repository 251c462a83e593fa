#!/bin/sh
# The monitor of alpha-probes under the loads of the peers' table: prints each figure and its ratio to the bar
# (at most 1.00 is within it). Takes about three minutes. Bars: 10,000 checks every 10 s in 64 MB and 10 % of a core
# without a missed slot (Gatus 634 MB, Monit 194 MB); a run in a third of the CPU time of Gatus (0.118 ms); the first
# results of 1,000 checks in 3 s (Gatus 222 s); lateness while 5 % hang of at most 250 ms for 99 of 100.
set -eu
cd "$(dirname "$0")/../.."
cargo build --quiet --release -p benches --example probes_monitor
program="${CARGO_TARGET_DIR:-target}/release/examples/probes_monitor"

bars='memory_peak_megabytes 64
cpu_percent_of_a_core 10
cpu_milliseconds_per_run 0.0393
all_first_results_seconds 3
lateness_p99_milliseconds 250
missed 0'

for scenario in first hang steady; do
    echo "== $scenario"
    "$program" "$scenario" | awk -F '\t' -v bars="$bars" '
        BEGIN { n = split(bars, lines, "\n"); for (i = 1; i <= n; i++) { split(lines[i], w, " "); bar[w[1]] = w[2] } }
        !($1 in bar) { printf "%-28s %10s\n", $1, $2; next }
        bar[$1] == 0 { printf "%-28s %10s   bar %s   %s\n", $1, $2, bar[$1], $2 == 0 ? "held" : "MISSED"; next }
        { printf "%-28s %10s   bar %s   ratio %.2f%s\n", $1, $2, bar[$1], $2 / bar[$1], $2 > bar[$1] ? "   MISSED" : "" }'
done
