"""How long the pages and lists of the admin address take where much is parked and many calls are logged."""

import http.client
import json
import re
import sqlite3
import time
import urllib.request
from datetime import datetime, timedelta, timezone
from urllib.parse import quote

from bench.machine import Bank, Machine, Rowcall, say, unused_port
from bench.report import Line, Report, median
from bench.tables import ITEM, configuration

MUST = 200
# The log reaches so far back.
BACK = timedelta(days=10)
# What is found in one record only, in the middle of the log, and what in none.
NEEDLE = "needle-in-the-middle"


def run(machine: Machine, report: Report) -> None:
    parked, calls = (2_000, 100_000) if machine.quick else (10_000, 1_000_000)
    say(f"pages: {parked:,} parked changes and {calls:,} calls")
    bank = machine.bank()
    url = machine.database("pages", f"create table item {ITEM}")
    port = unused_port()
    yaml = configuration(url, bank.url, call_log="{}").replace("listen: off", f'listen: "127.0.0.1:{port}", health: {{ parked: {{ fail: 1000000 }} }}')
    schedule = "    schedule: { run: snapshot, cron: '0 3 1 1 *' }\n"
    rowcall = machine.rowcall(yaml.replace("    table: item\n", f"    table: item\n{schedule}"))
    rowcall.command("init")
    one_of_each(machine, bank, rowcall)
    park(machine, parked)
    log(rowcall, calls)
    rowcall.run()
    took = ask(Client(port), machine, times=7 if machine.quick else 20)
    memory = rowcall.peak()
    rowcall.stop()
    bank.stop()
    machine.drop("pages")
    slowest = sorted(took, key=lambda path: median(took[path]), reverse=True)
    for path in slowest[:5]:
        say(f"  {median(took[path]):.1f} ms (at most {max(took[path]):.1f}): {path}")
    what = f"with {parked:,} parked and {calls:,} calls"
    line = Line(f"pages, the slowest {what}", took[slowest[0]], [], "ms", "", rate=False, most=MUST)
    line.memory.append(memory)
    report.add(line)
    every = sorted(it for of_page in took.values() for it in of_page)
    p99 = every[len(every) * 99 // 100]
    report.add(Line(f"pages, p99 of all {what}", [p99], [], "ms", "", rate=False, most=MUST))


def one_of_each(machine: Machine, bank: Bank, rowcall: Rowcall) -> None:
    """A change that is applied, one that is refused, one that is tried twice, one that is not answered at first."""
    for path, fault, times in [(2, {"status": 422}, None), (3, {"status": 503}, 1), (4, "drop_before", 1)]:
        rule = {"fault": fault, "path": f"/objects/item/{path}"} | ({"times": times} if times else {})
        urllib.request.urlopen(f"{bank.url}/_control", json.dumps(rule).encode()).close()
    rowcall.run()
    rowcall.streaming_since()
    row = "id, 'Customer ' || id, id, now(), repeat('x', 200)"
    machine.sql("pages", f"insert into item select {row} from generate_series(1, 4) id")
    done = "(select sum(applied) from rowcall.route_status) = 3 and exists (select from rowcall.parked)"
    machine.wait_until("pages", done)
    # Ending it, the last records are written.
    rowcall.stop()


def park(machine: Machine, count: int) -> None:
    """As many as the one that is parked, in the states that need no other change beside them."""
    columns = machine.sql(
        "pages",
        """select string_agg(quote_ident(column_name), ',') from information_schema.columns
           where (table_schema, table_name) = ('rowcall', 'parked') and is_identity = 'NO' and is_generated = 'NEVER'""",
    ).split(",")
    differs = {
        "key": "'parked-' || n",
        "commit_lsn": "commit_lsn - n",
        "state": "(array['rejected', 'dead', 'retrying'])[1 + n % 3]",
        "reason": "(array['refused', 'transport', 'transport'])[1 + n % 3]",
        "next_attempt": "case n % 3 when 2 then now() + interval '1 day' end",
        "parked_at": "now() - n * interval '1 minute'",
    }
    values = ", ".join(differs.get(it, it) for it in columns)
    machine.sql(
        "pages",
        f"insert into rowcall.parked ({', '.join(columns)}) select {values} "
        f"from (select * from rowcall.parked limit 1) it, generate_series(1, {count - 1}) n",
        "analyze rowcall.parked",
    )


def log(rowcall: Rowcall, count: int) -> None:
    """As many as those that are logged: of 100, 2 are refused, 2 are tried again, 1 is not answered."""
    began = time.monotonic()
    with sqlite3.connect(rowcall.home / "rowcall-calls.db") as db:
        db.execute("pragma synchronous = off")
        db.execute("pragma cache_size = -262144")
        columns = [it[1] for it in db.execute("pragma table_info(call)")]
        kinds = {}
        for row in db.execute(f"select {', '.join(columns)} from call order by seq"):
            row = dict(zip(columns, row))
            kinds.setdefault(row["status"] if row["status"] not in (200, 201) else 200, template(row))
        if set(kinds) != {200, 422, 503, None}:
            raise RuntimeError(f"there are not these kinds of calls: {list(kinds)}")
        kind_of = {0: 422, 1: 422, 2: 503, 3: 503, 4: None}
        first = datetime.now(timezone.utc) - BACK
        marks = ", ".join("?" * len(columns))
        insert = f"insert into call ({', '.join(columns)}) values ({marks})"
        for start in range(0, count, 50_000):
            rows = (
                made(kinds[kind_of.get(n % 100, 200)], columns, n, first + BACK * n / count, n == count // 2)
                for n in range(start, min(start + 50_000, count))
            )
            db.executemany(insert, rows)
            db.commit()
        db.execute("pragma wal_checkpoint(truncate)")
    say(f"  {count:,} records in {time.monotonic() - began:.0f} s")


def template(row: dict) -> dict:
    """A record with marks where one differs from the other."""
    record = json.loads(row["record"])
    record |= {"id": "@ID@", "at": "@AT@", "keys": ["@KEY@"], "changes": ["@CHANGE@"], "run": "@RUN@"}
    record["request"]["body"] = record["request"]["body"].replace("Customer", "@NAME@")
    text = json.dumps(record, separators=(",", ":")).replace('"@RUN@"', "@RUN@")
    return row | {"record": text}


def made(kind: dict, columns: list[str], n: int, at: datetime, marked: bool) -> list:
    # A key has ten calls, and a tenth of all belong to a run.
    key, commit, run_id = str(n % 100_000), 0x2000000 + n, 7 if n % 10 == 9 else None
    change = f"0/{commit:X}.0"
    id = f"item-0000beef-{commit:X}-0-post#1"
    differs = {
        # As src/call_log/sqlite/place.rs has it, with other bits than those of the name's hash.
        "seq": ((int(at.timestamp()) * 1_000_000 + at.microsecond) << 11) + n % 2048,
        "spot": commit << 24,
        "key": key,
        "run": run_id,
    }
    text = kind["record"].replace("@ID@", id).replace("@KEY@", key).replace("@CHANGE@", change)
    text = text.replace("@AT@", at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")).replace("@RUN@", str(run_id or "null"))
    differs["record"] = text.replace("@NAME@", NEEDLE if marked else "Customer")
    return [differs.get(it, kind[it]) for it in columns]


class Client:
    """One connection, so that connecting is not measured."""

    def __init__(self, port: int):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def get(self, path: str) -> tuple[float, str]:
        began = time.monotonic()
        self.connection.request("GET", path)
        answer = self.connection.getresponse()
        text = answer.read().decode()
        took = (time.monotonic() - began) * 1000
        if answer.status != 200:
            raise RuntimeError(f"{path}: {answer.status}: {text[:500]}")
        return took, text

    def wait(self) -> None:
        for _ in range(600):
            try:
                self.get("/readyz")
                return
            except (OSError, RuntimeError, http.client.HTTPException):
                self.connection.close()
                time.sleep(0.1)
        raise RuntimeError("it does not get ready")

    def follow(self, path: str, link: str, steps: int) -> str:
        """Where one is after so many steps along a link."""
        for _ in range(steps):
            path = re.search(link, self.get(path)[1])[1].replace("&amp;", "&")
        return path


def ask(client: Client, machine: Machine, times: int) -> dict[str, list[float]]:
    client.wait()
    took: dict[str, list[float]] = {}
    for path in paths(client, machine):
        client.get(path)
        took[path] = [client.get(path)[0] for _ in range(times)]
    return took


def paths(client: Client, machine: Machine) -> list[str]:
    """Every page and every list, with each of its filters, also such as find nothing or lie far back."""
    calls = json.loads(client.get("/api/v1/calls?status=4xx&until=5d&limit=1")[1])[0]
    change, call = quote(calls["changes"][0]), quote(calls["id"], safe="")
    parked = machine.sql("pages", "select max(id) from rowcall.parked")
    pages = ["/", "/routes", "/routes/item", "/runs", "/remotes", "/schedule", "/operations", "/configuration"]
    pages += [f"/parked/{parked}?route=item", "/do/parked.retry?all=true", f"/calls/{call}"]
    pages += [f"/lineage?change={change}", "/assets/style.css", "/metrics", "/healthz", "/livez", "/readyz"]
    pages.append(client.follow("/parked", r'href="([^"]*)" rel="next"', 10))
    api = ["status", "sources", "routes", "remotes", "call-logs", "schedules", "halts", "configuration", "runs"]
    api += ["operations", "checkpoints", "openapi.json", "parked/summary", f"parked/{parked}", f"calls/{call}"]
    api += [f"lineage?change={change}", "lineage?remote_id=nothing", "parked?limit=1000", "calls?limit=500"]
    both = ["parked", "parked?route=item", "parked?key=parked-77", "parked?state=dead", "parked?reason=refused"]
    both += ["parked?older_than=2h", "parked?newer_than=2h", "parked?state=dead&key=none"]
    both += ["calls", "calls?entity=item", "calls?entity=none", "calls?route=item", "calls?route=none", "calls?key=77"]
    both += [f"calls?change={change}", "calls?run=7", "calls?status=4xx", "calls?status=503", "calls?status=2xx"]
    both += ["calls?status=204", "calls?status=4xx&route=none", "calls?class=transport", "calls?class=none"]
    both += ["calls?since=1h", "calls?since=5d&until=4d", "calls?entity=item&status=4xx&since=7d"]
    both += [f"calls?text={NEEDLE}", "calls?text=customer", "calls?text=nowhere&since=9d&entity=item"]
    both += [f"calls?before={call}", f"calls?before={call}&class=transport", f"calls?before={call}&status=4xx"]
    both += [f"calls?before={call}&text=nowhere"]
    return pages + [f"/api/v1/{it}" for it in api + both] + [f"/{it}" for it in both]
