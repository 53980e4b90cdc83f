//! A role that is no superuser, with the grants that `init --print` shows and no others.

use super::*;
use crate::harness::{Rowcall, live::configuration, settled};
use rowcall::demo::Bank;

const OWED: &str = "select count(*)::text from rowcall.write_back";

each_version! {
    async fn the_printed_grants_are_enough_and_their_lack_is_said(version: Version) {
        let postgres = Postgres::start(version).await;
        postgres.execute(TABLE).await;
        postgres.execute("create role app").await;
        let bank = Bank::start("127.0.0.1:0").await.expect("a bank");
        let url = postgres.url().replace("postgres@", "app@");
        let rowcall = Rowcall::with_config(&configuration(&url, &bank.url(), ENTITY));
        let printed = rowcall.command(&["init", "--print", "--server-version", version.major()]).await.expect_code(0);
        crate::command_line::init::psql(&postgres, &printed.stdout).await;
        let again = rowcall.command(&["init"]).await.expect_code(0);
        assert!(again.stdout.contains("everything is there already"), "{}", again.stdout);
        let check = rowcall.command(&["check"]).await.expect_code(0);
        assert!(check.stdout.contains("rows may be written back as origin `rowcall_rowcall`"), "{}", check.stdout);
        let service = rowcall.run();
        postgres.execute("insert into loans values (1, 10)").await;
        settled(&postgres).await;
        comes_to(&postgres, ROWS, "1 10 L1 applied").await;
        comes_to(&postgres, OWED, "0").await;
        service.sigkill().await;

        // Its origin is free once its server process has noticed.
        comes_to(&postgres, "select count(*)::text from pg_stat_activity where usename = 'app'", "0").await;
        postgres.execute("revoke update (sync_status) on loans from app;
            revoke execute on function pg_replication_origin_session_setup from app;
            alter table loans add doubled int generated always as (amount * 2) stored;
            select pg_replication_origin_drop('rowcall_rowcall')").await;
        rowcall.configure(&configuration(&url, &bank.url(), &ENTITY.replace("sync_error:", "doubled:")));
        let check = rowcall.command(&["check"]).await.expect_code(1);
        for message in [
            "replication origin `rowcall_rowcall`, under which rows are written back, does not exist",
            "grant execute on function pg_catalog.pg_replication_origin_session_setup(text) to \"app\"",
            "role `app` may not update sync_status of table public.loans",
            "column `doubled` of table public.loans is generated",
        ] {
            assert!(check.stdout.contains(message), "no {message} in\n{}", check.stdout);
        }
        // Changes go on, and what is owed is kept.
        let service = rowcall.run();
        postgres.execute("insert into loans values (2, 20)").await;
        settled(&postgres).await;
        assert_eq!(bank.stats().applied, 2);
        comes_to(&postgres, OWED, "1").await;
        drop(service);
    }
}
