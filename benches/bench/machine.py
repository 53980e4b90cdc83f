"""The processes of a bench: a private PostgreSQL, the bank, Rowcall. All gone afterwards."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from datetime import datetime
from pathlib import Path

POSTGRES = """
# Reached by its socket only, so that it needs no port. Durable as in production: fsync and
# synchronous_commit are as they come, on.
listen_addresses = ''
unix_socket_directories = '{home}'
wal_level = logical
max_replication_slots = 20
max_connections = 100
shared_buffers = 256MB
max_wal_size = 8GB
"""


def say(text: str) -> None:
    print(f"bench: {text}", file=sys.stderr, flush=True)


def unused_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Machine:
    def __init__(self, quick: bool):
        self.quick = quick
        self.tools = Path(os.environ["TOOLS"])
        self.built = Path(os.environ["BUILT"]).resolve()
        self.server = self.tools / "postgres-16" / "bin"
        self.as_server = json.loads(os.environ["AS_SERVER"])
        self.home = Path(tempfile.mkdtemp(prefix="rowcall-bench.", dir="/tmp"))
        self.processes: list[subprocess.Popen] = []

    def __enter__(self) -> "Machine":
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
        if self.as_server:
            shutil.chown(self.home, os.environ["SERVER_USER"])
        data = self.home / "data"
        subprocess.run(["cp", "-a", "--reflink=auto", self.tools / "template-16", data], check=True)
        with open(data / "postgresql.conf", "a") as conf:
            conf.write(POSTGRES.format(home=self.home))
        self.control("start", "-l", str(self.home / "log"))
        return self

    def __exit__(self, *_) -> None:
        for process in self.processes:
            process.kill()
            process.wait()
        self.control("stop", "-m", "immediate", check=False)
        shutil.rmtree(self.home, ignore_errors=True)

    def control(self, *arguments: str, check: bool = True) -> None:
        command = [*self.as_server, self.server / "pg_ctl", "-s", "-w", "-D", self.home / "data", *arguments]
        subprocess.run(command, check=check, stdout=subprocess.DEVNULL)

    ### Postgres

    def sql(self, database: str, *statements: str, options: str = "") -> str:
        """Runs statements one by one, and returns what the last of them says."""
        command = [self.server / "psql", "-h", self.home, "-U", "postgres", "-d", database, "-qXAt"]
        command += ["-v", "ON_ERROR_STOP=1"]
        for statement in statements:
            command += ["-c", statement]
        environment = {**os.environ, "PGOPTIONS": options}
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        return done.stdout.strip()

    def database(self, name: str, *statements: str) -> str:
        self.sql("postgres", f"create database {name}")
        self.sql(name, *statements)
        return f"postgres://postgres@/{name}?host={self.home}"

    def drop(self, name: str) -> None:
        slots = f"select pg_drop_replication_slot(slot_name) from pg_replication_slots where database = '{name}'"
        self.sql("postgres", slots, f"drop database {name} with (force)")

    def load(self, database: str, rows: int, batch: int, note: int = 0, table: str = "item") -> str:
        """Fills a table in transactions of so many rows; returns a position within the last of them.

        Whoever is past that has read them all. Only the loading is not durable: it is not measured.
        """
        row = f"id, 'Customer ' || id, id % 100000 / 100.0, now(), repeat('x', {note})"
        last = rows - batch + 1
        done = self.sql(
            database,
            f"""do $$ begin
                  for at in 1 .. {last} - 1 by {batch} loop
                    insert into {table} select {row} from generate_series(at, at + {batch} - 1) id;
                    commit;
                  end loop;
                end $$""",
            f"begin; insert into {table} select {row} from generate_series({last}, {rows}) id; "
            "select pg_current_wal_insert_lsn(); commit; checkpoint",
            options="-c synchronous_commit=off",
        )
        return done.splitlines()[-1]

    def wait_until(self, database: str, condition: str, within: int = 600) -> float:
        """When a condition became true, in seconds since the epoch, by the server's clock."""
        loop = f"""do $$ begin
                     for i in 1 .. {within * 50} loop
                       exit when ({condition});
                       perform pg_sleep(0.02);
                       commit;
                     end loop;
                     if not ({condition}) then raise 'not within {within} s: {condition.replace("'", "")}'; end if;
                   end $$"""
        return float(self.sql(database, loop, "select extract(epoch from clock_timestamp())"))

    ### Processes

    def start(self, *command, log: str, **options) -> subprocess.Popen:
        with open(self.home / log, "ab") as stderr:
            process = subprocess.Popen([str(it) for it in command], stderr=stderr, **options)
        self.processes.append(process)
        return process

    def stop(self, process: subprocess.Popen) -> None:
        process.terminate()
        if process.wait(timeout=60) not in (0, -signal.SIGTERM):
            raise RuntimeError(f"{process.args[0]} ended with {process.returncode}")
        self.processes.remove(process)

    def bank(self) -> "Bank":
        return Bank(self)

    def rowcall(self, configuration: str) -> "Rowcall":
        return Rowcall(self, configuration)


class Bank:
    """The demo's bank in a process of its own, remembering nothing."""

    def __init__(self, machine: Machine):
        self.machine = machine
        command = (machine.built / "rowcall", "demo", "--only-bank", "--forgetful")
        self.process = machine.start(*command, log="bank.log", stdout=subprocess.PIPE, text=True)
        self.url = self.process.stdout.readline().strip()

    def applied(self) -> int:
        with urllib.request.urlopen(f"{self.url}/_stats") as answer:
            return json.load(answer)["applied"]

    def delay(self, milliseconds: int) -> None:
        """Every answer comes this much later."""
        rule = json.dumps({"fault": {"delay": milliseconds}}).encode()
        urllib.request.urlopen(f"{self.url}/_control", rule).close()

    def stop(self) -> None:
        self.machine.stop(self.process)


class Rowcall:
    """The program with a configuration in a directory of its own."""

    def __init__(self, machine: Machine, configuration: str):
        self.machine = machine
        self.home = Path(tempfile.mkdtemp(dir=machine.home))
        (self.home / "rowcall.yaml").write_text(configuration)
        self.process = None

    def command(self, *arguments: str) -> str:
        command = [self.machine.built / "rowcall", *arguments]
        done = subprocess.run(command, cwd=self.home, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"rowcall {' '.join(arguments)}: {done.stdout}\n{done.stderr}")
        return done.stdout

    def run(self) -> None:
        self.log = self.home / f"run-{time.monotonic_ns()}.log"
        with open(self.log, "wb") as stderr:
            command = [self.machine.built / "rowcall", "run"]
            self.process = subprocess.Popen(command, cwd=self.home, stderr=stderr)
        self.machine.processes.append(self.process)

    def streaming_since(self) -> float:
        """When its log says that the stream began, in seconds since the epoch."""
        for _ in range(3000):
            for line in self.log.read_text().splitlines():
                if '"streaming"' in line:
                    stamp = json.loads(line)["timestamp"].replace("Z", "+00:00")
                    return datetime.fromisoformat(stamp).timestamp()
            time.sleep(0.02)
        raise RuntimeError(f"it does not stream:\n{self.log.read_text()[-2000:]}")

    def peak(self) -> int:
        """The most memory it ever had in use, in kilobytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1])

    def cpu(self) -> float:
        """The seconds of processor time it has taken."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def stop(self) -> None:
        self.machine.stop(self.process)
        self.process = None

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self.machine.processes.remove(self.process)
