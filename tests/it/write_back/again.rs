//! A row that was deleted and inserted again is another one.

use super::*;

/// What was brought for the former row is owed when the key is given to another one.
#[tokio::test]
async fn what_was_brought_for_a_deleted_row_never_comes_to_the_next_one_of_its_key() {
    let live = Live::new(Version::V16, TABLE, ENTITY).await;
    // Every row that anything of the first object was ever written into.
    live.postgres
        .execute(
            "create table written (id int, amount int, remote_id text);
             create function note() returns trigger language plpgsql as $$ begin
                 insert into written values (new.id, new.amount, new.remote_id); return null; end $$;
             create trigger note after update of remote_id on loans for each row execute function note()",
        )
        .await;
    // The answer to the first one is held back until the row has been replaced, and the second one is refused.
    let mut application = live.postgres.client().await;
    let held = application.transaction().await.expect("a transaction");
    let service = live.run();
    live.after(&["insert into loans values (9, 9)"]).await;
    repaid(&live.postgres).await;
    held.execute("lock table rowcall.checkpoint in exclusive mode", &[]).await.expect("to lock");
    live.postgres.execute("insert into loans values (1, 10)").await;
    live.calls_made(2).await;
    live.bank.faults().add(Rule::new(Fault::Status(422)).method("POST"));
    live.postgres.execute("delete from loans where id = 1; insert into loans values (1, 20)").await;
    held.commit().await.expect("to let go");
    comes_to(&live.postgres, "select sync_status from loans where id = 1", "rejected").await;
    repaid(&live.postgres).await;
    let seen = "select string_agg(concat_ws(' ', id, amount, remote_id), '; ') from written";
    assert_eq!(live.postgres.text(seen).await.as_deref(), Some("9 9 L1; 1 20"));
    service.sigterm();
    assert_eq!(service.wait().await.code(), Some(0));
}

/// The delete is not read yet when the value is there to be written.
#[tokio::test]
async fn a_value_waits_until_it_is_known_what_became_of_a_row_that_was_written_since() {
    let live = Live::new(Version::V16, TABLE, ENTITY).await;
    let service = live.run();
    live.after(&["insert into loans values (1, 10), (2, 20)"]).await;
    repaid(&live.postgres).await;
    service.sigterm();
    assert_eq!(service.wait().await.code(), Some(0));
    // Owed since a former process; meanwhile one row was updated, and the other replaced.
    let owe = "insert into rowcall.write_back (source, route, key, \"values\", transaction)
               select 'main', 'loan', id::text, '{\"remote_id\": \"former\"}', xmin::text::bigint from loans";
    live.postgres.execute(owe).await;
    // An update that nobody will be told of, so that nothing is owed anew.
    live.postgres
        .execute(
            "select pg_replication_origin_session_setup('rowcall_rowcall');
             update loans set amount = 11 where id = 1",
        )
        .await;
    live.postgres.execute("delete from loans where id = 2").await;
    live.postgres.execute("insert into loans values (2, 21)").await;
    live.bank.faults().add(Rule::new(Fault::Status(422)));
    let _service = live.run();
    comes_to(&live.postgres, ROWS, "1 11 former applied; 2 21").await;
    repaid(&live.postgres).await;
    comes_to(&live.postgres, ROWS, "1 11 former applied; 2 21").await;
}
