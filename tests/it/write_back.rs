//! What was captured, and how it went, comes back into the row, and never out again.

mod again;
mod refusals;
mod rights;

use crate::harness::{Live, Postgres, Version, each_version, eventually, wait::LONG};
use rowcall::demo::{Fault, Rule};

const TABLE: &str =
    "create table loans (id int primary key, amount int, remote_id text, sync_status text, sync_error text)";

const ENTITY: &str = "
  loan:
    table: loans
    upsert:
      - name: create
        if: '{{ !has(link.loan_id) }}'
        post: /loans
        body: { amount: '{{ row.amount }}' }
        save: { loan_id: '{{ answer.body.id }}' }
      - { name: update, if: '{{ has(link.loan_id) }}', patch: '/loans/{{ link.loan_id }}', body: { amount: '{{ row.amount }}' } }
    delete: [{ name: close, delete: '/loans/{{ link.loan_id }}', accept: [200, 204, 404] }]
    write_back: { remote_id: '{{ link.loan_id }}', sync_status: '{{ outcome }}', sync_error: '{{ error }}' }";

/// Waits until the query gives this, and nothing more is to be written.
async fn comes_to(postgres: &Postgres, sql: &str, expected: &str) {
    let client = postgres.client().await;
    eventually(&format!("{expected} of {sql}"), LONG, async || {
        let seen: Option<String> = client.query_one(sql, &[]).await.expect(sql).get(0);
        if seen.as_deref() == Some(expected) { Ok(()) } else { Err(seen) }
    })
    .await;
}

/// Waits until nothing is owed to any row.
async fn repaid(postgres: &Postgres) {
    comes_to(postgres, "select count(*)::text from rowcall.write_back", "0").await;
}

const ROWS: &str =
    "select string_agg(concat_ws(' ', id, amount, remote_id, sync_status, left(sync_error, 40)), '; '
    order by id) from loans";

each_version! {
    async fn captured_values_come_back_and_never_out_again(version: Version) {
        let live = Live::new(version, TABLE, ENTITY).await;
        let service = live.run();
        live.after(&["insert into loans values (1, 10)"]).await;
        live.after(&["insert into loans values (2, 20)"]).await;
        comes_to(&live.postgres, ROWS, "1 10 L1 applied; 2 20 L2 applied").await;
        repaid(&live.postgres).await;
        assert_eq!(live.calls(), [r#"POST /loans {"amount":10}"#, r#"POST /loans {"amount":20}"#]);
        // What an application writes into the very same row is replicated.
        live.after(&["update loans set amount = 11, sync_status = 'mine' where id = 1"]).await;
        assert_eq!(live.calls(), [r#"PATCH /loans/L1 {"amount":11}"#]);
        comes_to(&live.postgres, ROWS, "1 11 L1 applied; 2 20 L2 applied").await;
        // Refused, and then well again.
        live.bank.faults().add(Rule::new(Fault::Status(422)));
        live.after(&["update loans set amount = 12 where id = 1"]).await;
        let refused = "1 12 L1 rejected step `update`: PATCH /loans/L1 was answe; 2 20 L2 applied";
        comes_to(&live.postgres, ROWS, refused).await;
        live.bank.faults().clear();
        live.rowcall.command(&["parked", "retry", "--all"]).await.expect_code(0);
        comes_to(&live.postgres, ROWS, "1 12 L1 applied; 2 20 L2 applied").await;
        // A row that is gone has nothing coming to it.
        live.after(&["insert into loans values (3, 30); delete from loans where id = 3"]).await;
        repaid(&live.postgres).await;
        live.calls();
        live.acknowledged().await;
        assert_eq!(live.calls(), [""; 0]);
        service.sigterm();
        assert_eq!(service.wait().await.code(), Some(0));
    }
}

#[tokio::test]
async fn ten_thousand_rows_are_written_in_few_transactions() {
    let live = Live::new(Version::V16, TABLE, ENTITY).await;
    live.postgres.execute("create table statements (at xid8); create function counted() returns trigger language plpgsql
        as $$ begin if new.remote_id is not null then insert into statements values (pg_current_xact_id()); end if; return null; end $$;
        create trigger count after update on loans for each row execute function counted()").await;
    let _service = live.run();
    live.after(&["insert into loans select i, i from generate_series(1, 10000) i"]).await;
    comes_to(&live.postgres, "select count(*)::text from loans where remote_id is not null", "10000").await;
    repaid(&live.postgres).await;
    assert_eq!(
        live.postgres.text("select count(*) from statements").await.as_deref(),
        Some("10000"),
        "each once"
    );
    let transactions = live.postgres.text("select count(distinct at::text) from statements").await;
    let transactions: u32 = transactions.and_then(|it| it.parse().ok()).expect("a number");
    // Half-empty batches are those that were there when it was looked.
    assert!(transactions <= 1_000, "{transactions}");
    assert_eq!(live.calls().len(), 10_000);
}

/// The values are owed when the process dies, and come with the next one.
#[tokio::test]
async fn what_is_owed_at_a_crash_is_written_after_the_restart() {
    let live = Live::new(Version::V16, TABLE, ENTITY).await;
    // Nothing can be written into the rows as long as the test does not let go.
    live.postgres
        .execute(
            "create function wait() returns trigger language plpgsql as $$ begin
                 perform pg_advisory_xact_lock_shared(42); return new; end $$;
             create trigger wait before update on loans for each row execute function wait()",
        )
        .await;
    let application = live.postgres.client().await;
    application.execute("select pg_advisory_lock(42)", &[]).await.expect("to lock");
    let service = live.run();
    live.after(&["insert into loans values (1, 10), (2, 20), (3, 30)"]).await;
    comes_to(&live.postgres, "select count(*)::text from rowcall.write_back", "3").await;
    service.sigkill().await;
    drop(application);
    let _service = live.run();
    let all = "select count(*)::text from loans where remote_id is not null and sync_status = 'applied'";
    comes_to(&live.postgres, all, "3").await;
    repaid(&live.postgres).await;
    live.after(&[]).await;
    assert_eq!(live.calls().len(), 3, "nothing came out again");
}

async fn repaid_row(postgres: &Postgres, id: i32) {
    comes_to(postgres, &format!("select (remote_id is not null)::text from loans where id = {id}"), "true")
        .await;
}
