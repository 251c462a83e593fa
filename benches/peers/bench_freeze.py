#!/usr/bin/env python3
"""Makes a process stand still for 100 ms in every second, and says which wait that means for users who come whatever happens.

    bench_freeze.py PID SECONDS PERCENT...

Prints the percentiles in milliseconds, worked out from when the process really stood still; what the process needs for an
answer comes on top.
"""

import math
import os
import signal
import sys
import time

pid, seconds, percents = int(sys.argv[1]), int(sys.argv[2]), [float(percent) for percent in sys.argv[3:]]
start, freezes = time.monotonic(), []
for second in range(seconds):
    time.sleep(max(0.0, start + second + 0.2 - time.monotonic()))
    os.kill(pid, signal.SIGSTOP)
    begin = time.monotonic()
    time.sleep(0.1)
    os.kill(pid, signal.SIGCONT)
    freezes.append((begin, time.monotonic()))
waits = [0.0] * (1000 * seconds)
for begin, end in freezes:
    for index in range(math.ceil((begin - start) * 1000), math.ceil((end - start) * 1000)):
        if index < len(waits):
            waits[index] = end - start - index / 1000
waits.sort()
print(*(f"{1000 * waits[math.ceil(percent / 100 * len(waits)) - 1]:.1f}" for percent in percents))
