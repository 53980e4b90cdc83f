//! Runs that the service asks for by itself.

mod audits;
mod queries;

use crate::harness::{Live, Version, each_version, eventually, wait::LONG};
use serde_json::Value;

const TABLE: &str =
    "create table customers (id int primary key, name text); insert into customers values (1, 'a'), (2, 'b')";

const ENTITY: &str = "
  customer:
    table: customers
    upsert: [{ name: put, put: '/objects/c/{{ row.id }}', body: { name: '{{ row.name }}' } }]
    schedule: { run: snapshot, cron: '* * 29 2 *' }";

/// The time of the only schedule has come, once it has begun.
async fn missed(live: &Live) {
    let begun = "select count(*) from rowcall.schedule where last_at > now() - interval '1 day'";
    eventually("the schedule has begun", LONG, async || {
        let count = live.postgres.text(begun).await;
        if count.as_deref() == Some("1") { Ok(()) } else { Err(count) }
    })
    .await;
    live.postgres.execute("update rowcall.schedule set last_at = last_at - interval '20 years'").await;
}

/// Waits until the `nth` run that a schedule asked for is in this state, and gives its number.
async fn over(live: &Live, nth: u32, state: &str) -> i64 {
    let runs =
        "select array_agg(concat(id, ' ', state) order by id) from rowcall.run where origin = 'schedule'";
    let nth = format!("select ({runs})[{nth}]");
    eventually(&format!("a run is {state}"), LONG, async || {
        let run = live.postgres.text(&nth).await;
        let id = run.as_deref().and_then(|it| it.strip_suffix(state)).and_then(|it| it.trim().parse().ok());
        id.ok_or(run)
    })
    .await
}

each_version! {
    async fn what_was_missed_is_asked_for_once_and_a_new_schedule_misses_nothing(version: Version) {
        let live = Live::new(version, TABLE, ENTITY).await;
        let service = live.run();
        let begun = "select count(*) from rowcall.schedule where last_at > now() - interval '1 day'";
        eventually("the schedule has begun", LONG, async || {
            let count = live.postgres.text(begun).await;
            if count.as_deref() == Some("1") { Ok(()) } else { Err(count) }
        })
        .await;
        let runs = "select count(*) from rowcall.run";
        assert_eq!(live.postgres.text(runs).await.as_deref(), Some("0"));
        // Old runs are forgotten by the next start, but not what a first start asked for.
        live.postgres
            .execute(
                "insert into rowcall.run (source, kind, entity, origin, state, finished_at)
                 select 'main', 'snapshot', 'customer', origin, 'cancelled', now() - interval '31 days'
                 from unnest(array['command', 'initial']) as origin;
                 update rowcall.schedule set last_at = last_at - interval '20 years'",
            )
            .await;
        live.calls_made(2).await;
        let done = "select count(*) from rowcall.run where origin = 'schedule' and state = 'done'";
        eventually("the run is done", LONG, async || {
            let count = live.postgres.text(done).await;
            if count.as_deref() == Some("1") { Ok(()) } else { Err(count) }
        })
        .await;
        service.sigterm();
        service.wait().await;
        let service = live.run();
        let old = "select string_agg(origin, ' ' order by origin) from rowcall.run";
        eventually("the old run is forgotten", LONG, async || {
            let origins = live.postgres.text(old).await;
            if origins.as_deref() == Some("initial schedule") { Ok(()) } else { Err(origins) }
        })
        .await;
        let status = live.rowcall.command(&["status", "--json"]).await.expect_code(0);
        let status: Value = serde_json::from_str(&status.stdout).expect("a status");
        let schedule = &status["schedules"][0];
        assert_eq!((schedule["entity"].as_str(), schedule["run"].as_str()), (Some("customer"), Some("snapshot")));
        assert!(schedule["last"].is_string() && schedule["next"].is_string(), "{schedule}");
        let status = live.rowcall.command(&["status"]).await.expect_code(0);
        assert!(status.stdout.contains("schedule snapshot customer `* * 29 2 *` (UTC)"), "{}", status.stdout);
        service.sigkill().await;
    }
}

#[tokio::test]
async fn a_schedule_is_run_now_with_its_own_rows_and_options() {
    let other = "
      - { run: snapshot, cron: '0 4 29 2 *', where: 'id = 2', force: true }";
    let entity = ENTITY.replace("schedule: {", "schedule:\n      - {") + other;
    let live = Live::new(Version::V16, TABLE, &entity).await;
    let run = async |name: &str| live.rowcall.command(&["runs", "scheduled", name]).await;
    for (name, told) in [("loan", "there is no schedule `loan`"), ("customer", "there are several schedules")]
    {
        let refused = run(name).await.expect_code(2).stderr;
        assert!(
            refused.contains(told) && refused.contains("`customer snapshot 0 4 29 2 * UTC where id = 2`"),
            "{refused}"
        );
    }
    run("customer snapshot 0 4").await.expect_code(0);
    let service = live.run();
    assert_eq!(live.calls_made(1).await, [r#"PUT /objects/c/2 {"name":"b"}"#]);
    let sql = "select concat_ws(' ', origin, options) from rowcall.run";
    let asked = live.postgres.text(sql).await.expect("a run");
    assert_eq!(asked, r#"command {"force": true, "where": "id = 2"}"#);
    drop(service);
}
