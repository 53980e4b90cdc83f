"""How long it takes from a commit to the request, beside a bare loop of LISTEN, NOTIFY and POST."""

import subprocess
import time

from bench.machine import Machine, say
from bench.report import Line, Report
from bench.tables import ITEM, configuration

TRIGGER = """
    create function tell() returns trigger language plpgsql as $$ begin
      perform pg_notify('item', new.id || ' ' || to_jsonb(new)::text); return null; end $$"""


def run(machine: Machine, report: Report) -> None:
    seconds, runs = (3, 3) if machine.quick else (10, 3)
    for rate in [200, 2000]:
        say(f"latency at {rate} transactions a second")
        middle = Line(f"latency, p50 at {rate:,} tx/s", [], [], "ms", "ms (LISTEN/NOTIFY)", False, 2.0, 1.2)
        slow = Line(f"latency, p99 at {rate:,} tx/s", [], [], "ms", "ms (LISTEN/NOTIFY)", False, 3.0, 2.0)
        for _ in range(runs):
            for which in [middle.limit, slow.limit], [middle.ours, slow.ours]:
                bare = which[0] is middle.limit
                p50, p99, memory = measure(machine, rate, seconds, bare)
                which[0].append(p50)
                which[1].append(p99)
                slow.memory += [memory] if memory else []
            say(f"  p50 {middle.ours[-1]:.2f} of {middle.limit[-1]:.2f}, p99 {slow.ours[-1]:.2f} of {slow.limit[-1]:.2f} ms")
        report.add(middle)
        report.add(slow)


def measure(machine: Machine, rate: int, seconds: int, bare: bool) -> tuple[float, float, int]:
    url = machine.database("latency", f"create table item {ITEM}", TRIGGER)
    command = (machine.built / "bench-latency", "measure", url, rate, seconds)
    options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    measuring = machine.start(*command, log="latency.log", **options)
    server = measuring.stdout.readline().strip()
    memory = 0
    if bare:
        machine.sql("latency", "create trigger tell after insert on item for each row execute function tell()")
        command = (machine.built / "bench-latency", "notify", url, server)
        loop = machine.start(*command, log="latency.log", stdout=subprocess.PIPE, text=True)
        loop.stdout.readline()
    else:
        configured = configuration(url, server, 16).replace("/objects/item/", "/item/")
        rowcall = machine.rowcall(configured)
        rowcall.command("init")
        rowcall.run()
        rowcall.streaming_since()
    # Whoever has just started is not what is measured.
    time.sleep(0.5)
    measuring.stdin.write("\n")
    measuring.stdin.flush()
    said = measuring.stdout.readline().split()
    if measuring.wait() or not said:
        raise RuntimeError(f"no latency: {(machine.home / 'latency.log').read_text()[-500:]}")
    machine.processes.remove(measuring)
    if bare:
        machine.stop(loop)
    else:
        memory = rowcall.peak()
        rowcall.stop()
    machine.drop("latency")
    return int(said[0]) / 1000, int(said[1]) / 1000, memory
