"""Measures Rowcall against what the machine can do at all; `scripts/bench` builds it and calls this."""

import argparse
import sys

from bench import calls, capture, delivery, growth, latency, memory, outage, pages, snapshot
from bench.machine import Machine
from bench.report import Report

PARTS = {
    "capture": capture.run,
    "delivery": delivery.run,
    "latency": latency.run,
    "snapshot": snapshot.run,
    "calls": calls.run,
    "memory": memory.run,
    "pages": pages.run,
    "outage": outage.run,
    "growth": growth.run,
}
# What takes minutes by its nature.
SLOW = {"outage", "growth"}


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer rows and runs: under five minutes")
    parser.add_argument("--only", action="append", choices=list(PARTS), help="may be given several times")
    parser.add_argument("--markdown", help="write the table there too")
    parser.add_argument("--json", help="write all samples there")
    arguments = parser.parse_args()
    parts = arguments.only or [name for name in PARTS if not (arguments.quick and name in SLOW)]
    report = Report(quick=arguments.quick)
    try:
        with Machine(quick=arguments.quick) as machine:
            for name in parts:
                PARTS[name](machine, report)
    finally:
        print(report.markdown())
    if arguments.markdown:
        report.write(arguments.markdown, report.markdown())
    if arguments.json:
        report.write(arguments.json, report.json())
    missed = report.missed()
    for line in missed:
        print(f"bench: {line}", file=sys.stderr)
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
