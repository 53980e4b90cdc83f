"""How fast records of calls come through RabbitMQ into MongoDB, beside what the two take raw."""

import os
import socket
import subprocess
import time
from pathlib import Path

from bench.machine import Machine, say, unused_port
from bench.report import Line, Report

PROGRAMS = Path("/usr/lib/rabbitmq/bin")


def run(machine: Machine, report: Report) -> None:
    records, runs = (20_000, 3) if machine.quick else (100_000, 3)
    say(f"log of calls: {records:,} records through RabbitMQ into MongoDB")
    broker, processes = rabbitmq(machine)
    database, mongod = mongodb(machine)
    line = Line(
        "log of calls, to MongoDB", [], [], "records/s", "records/s (confirms, then insert_many)", must=0.6, aim=0.8
    )
    for _ in range(runs):
        command = [machine.built / "bench-pipeline", broker, database, str(records)]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        confirms, inserts, whole, memory = map(float, done.stdout.split())
        line.ours.append(records / whole)
        line.limit.append(records / (confirms + inserts))
        line.memory.append(int(memory))
        say(f"  {confirms:.2f} s confirms, {inserts:.2f} s inserts, {whole:.2f} s through all of it")
    for process in [*processes, mongod]:
        process.kill()
    report.add(line)


def rabbitmq(machine: Machine) -> tuple[str, list[subprocess.Popen]]:
    home = machine.home / "rabbitmq"
    home.mkdir()
    port, distribution, names = unused_port(), unused_port(), unused_port()
    (home / "rabbitmq.conf").write_text(
        "disk_free_limit.absolute = 1MB\nvm_memory_high_watermark.absolute = 1GB\n"
    )
    (home / "enabled_plugins").write_text("[].\n")
    epmd = machine.start("epmd", "-port", names, "-address", "127.0.0.1", log="epmd.log")
    environment = {
        **os.environ,
        "HOME": str(home),
        "ERL_EPMD_PORT": str(names),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODENAME": "rowcall@localhost",
        "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
        "RABBITMQ_NODE_PORT": str(port),
        "RABBITMQ_DIST_PORT": str(distribution),
        "RABBITMQ_CONF_ENV_FILE": "/dev/null",
        "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
        "RABBITMQ_MNESIA_BASE": str(home / "data"),
        "RABBITMQ_LOG_BASE": str(home / "logs"),
        "RABBITMQ_LOGS": "-",
        "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "enabled_plugins"),
        "RABBITMQ_PID_FILE": str(home / "pid"),
        # So that the server is the process that was started, and not a shell around it.
        "RUNNING_UNDER_SYSTEMD": "yes",
    }
    environment.pop("NOTIFY_SOCKET", None)
    node = machine.start(
        PROGRAMS / "rabbitmq-server", log="rabbitmq.log", env=environment, stdout=subprocess.DEVNULL
    )
    for _ in range(600):
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return f"amqp://guest:guest@127.0.0.1:{port}", [node, epmd]
        time.sleep(0.1)
    raise RuntimeError(f"RabbitMQ does not start:\n{(machine.home / 'rabbitmq.log').read_text()[-2000:]}")


def mongodb(machine: Machine) -> tuple[str, subprocess.Popen]:
    """A server alone: with `w: majority` its journal is what is waited for."""
    data = machine.home / "mongodb"
    data.mkdir()
    port = unused_port()
    command = [machine.tools / "mongodb-6" / "bin" / "mongod", "--dbpath", data, "--port", port]
    command += ["--bind_ip", "127.0.0.1", "--nounixsocket", "--wiredTigerCacheSizeGB", "0.5"]
    mongod = machine.start(*command, log="mongodb.log", stdout=subprocess.DEVNULL)
    return f"mongodb://127.0.0.1:{port}/", mongod
