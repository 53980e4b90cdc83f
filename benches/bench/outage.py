"""What a restart with a long log behind it costs, and an outage of the remote."""

import time

from bench.machine import Machine, say, unused_port
from bench.report import Line, Report
from bench.tables import ITEM, NOTE, configuration

RATE, MINUTES, RUNS = 200, 10, 3


def run(machine: Machine, report: Report) -> None:
    first = Line("restart with 1 GB of log, to the first call", [], [], "s", "", rate=False)
    drained = Line(f"drain of {MINUTES} minutes at {RATE} changes a second", [], [], "s", "", rate=False)
    for _ in range(RUNS):
        restart(machine, first)
        drain(machine, drained)
    report.add(first)
    report.add(drained)


def restart(machine: Machine, line: Line) -> None:
    say("restart with 1 GB of log behind it")
    bank = machine.bank()
    url = machine.database("restart", f"create table item {ITEM}", f"create table other {ITEM}")
    rowcall = machine.rowcall(configuration(url, bank.url))
    rowcall.command("init")
    # Of another table, so that none of it is a call, and then one that is.
    machine.load("restart", 1_000_000, 1000, note=800, table="other")
    machine.sql("restart", "insert into item values (1, 'Customer 1', 1, now())")
    before, began = bank.applied(), time.time()
    rowcall.run()
    while bank.applied() == before:
        time.sleep(0.01)
    line.ours.append(time.time() - began)
    line.memory.append(rowcall.peak())
    rowcall.stop()
    bank.stop()
    machine.drop("restart")


def drain(machine: Machine, line: Line) -> None:
    """As much as comes in an outage, and a guard that moves the slot on at once."""
    changes = RATE * MINUTES * 60
    say(f"outage: {changes:,} changes park, and drain")
    url = machine.database("outage", f"create table item {ITEM}")
    down = configuration(url, f"http://127.0.0.1:{unused_port()}")
    guard = 'wal_guard: { bytes: 1MiB, after: 1s }'
    rowcall = machine.rowcall(down.replace(f'url: "{url}"', f'url: "{url}", {guard}'))
    rowcall.command("init")
    rowcall.run()
    rowcall.streaming_since()
    end = machine.load("outage", changes, 100, note=NOTE)
    machine.wait_until("outage", f"exists (select from rowcall.checkpoint where lsn >= '{end}')")
    memory = rowcall.peak()
    rowcall.stop()
    bank = machine.bank()
    (rowcall.home / "rowcall.yaml").write_text(configuration(url, bank.url))
    rowcall.run()
    began = rowcall.streaming_since()
    ended = machine.wait_until("outage", "not exists (select from rowcall.parked)")
    line.ours.append(ended - began)
    line.memory += [memory, rowcall.peak()]
    rowcall.stop()
    if bank.applied() != changes:
        raise RuntimeError(f"{bank.applied()} calls for {changes} changes")
    bank.stop()
    machine.drop("outage")
