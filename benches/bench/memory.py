"""The most memory in use while a transaction of two million rows comes and the remote is down."""

import time

from bench.machine import Machine, say, unused_port
from bench.report import Line, Report
from bench.tables import ITEM, configuration


def run(machine: Machine, report: Report) -> None:
    rows = 2_000_000
    say(f"memory: one transaction of {rows:,} rows, and a remote that is down")
    url = machine.database("memory", f"create table item {ITEM}")
    rowcall = machine.rowcall(configuration(url, f"http://127.0.0.1:{unused_port()}"))
    rowcall.command("init")
    rowcall.run()
    rowcall.streaming_since()
    began = time.perf_counter()
    machine.load("memory", rows, rows)
    # The server hands the transaction over once it is committed; then there is no room for all of it.
    time.sleep(10 if machine.quick else 60)
    line = Line(f"memory, a transaction of {rows:,} rows and no remote", [], [], "s watched", "")
    line.ours.append(time.perf_counter() - began)
    line.memory.append(rowcall.peak())
    rowcall.stop()
    machine.drop("memory")
    report.add(line)
