"""How fast changes become calls, beside a load generator that does nothing else."""

import json
import os
import subprocess

from bench.machine import Bank, Machine, say
from bench.report import Line, Report
from bench.tables import ITEM, NOTE, configuration

CONNECTIONS = 64
BODY = '{"id":12345,"name":"Customer 12345","amount":123.45,"at":"2026-01-01T00:00:00.123456Z","note":"%s"}' % ("x" * NOTE)


def run(machine: Machine, report: Report) -> None:
    # Whoever comes right behind oha is slower by some percent, so each comes there as often as the other.
    changes, runs, seconds = (60_000, 4, 4) if machine.quick else (200_000, 6, 10)
    say(f"delivery: {changes} changes in transactions of 100, {CONNECTIONS} connections")
    plain = Line(
        "delivery, a POST a change", [], [], "changes/s", "requests/s (oha)", must=0.25, aim=0.5
    )
    logged = Line(
        "the same with the embedded call log", [], [], "changes/s", "changes/s without", must=0.85, aim=0.95
    )
    bank = machine.bank()
    for turn in range(runs):
        plain.limit.append(ceiling(machine, bank, seconds))
        for line, call_log in [(plain, "{ enabled: false }"), (logged, "{}")][:: 1 if turn % 2 else -1]:
            rate, memory = deliver(machine, bank, changes, call_log)
            line.ours.append(rate)
            line.memory.append(memory)
        logged.limit.append(plain.ours[-1])
        say(f"  {plain.ours[-1]:,.0f} changes/s, logged {logged.ours[-1]:,.0f}, of {plain.limit[-1]:,.0f} requests/s")
    bank.stop()
    report.add(plain)
    report.add(logged)


def ceiling(machine: Machine, bank: Bank, seconds: int) -> float:
    command = [os.environ["OHA"], "-c", str(CONNECTIONS), "-z", f"{seconds}s", "-m", "POST"]
    command += ["-H", "content-type: application/json", "-d", BODY, "--no-tui", "--output-format", "json"]
    done = subprocess.run([*command, f"{bank.url}/objects/item/12345"], check=True, stdout=subprocess.PIPE)
    answers = json.loads(done.stdout)
    if set(answers["statusCodeDistribution"]) - {"200", "201"}:
        raise RuntimeError(f"oha met errors: {answers['statusCodeDistribution']}")
    return answers["summary"]["requestsPerSec"]


def deliver(machine: Machine, bank: Bank, changes: int, call_log: str) -> tuple[float, int]:
    """From when the log says that the stream began to when the checkpoint has passed the last row."""
    url = machine.database("delivery", f"create table item {ITEM}")
    rowcall = machine.rowcall(configuration(url, bank.url, CONNECTIONS, call_log))
    rowcall.command("init")
    end = machine.load("delivery", changes, 100, note=NOTE)
    before = bank.applied()
    rowcall.run()
    ended = machine.wait_until("delivery", f"exists (select from rowcall.checkpoint where lsn >= '{end}')")
    memory = rowcall.peak()
    began = rowcall.streaming_since()
    rowcall.stop()
    applied = bank.applied() - before
    if applied != changes:
        raise RuntimeError(f"{applied} calls for {changes} changes")
    machine.drop("delivery")
    return changes / (ended - began), memory
