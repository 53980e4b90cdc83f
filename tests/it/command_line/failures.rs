//! What cannot work ends with a message and a code: 1 failed, 2 bad usage or configuration.

use crate::harness::{Live, Postgres, Rowcall, Version, live::configuration, rowcall};

const ENTITY: &str = "
  customer:
    table: customers
    upsert: [{ put: '/objects/c/{{ row.id }}', body: { name: '{{ row.name }}' } }]";

const TABLE: &str = "create table customers (id int primary key, name text)";

/// Ends with this code and says all of it, without a panic.
async fn fails(home: &Rowcall, args: &[&str], code: i32, parts: &[&str]) {
    let output = if args == ["run"] {
        let (status, stderr) = home.run().end().await;
        assert_eq!(status.code(), Some(code), "{stderr}");
        stderr
    } else {
        home.command(args).await.expect_code(code).stderr
    };
    assert!(!output.contains("panicked"), "{output}");
    for part in parts {
        assert!(output.contains(part), "{args:?}: no `{part}` in:\n{output}");
    }
}

#[tokio::test]
async fn usage_is_explained() {
    let help = rowcall(&["--help"]).await.expect_code(0).stdout;
    for command in ["init", "check", "run", "status", "preview", "parked", "config", "demo"] {
        assert!(help.contains(&format!("\n  {command} ")), "{command}: {help}");
        let own = rowcall(&[command, "--help"]).await.expect_code(0).stdout;
        assert!(own.contains("Usage: rowcall") && own.len() > 200, "{own}");
    }
    let typo = rowcall(&["statsu"]).await.expect_code(2);
    assert!(typo.stderr.contains("status"), "{}", typo.stderr);
    let version = rowcall(&["--version"]).await.expect_code(0);
    assert_eq!(version.stdout.trim(), format!("rowcall {}", env!("CARGO_PKG_VERSION")));
}

#[tokio::test]
async fn a_configuration_that_is_not_there_or_wrong_is_said_all_at_once() {
    for command in ["run", "check", "init", "status"] {
        let missing = rowcall(&[command, "--config", "/nowhere/rowcall.yaml"]).await.expect_code(2);
        assert!(missing.stderr.contains("/nowhere/rowcall.yaml"), "{}", missing.stderr);
    }
    let yaml = "sources:\n  main: { ulr: postgres://localhost/x }\nremotes:\n  bank: { url: http://bank.example }\n\
                entities:\n  c: { table: c, upsert: [{ name: x, pot: /x }], delete: [{ put: '/{{ row.id' }] }\n";
    let home = Rowcall::with_config(yaml);
    let parts = ["rowcall.yaml:2:", "`ulr`", "`url`", "rowcall.yaml:4:", "rowcall.yaml:6:", "`pot`"];
    for command in ["run", "check", "init"] {
        fails(&home, &[command], 2, &parts).await;
    }
    home.configure(&configuration(
        "postgres://app@localhost/x",
        "http://127.0.0.1:1",
        "\n  c: { table: c, upsert: [{ put: '/{{ row.id' }] }",
    ));
    fails(&home, &["run"], 2, &["rowcall.yaml:", "{{ row.id"]).await;
    home.configure(&configuration("${NOT_SET}", "http://127.0.0.1:1", ENTITY));
    fails(&home, &["run"], 2, &["NOT_SET"]).await;
}

#[tokio::test]
async fn a_wrong_password_is_final_and_a_server_that_is_not_there_is_said() {
    let postgres = Postgres::with(Version::V16).hba("host all app all scram-sha-256").start().await;
    postgres.execute("create role app login replication password 'right'").await;
    let home = Rowcall::with_config(&configuration(
        &postgres.url_as("app", "wr0ng-secret"),
        "http://127.0.0.1:1",
        ENTITY,
    ));
    for command in [&["run"][..], &["init"], &["status"]] {
        fails(&home, command, 1, &["password authentication failed", "app"]).await;
    }
    let check = home.command(&["check"]).await.expect_code(1);
    assert!(
        check.stdout.contains("✗ source `main`") && check.stdout.contains("password"),
        "{}",
        check.stdout
    );
    assert!(check.stdout.contains("correct `sources.main.url`"), "{}", check.stdout);
    let nowhere = crate::harness::postgres::unused_port();
    home.configure(&configuration(
        &format!("postgres://a@127.0.0.1:{nowhere}/x"),
        "http://127.0.0.1:1",
        ENTITY,
    ));
    fails(&home, &["init"], 1, &[&format!("127.0.0.1:{nowhere}")]).await;
    home.configure(&configuration(&postgres.url_of("nodb"), "http://127.0.0.1:1", ENTITY));
    fails(&home, &["run"], 1, &["nodb", "does not exist"]).await;
}

