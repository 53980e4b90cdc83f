//! A row that cannot be written now, or at all, keeps nobody else waiting.

use super::*;
use serde_json::Value;

#[tokio::test]
async fn a_row_that_an_application_holds_waits_alone() {
    let live = Live::new(Version::V16, TABLE, ENTITY).await;
    let _service = live.run();
    live.after(&["insert into loans values (1, 10), (2, 20)"]).await;
    repaid(&live.postgres).await;
    let mut application = live.postgres.client().await;
    let held = application.transaction().await.expect("a transaction");
    held.execute("select from loans where id = 1 for update", &[]).await.expect("to lock");
    // Its status is to be written once more, and another row's too.
    live.postgres.execute("update loans set sync_status = null, amount = 21 where id = 2").await;
    let owe = "insert into rowcall.write_back (source, route, key, \"values\")
               values ('main', 'loan', '1', '{\"sync_status\": \"later\"}')";
    live.postgres.execute(owe).await;
    comes_to(&live.postgres, "select sync_status from loans where id = 2", "applied").await;
    comes_to(
        &live.postgres,
        "select error from rowcall.write_back",
        "the row is locked by another transaction",
    )
    .await;
    assert_eq!(
        live.postgres.text("select sync_status from loans where id = 1").await.as_deref(),
        Some("applied")
    );
    held.commit().await.expect("to let go");
    comes_to(&live.postgres, "select sync_status from loans where id = 1", "later").await;
    repaid(&live.postgres).await;
}

#[tokio::test]
async fn a_row_that_the_database_refuses_is_found_shown_and_tried_again() {
    let live = Live::new(Version::V16, TABLE, ENTITY).await;
    live.postgres.execute("alter table loans add constraint no check (id <> 7 or remote_id is null)").await;
    let service = live.run();
    live.after(&["insert into loans select i, i from generate_series(1, 50) i"]).await;
    comes_to(&live.postgres, "select count(*)::text from loans where remote_id is not null", "49").await;
    comes_to(&live.postgres, "select string_agg(key, ' ') from rowcall.write_back", "7").await;
    let status = live.rowcall.command(&["status", "--json"]).await.expect_code(0);
    let status: Value = serde_json::from_str(&status.stdout).expect("JSON");
    let route = &status["routes"][0];
    assert_eq!(route["to_write_back"], 1, "{route}");
    let error = route["write_back_error"].as_str().expect("an error");
    assert!(error.starts_with("key 7: ") && error.contains("\"no\""), "{error}");
    let text = live.rowcall.command(&["status"]).await.expect_code(0).stdout;
    assert!(
        text.contains("1 row to be written back") && text.contains("cannot be written back: key 7"),
        "{text}"
    );
    assert!(service.stderr().contains("cannot be written back"), "{}", service.stderr());
    live.postgres.execute("alter table loans drop constraint no").await;
    repaid_row(&live.postgres, 7).await;
    repaid(&live.postgres).await;
    assert_eq!(live.calls().len(), 50);
}

