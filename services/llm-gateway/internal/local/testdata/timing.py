"""Times ONNX Runtime on what the benchmark sends: python timing.py FOLDER THREADS

One JSON value per line: {"batches": [[{"ids": [...]}, ...], ...], "repeat": N} is answered with {"seconds": S, "cpu": C} for N times all batches.
"""

import json
import os
import resource
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
from reference import feed, session  # noqa: E402


def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def rss():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()


def main():
    before = time.monotonic()
    run = session(sys.argv[1], int(sys.argv[2]))
    print(json.dumps({"seconds": time.monotonic() - before, "rss": rss()}), flush=True)
    for line in sys.stdin:
        request = json.loads(line)
        batches = [feed(rows) for rows in request["batches"]]
        began, used = time.monotonic(), cpu()
        for _ in range(request["repeat"]):
            for batch in batches:
                run.run(None, batch)
        print(json.dumps({"seconds": time.monotonic() - began, "cpu": cpu() - used, "rss": rss()}), flush=True)


if __name__ == "__main__":
    main()