#[tokio::test]
async fn what_init_makes_is_missed_by_name() {
    let live = Live::new(Version::V16, TABLE, ENTITY).await;
    let fresh = Postgres::start(Version::V16).await;
    fresh.execute(TABLE).await;
    let home = Rowcall::with_config(&configuration(&fresh.url(), &live.bank.url(), ENTITY));
    for command in [&["run"][..], &["status"], &["parked", "list"]] {
        fails(&home, command, 1, &["schema `rowcall`", "run `rowcall init`"]).await;
    }
    live.postgres.execute("select pg_drop_replication_slot('rowcall')").await;
    fails(&live.rowcall, &["run"], 1, &["replication slot `rowcall` does not exist", "`rowcall init`"]).await;
    live.rowcall.command(&["init"]).await.expect_code(0);
    live.postgres.execute("drop publication rowcall; insert into customers values (1)").await;
    fails(&live.rowcall, &["run"], 1, &["publication `rowcall` does not", "run `rowcall init`"]).await;
}

#[tokio::test]
async fn a_newer_server_that_lacks_the_publication_is_no_less_clear() {
    let live = Live::new(Version::V18, TABLE, ENTITY).await;
    live.postgres.execute("drop publication rowcall; insert into customers values (1)").await;
    fails(&live.rowcall, &["run"], 1, &["publication `rowcall` does not", "run `rowcall init`"]).await;
    assert_eq!(live.calls(), [""; 0]);
}

#[tokio::test]
async fn tables_that_do_not_fit_are_refused_before_anything_is_sent() {
    let live = Live::new(Version::V16, TABLE, ENTITY).await;
    let with = |change: &dyn Fn(&str) -> String| live.configure(&change(ENTITY));
    with(&|it| it.replace("table: customers", "table: crm.missing"));
    fails(&live.rowcall, &["init"], 1, &["crm", "does not exist"]).await;
    fails(&live.rowcall, &["run"], 1, &["table crm.missing does not exist", "`table`"]).await;

    live.postgres.execute("create table keyless (id int, name text)").await;
    with(&|it| it.replace("table: customers", "table: keyless"));
    fails(&live.rowcall, &["run"], 1, &["entities.customer", "public.keyless has no primary key", "`key`"])
        .await;

    with(&|it| it.replace("row.name", "row.nmae"));
    let place = ["rowcall.yaml:", "entities.customer", "`nmae`; did you mean `name`?"];
    fails(&live.rowcall, &["run"], 1, &place).await;
    // A supervisor that starts it again gets no further.
    fails(&live.rowcall, &["run"], 1, &place).await;
    let check = live.rowcall.command(&["check"]).await.expect_code(1);
    assert!(place.iter().all(|part| check.stdout.contains(part)), "{}", check.stdout);

    with(&|it| it.replace("table: customers", "table: customers\n    key: [id, other]"));
    fails(&live.rowcall, &["run"], 1, &["key column `other` does not exist in table public.customers"]).await;
    live.postgres.execute("create view seen as select * from customers").await;
    with(&|it| it.replace("table: customers", "table: seen\n    key: id"));
    fails(&live.rowcall, &["init"], 1, &["seen"]).await;
    assert_eq!(live.bank.stats().requests, 0);
}

#[tokio::test]
async fn privileges_that_are_missing_are_named_with_the_grant() {
    let live = Live::new(Version::V16, TABLE, ENTITY).await;
    live.postgres.execute("create role app login").await;
    live.reconfigure(|yaml| yaml.replace("postgres://postgres@", "postgres://app@"));
    fails(&live.rowcall, &["run"], 1, &["permission denied"]).await;
    live.postgres
        .execute(
            "grant usage on schema rowcall to app; grant all on all tables in schema rowcall to app;
             grant usage on all sequences in schema rowcall to app",
        )
        .await;
    fails(&live.rowcall, &["run"], 1, &["`app`", "REPLICATION"]).await;
    live.postgres.execute("alter role app replication").await;
    // The stream itself needs no SELECT; reading rows does.
    let check = live.rowcall.command(&["check"]).await.expect_code(1);
    assert!(
        check.stdout.contains("grant select on table \"public\".\"customers\" to \"app\""),
        "{}",
        check.stdout
    );
    live.postgres.execute("grant select on customers to app").await;
    live.rowcall.command(&["check"]).await.expect_code(0);
    let _service = live.run();
    live.after(&["insert into customers values (1, 'a')"]).await;
    assert_eq!(live.calls().len(), 1, "no more is needed");
}
