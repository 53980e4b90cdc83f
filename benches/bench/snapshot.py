"""How fast rows are read, mapped and compared that the remote knows already, beside reading them at all."""

import subprocess
import time

from bench.machine import Machine, say
from bench.report import Line, Report
from bench.tables import ITEM, NOTE, configuration


def run(machine: Machine, report: Report) -> None:
    rows, runs = (100_000, 3) if machine.quick else (1_000_000, 3)
    say(f"snapshot of {rows:,} unchanged rows")
    bank = machine.bank()
    url = machine.database("snapshot", f"create table item {ITEM}")
    machine.load("snapshot", rows, rows, note=NOTE)
    rowcall = machine.rowcall(configuration(url, bank.url))
    rowcall.command("init")
    rowcall.command("snapshot", "--entity", "item")
    told = bank.applied()
    line = Line(f"snapshot, {rows:,} unchanged rows", [], [], "rows/s", "rows/s (COPY)", must=0.05, aim=0.12)
    for _ in range(runs):
        line.limit.append(copied(machine, rows))
        rowcall.run()
        rowcall.streaming_since()
        rowcall.command("snapshot", "--entity", "item", "--wait")
        line.memory.append(rowcall.peak())
        rowcall.stop()
        took = "select extract(epoch from finished_at - started_at), read, skipped from rowcall.run order by id desc limit 1"
        seconds, read, skipped = machine.sql("snapshot", took).split("|")
        if not int(read) == int(skipped) == rows or bank.applied() != told:
            raise RuntimeError(f"{read} rows were read and {skipped} skipped of {rows}")
        line.ours.append(rows / float(seconds))
        say(f"  {line.ours[-1]:,.0f} of {line.limit[-1]:,.0f} rows/s")
    bank.stop()
    machine.drop("snapshot")
    report.add(line)


def copied(machine: Machine, rows: int) -> float:
    command = [machine.server / "psql", "-h", machine.home, "-U", "postgres", "-d", "snapshot", "-qX"]
    began = time.perf_counter()
    subprocess.run([*command, "-c", "copy item to stdout"], check=True, stdout=subprocess.DEVNULL)
    return rows / (time.perf_counter() - began)
