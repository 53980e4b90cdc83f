"""How fast changes come out of the log, beside the program that ships with Postgres for that."""

import subprocess
import time

from bench.machine import Machine, say
from bench.report import Line, Report
from bench.tables import ITEM


def run(machine: Machine, report: Report) -> None:
    rows, runs = (400_000, 3) if machine.quick else (2_000_000, 5)
    few = rows // 20
    for name, count, batch in [
        (f"capture, one transaction of {rows:,} rows", rows, rows),
        (f"capture, {rows // 1000:,} of 1,000 rows", rows, 1000),
        (f"capture, {few:,} of one row", few, 1),
    ]:
        report.add(case(machine, name, count, batch, runs))


def case(machine: Machine, name: str, rows: int, batch: int, runs: int) -> Line:
    say(name)
    database = "capture"
    url = machine.database(database, f"create table item {ITEM}", "create publication bench for table item")
    machine.sql(database, "select from pg_create_logical_replication_slot('bench', 'pgoutput')")
    end = machine.load(database, rows, batch)
    line = Line(name, [], [], "rows/s", "rows/s (pg_recvlogical)", must=0.9, aim=1.0)

    def theirs() -> None:
        began = time.perf_counter()
        command = [machine.server / "pg_recvlogical", "-h", machine.home, "-U", "postgres", "-d", database]
        command += ["--start", "--slot=copy", f"--endpos={end}", "--no-loop", "--file=/dev/null"]
        command += ["-o", "proto_version=1", "-o", "publication_names=bench"]
        subprocess.run(command, check=True)
        line.limit.append(rows / (time.perf_counter() - began))

    def ours() -> None:
        began = time.perf_counter()
        command = [machine.built / "bench-capture", url, "copy", "bench", end]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        line.ours.append(rows / (time.perf_counter() - began))
        captured, memory = map(int, done.stdout.split())
        if captured != rows:
            raise RuntimeError(f"{captured} of {rows} rows were captured")
        line.memory.append(memory)

    # Each run reads a copy of the slot, so that all of them read the same log from the same place.
    for turn in range(runs + 1):
        for read in [theirs, ours] if turn % 2 else [ours, theirs]:
            machine.sql(database, "select pg_copy_logical_replication_slot('bench', 'copy')")
            read()
            machine.sql(database, "select pg_drop_replication_slot('copy')")
        if turn == 0:
            # The first of each only warms up.
            line.ours.clear()
            line.limit.clear()
        else:
            say(f"  {line.ours[-1]:,.0f} of {line.limit[-1]:,.0f} rows/s")
    machine.drop(database)
    return line