/// What a trigger writes in the same transaction is ours too, and left out.
#[tokio::test]
async fn triggers_fire_and_what_they_write_is_left_out_too() {
    let live = Live::new(Version::V16, TABLE, ENTITY).await;
    live.postgres
        .execute(
            "create function more() returns trigger language plpgsql as $$ begin
                 if new.remote_id is not null and new.id < 100 then
                     insert into loans values (new.id + 100, 0) on conflict do nothing;
                 end if; return null; end $$;
             create trigger more after update on loans for each row execute function more()",
        )
        .await;
    let _service = live.run();
    live.after(&["insert into loans values (1, 10)"]).await;
    comes_to(&live.postgres, ROWS, "1 10 L1 applied; 101 0").await;
    repaid(&live.postgres).await;
    live.after(&[]).await;
    assert_eq!(live.calls(), [r#"POST /loans {"amount":10}"#]);
}

#[tokio::test]
async fn values_become_what_their_columns_are() {
    let sql = "create type mood as enum ('applied', 'dead');
        create domain short as varchar(9) not null default '';
        create table \"Odd\" (\"a key\" timestamptz, b text, m mood, j jsonb, js json, n numeric(9, 2), t int[],
            \"it's\" text, s short, primary key (b, \"a key\"))";
    let entity = "
  loan:
    table: Odd
    upsert:
      - name: create
        post: /loans
        body: {}
        save:
          id: '{{ answer.body.id }}'
          list: '{{ [1, 2] }}'
          map: { a: [true, null] }
          n: 12.5
    write_back:
      m: '{{ outcome }}'
      j: '{{ link.map }}'
      js: '{{ link.map }}'
      n: '{{ link.n }}'
      t: '{{ link.list }}'
      \"it's\": '{{ op }} of {{ key }}'
      s: \"{{ has(link.id) ? 'has' : null }}\"";
    let live = Live::new(Version::V16, sql, entity).await;
    let _service = live.run();
    let rows =
        "insert into \"Odd\" (\"a key\", b) values ('2024-02-03 04:05:06+01', 'x,y'), ('infinity', '\\')";
    live.after(&[rows]).await;
    repaid(&live.postgres).await;
    let seen = "select string_agg(concat_ws(' | ', m, j, js, n, t, \"it's\", s), '; ' order by \"a key\") from \"Odd\"";
    let seen = live.postgres.text(seen).await.expect("rows");
    let line = |key: &str| {
        let map = r#"{"a": [true, null]}"#;
        format!("applied | {map} | {map} | 12.50 | {{1,2}} | insert of {key} | has")
    };
    assert_eq!(seen, [line(r"2024-02-03 03:05:06+00,x\,y"), line(r"infinity,\\")].join("; "));
}

#[tokio::test]
async fn a_key_that_changes_is_written_under_its_new_name() {
    let live =
        Live::new(Version::V16, &format!("{TABLE}; alter table loans replica identity full"), ENTITY).await;
    let _service = live.run();
    live.after(&["insert into loans values (1, 10)", "update loans set id = 2"]).await;
    repaid(&live.postgres).await;
    comes_to(&live.postgres, "select concat_ws(' ', id, remote_id, sync_status) from loans", "2 L2 applied")
        .await;
}

#[tokio::test]
async fn what_cannot_be_written_back_is_refused_when_it_is_read() {
    let live = Live::new(Version::V16, TABLE, ENTITY).await;
    for (columns, message) in [
        ("id: '{{ link.loan_id }}'", "`id` is part of the key"),
        ("nope: '{{ link.loan_id }}'", "the table has no column `nope`"),
        ("remote_id: '{{ link.lone_id }}'", "no step saves `lone_id`"),
        ("remote_id: '{{ row.amount }}'", "what is in it is there already"),
        ("remote_id: '{{ saved.loan_id }}'", "everything that was saved is in `link`"),
    ] {
        let (before, _) = ENTITY.split_once("    write_back").expect("it is there");
        live.configure(&format!("{before}    write_back: {{ {columns} }}"));
        let check = live.rowcall.command(&["check"]).await;
        let said = format!("{}{}", check.stdout, check.stderr);
        assert!(check.status.code() != Some(0) && said.contains(message), "{columns}:\n{said}");
    }
}

/// What is said once for all mapping can be said here too.
#[tokio::test]
async fn fragments_are_used_in_what_is_written_back() {
    let (before, _) = ENTITY.split_once("    write_back").expect("it is there");
    let entity = format!(
        "{before}    write_back: {{ remote_id: '{{{{ fragment.named }}}}', sync_status: '{{{{ fragment.told }}}}' }}
    rules: {{ fragments: {{ told: '{{{{ outcome }}}} by {{{{ fragment.who }}}}', named: 'no. {{{{ link.loan_id }}}}' }} }}
rules: {{ fragments: {{ who: 'us' }} }}"
    );
    let live = Live::new(Version::V16, TABLE, &entity).await;
    live.rowcall.command(&["check"]).await.expect_code(0);
    let _service = live.run();
    live.after(&["insert into loans values (1, 10)"]).await;
    comes_to(&live.postgres, ROWS, "1 10 no. L1 applied by us").await;
    live.reconfigure(|yaml| yaml.replace("{{ outcome }} by", "{{ row.amount }} by"));
    let check = live.rowcall.command(&["check"]).await;
    let said = format!("{}{}", check.stdout, check.stderr);
    assert!(check.status.code() != Some(0) && said.contains("what is in it is there already"), "{said}");
}

/// Others are written while it is tried again and again.
#[tokio::test]
async fn a_row_whose_update_takes_too_long_waits_alone() {
    let live = Live::new(Version::V16, TABLE, ENTITY).await;
    live.postgres
        .execute(
            "create function slow() returns trigger language plpgsql as $$ begin
                 if new.id = 7 and not exists (select from pg_class where relname = 'fast') then
                     raise exception 'canceling statement due to statement timeout' using errcode = 'query_canceled';
                 end if; return new; end $$;
             create trigger slow before update on loans for each row execute function slow()",
        )
        .await;
    let service = live.run();
    live.after(&["insert into loans select i, i from generate_series(1, 50) i"]).await;
    comes_to(&live.postgres, "select count(*)::text from loans where remote_id is not null", "49").await;
    let failed = "select (key = '7' and error like '%statement timeout%' and attempts > 0)::text from rowcall.write_back";
    comes_to(&live.postgres, failed, "true").await;
    // What comes later does not wait for it either.
    live.after(&["insert into loans select i, i from generate_series(51, 60) i"]).await;
    comes_to(&live.postgres, "select count(*)::text from loans where remote_id is not null", "59").await;
    live.postgres.execute("create table fast ()").await;
    repaid_row(&live.postgres, 7).await;
    repaid(&live.postgres).await;
    assert!(!service.stderr().contains("writing back: "), "{}", service.stderr());
}
