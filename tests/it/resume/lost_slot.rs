//! A slot whose log the server removed, or that somebody dropped: whoever says so says the same, and
//! what is advised sets it right.

use crate::harness::{Live, Postgres, each_version, eventually, wait::LONG};
use rowcall::demo::{Fault, Rule};

const TABLE: &str = "create table customers (id int primary key)";

const ENTITY: &str = "
  customer:
    table: customers
    upsert: [{ put: '/objects/c/{{ row.id }}', body: {} }]";

/// A segment of the log is 16 MB, full or not.
async fn write_segments(live: &Live, count: usize) {
    for _ in 0..count {
        live.postgres.execute("select pg_logical_emit_message(false, 'test', ''), pg_switch_wal()").await;
    }
}

const ADVICE: &str = "run `rowcall init --rebind`, which makes it anew and goes on from there";

each_version! {
    async fn a_slot_in_danger_is_shouted_about_and_a_lost_one_stops_the_run_and_is_made_anew(version: Version) {
        let server = Postgres::with(version).conf("max_slot_wal_keep_size = 128MB").conf("max_wal_size = 32MB");
        let live = Live::on(server.start().await, TABLE, ENTITY).await;
        live.reconfigure(|yaml| yaml.replace("attempts: 3", "attempts: 1000000"));
        let mut service = live.run();
        live.after(&["insert into customers values (1)"]).await;
        live.acknowledged().await;
        live.rowcall.command(&["check"]).await.expect_code(0);
        live.bank.faults().add(Rule::new(Fault::Status(503)));
        live.postgres.execute("insert into customers values (2)").await;
        // Until little is left, and not so little that a checkpoint of the server ends it.
        let left = "select (safe_wal_size < (safe_wal_size + (pg_current_wal_lsn() - restart_lsn)) / 4)::text
                    from pg_replication_slots";
        while live.postgres.text(left).await.as_deref() != Some("true") {
            write_segments(&live, 1).await;
        }
        eventually("it is shouted about", LONG, async || {
            let said = service.stderr();
            if said.contains("`rowcall` may soon be lost") { Ok(()) } else { Err(said) }
        })
        .await;
        for command in ["status", "check"] {
            let said = live.rowcall.command(&[command]).await.expect_code(0).stdout;
            assert!(said.contains("`rowcall` may soon be lost") && said.contains("max_slot_wal_keep_size"), "{said}");
        }
        assert!(service.ended().is_none());

        write_segments(&live, 8).await;
        live.postgres.execute("checkpoint").await;
        let (status, stderr) = service.end().await;
        assert_eq!(status.code(), Some(1), "{stderr}");
        let mut said = vec![stderr];
        // A new start, `check` and `init` say the same.
        said.push(live.run().end().await.1);
        said.push(live.rowcall.command(&["check"]).await.expect_code(1).stdout);
        said.push(live.rowcall.command(&["init"]).await.expect_code(1).stderr);
        for said in said {
            for part in ["replication slot `rowcall` is lost", "changes since the checkpoint cannot be read any more", ADVICE] {
                assert!(said.contains(part), "no `{part}` in: {said}");
            }
        }
        let status = live.rowcall.command(&["status"]).await.expect_code(0).stdout;
        assert!(status.contains("is lost") && status.contains(ADVICE), "{status}");

        live.bank.faults().clear();
        live.calls();
        let made = live.rowcall.command(&["init", "--rebind"]).await.expect_code(0).stdout;
        assert!(made.contains("pg_drop_replication_slot") && made.contains("pg_create_logical_replication_slot"), "{made}");
        live.rowcall.command(&["check"]).await.expect_code(0);
        let service = live.run();
        live.after(&["insert into customers values (3)", "update customers set id = id where id = 2"]).await;
        let mut calls = live.calls();
        calls.sort();
        assert_eq!(calls, ["PUT /objects/c/2 {}", "PUT /objects/c/3 {}"], "what was touched is brought over");
        service.sigterm();
        assert_eq!(service.wait().await.code(), Some(0));
    }

    async fn a_slot_that_was_dropped_is_named_with_the_same_advice(version: Version) {
        let live = Live::new(version, TABLE, ENTITY).await;
        let service = live.run();
        live.after(&["insert into customers values (1)"]).await;
        service.sigterm();
        assert_eq!(service.wait().await.code(), Some(0));
        live.postgres.execute("select pg_drop_replication_slot('rowcall')").await;
        let check = live.rowcall.command(&["check"]).await.expect_code(1).stdout;
        assert!(check.contains("slot `rowcall` is gone") && check.contains(ADVICE), "{check}");
        let (status, stderr) = live.run().end().await;
        assert_eq!(status.code(), Some(1), "{stderr}");
        assert!(stderr.contains("replication slot `rowcall` is gone"), "{stderr}");
        assert!(stderr.contains("run `rowcall init --rebind`"), "{stderr}");
        live.rowcall.command(&["init", "--rebind"]).await.expect_code(0);
        let check = live.rowcall.command(&["check"]).await.expect_code(0).stdout;
        assert!(!check.contains("is gone"), "{check}");
        let _service = live.run();
        live.after(&["insert into customers values (2)"]).await;
        assert_eq!(live.calls().last().map(String::as_str), Some("PUT /objects/c/2 {}"));
    }
}
