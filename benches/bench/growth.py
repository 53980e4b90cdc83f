"""What a change costs in processor time where there are many routes, or many slow remotes."""

from bench.machine import Machine, say
from bench.report import Line, Report
from bench.tables import ENTITY, ITEM, NOTE


CHANGES, RUNS = 20_000, 3


def run(machine: Machine, report: Report) -> None:
    cases = [(f"{routes:,} route{'s' * (routes > 1)}", routes, 1, 0) for routes in [1, 10, 100, 1000]]
    cases += [
        (f"{remotes} remote{'s' * (remotes > 1)}, {delay} ms to answer", 16, remotes, delay)
        for remotes in [1, 4, 16]
        for delay in [0, 50, 200]
    ]
    lines = [Line(f"processor time, {name}", [], [], "µs a change", "", rate=False) for name, *_ in cases]
    for _ in range(RUNS):
        for line, one in zip(lines, cases):
            case(machine, line, *one)
    for line in lines:
        report.add(line)


def case(machine: Machine, line: Line, name: str, routes: int, remotes: int, delay: int) -> None:
    say(f"growth: {name}")
    tables = [f"create table item{it} {ITEM}" for it in range(routes)]
    url = machine.database("growth", *tables)
    bank = machine.bank()
    if delay:
        bank.delay(delay)
    declared = "\n".join(f'  bank{it}: {{ url: "{bank.url}", concurrency: 64 }}' for it in range(remotes))
    entities = "".join(
        f"\n  item{it}:\n    table: item{it}\n    remote: bank{it % remotes}\n{ENTITY.replace('/item/', f'/item{it}/')}"
        for it in range(routes)
    )
    rowcall = machine.rowcall(
        f'sources: {{ main: {{ url: "{url}" }} }}\nremotes:\n{declared}\n'
        f"call_log: {{ enabled: false }}\nadmin: {{ listen: off }}\nentities:{entities}\nlog: {{ format: json, level: \"info,rowcall::outcome=warn\" }}\n"
    )
    rowcall.command("init")
    rowcall.run()
    rowcall.streaming_since()
    before = rowcall.cpu()
    # By turns, so that every transaction is of all tables.
    each = CHANGES // routes
    for start in range(0, each, 100):
        stop = min(start + 100, each)
        # `format` takes `%` for its own.
        row = f"id, ''Customer '' || id, id %% 100000 / 100.0, now(), repeat(''x'', {NOTE})"
        insert = f"insert into item%s select {row} from generate_series({start + 1}, {stop}) id"
        loop = f"for it in 0 .. {routes - 1} loop execute format('{insert}', it); end loop"
        machine.sql("growth", f"do $$ begin {loop}; end $$")
    end = machine.sql("growth", "select pg_current_wal_insert_lsn()")
    machine.sql("growth", "insert into item0 values (0, 'last', 1, now())")
    machine.wait_until("growth", f"exists (select from rowcall.checkpoint where lsn >= '{end}')")
    line.ours.append((rowcall.cpu() - before) / CHANGES * 1e6)
    line.memory.append(rowcall.peak())
    rowcall.stop()
    bank.stop()
    machine.drop("growth")
