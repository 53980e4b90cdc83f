//! What of a row is known: large values, columns that come and go, and further reads.

use crate::harness::{Live, Version, each_version};

const DOCUMENTS: &str = "create table documents (id int primary key, title text, content text);
    alter table documents alter content set storage external";

const LARGE: &str = "repeat('0123456789', 1000)";

fn document(rest: &str) -> String {
    format!(
        "
  document:
    table: documents{rest}
    upsert: [{{ put: '/objects/d/{{{{ row.id }}}}', body: {{ title: '{{{{ row.title }}}}', content: '{{{{ row.content }}}}' }} }}]"
    )
}

each_version! {
    async fn a_large_value_that_was_not_touched_is_left_out_unless_the_row_is_fetched(version: Version) {
        let live = Live::new(version, DOCUMENTS, &document("")).await;
        let service = live.run();
        live.after(&[&format!("insert into documents values (1, 'a', {LARGE})"), "update documents set title = 'b'"]).await;
        let calls = live.calls();
        assert!(calls[0].len() > 10_000, "{}", calls[0]);
        assert_eq!(calls[1], r#"PUT /objects/d/1 {"title":"b"}"#);
        service.sigterm();
        service.wait().await;
        live.configure(&document("\n    fetch: row"));
        let _service = live.run();
        live.after(&["update documents set title = 'c'"]).await;
        let calls = live.calls();
        assert!(calls[0].starts_with(r#"PUT /objects/d/1 {"title":"c","content":"01234567890"#), "{calls:?}");
    }

    async fn a_column_that_is_added_is_seen_and_one_that_a_template_names_parks_when_it_is_dropped(version: Version) {
        let entities = "
  whole:
    table: things
    upsert: [{ put: '/objects/whole/{{ row.id }}', body: { all: '{{ row }}' } }]
  named:
    table: things
    upsert: [{ put: '/objects/named/{{ row.id }}', body: { name: '{{ row.name }}' } }]";
        let live = Live::new(version, "create table things (id int primary key, name text)", entities).await;
        let service = live.run();
        live.after(&[
            "insert into things values (1, 'a')",
            "alter table things add extra numeric default 1.50",
            "insert into things values (2, 'b')",
            "begin; insert into things values (3, 'c'); alter table things alter extra type text; \
             insert into things values (4, 'd', 'text'); commit",
            "alter table things rename extra to more",
            "insert into things values (5, 'e', 'renamed')",
        ]).await;
        let mut calls = live.calls();
        calls.retain(|call| call.contains("whole"));
        calls.sort();
        assert_eq!(calls, [
            r#"PUT /objects/whole/1 {"all":{"id":1,"name":"a"}}"#,
            r#"PUT /objects/whole/2 {"all":{"id":2,"name":"b","extra":1.50}}"#,
            r#"PUT /objects/whole/3 {"all":{"id":3,"name":"c","extra":1.50}}"#,
            r#"PUT /objects/whole/4 {"all":{"id":4,"name":"d","extra":"text"}}"#,
            r#"PUT /objects/whole/5 {"all":{"id":5,"name":"e","more":"renamed"}}"#,
        ]);
        live.after(&["alter table things drop name", "insert into things values (6)"]).await;
        assert_eq!(live.calls(), [r#"PUT /objects/whole/6 {"all":{"id":6,"more":"1.50"}}"#]);
        let parked = live.parked_as(&["named 6 rejected template"]).await;
        let message = parked[0]["message"].as_str().expect("a message");
        assert!(message.contains("`name`") && message.contains("rowcall.yaml:"), "{message}");
        // After a restart too: the one route parks, the other goes on.
        service.sigterm();
        service.wait().await;
        let service = live.run();
        live.after(&["insert into things values (7)"]).await;
        assert_eq!(live.calls(), [r#"PUT /objects/whole/7 {"all":{"id":7,"more":"1.50"}}"#]);
        live.parked_as(&["named 6 rejected template", "named 7 rejected template"]).await;
        assert!(service.stderr().contains("`name`"), "{}", service.stderr());
        // The column is back: what was parked without it cannot be sent, what comes now can.
        live.after(&["alter table things add name text", "insert into things values (8, 'x', 'back')"]).await;
        assert!(live.calls().contains(&r#"PUT /objects/named/8 {"name":"back"}"#.to_owned()));
    }
}

#[tokio::test]
async fn a_fetch_query_gives_what_the_row_has_not() {
    let entities = "
  order:
    table: orders
    tables: { lines: { key: [year, no] } }
    fetch: >-
      select coalesce(sum(l.amount), 0) as total, jsonb_agg(l.sku order by l.sku) as skus
      from lines l where l.year = $1 and l.no = $2
    upsert:
      - put: '/objects/order/{{ row.year }}-{{ row.no }}'
        body: { note: '{{ row.note }}', total: '{{ fetched.total }}', skus: '{{ fetched.skus }}' }";
    let sql = "create table orders (year int, no text, note text, primary key (year, no));
        create table lines (id serial primary key, year int, no text, sku text, amount numeric);
        alter table lines replica identity full";
    let live = Live::new(Version::V16, sql, entities).await;
    let _service = live.run();
    live.after(&["insert into orders values (2024, 'a,b', 'first')"]).await;
    assert_eq!(live.calls(), [r#"PUT /objects/order/2024-a%2Cb {"note":"first","total":0,"skus":null}"#]);
    // A changed line brings its order up again.
    live.after(&["insert into lines (year, no, sku, amount) values (2024, 'a,b', 'x', 1.10)"]).await;
    assert_eq!(live.calls(), [r#"PUT /objects/order/2024-a%2Cb {"note":"first","total":1.10,"skus":["x"]}"#]);
    // A line without an order is nothing; one that moves concerns the order it comes to.
    live.after(&["insert into lines (year, no, sku, amount) values (1999, 'none', 'y', 7)"]).await;
    assert_eq!(live.calls(), [""; 0]);
    live.after(&["update lines set year = 2024, no = 'a,b' where sku = 'y'"]).await;
    let calls = live.calls();
    assert!(calls.last().is_some_and(|it| it.ends_with(r#""total":8.10,"skus":["x","y"]}"#)), "{calls:?}");
}

#[tokio::test]
async fn a_fetch_that_cannot_work_parks_with_what_the_server_said() {
    let entities = "
  c:
    table: customers
    fetch: select nothing from nowhere where id = $1
    upsert: [{ put: '/objects/c/{{ row.id }}', body: { x: '{{ fetched.nothing }}' } }]";
    let live = Live::new(Version::V16, "create table customers (id int primary key)", entities).await;
    let _service = live.run();
    live.after(&["insert into customers values (1)"]).await;
    let parked = live.parked_as(&["c 1 rejected template"]).await;
    let message = parked[0]["message"].as_str().expect("a message");
    assert!(message.contains("nowhere") && message.contains("does not exist"), "{message}");
}

#[tokio::test]
async fn a_full_identity_gives_the_row_as_it_was() {
    let entities = "
  c:
    table: customers
    update:
      - put: '/objects/c/{{ row.id }}'
        body: { old: '{{ old.name }}', new: '{{ row.name }}' }
    delete:
      - { post: /objects/gone, body: { name: '{{ row.name }}' } }";
    let sql =
        "create table customers (id int primary key, name text); alter table customers replica identity full";
    let live = Live::new(Version::V16, sql, entities).await;
    let _service = live.run();
    live.after(&[
        "insert into customers values (1, 'a')",
        "update customers set name = 'b'",
        "update customers set name = null",
        "delete from customers",
    ])
    .await;
    assert_eq!(
        live.calls(),
        [
            r#"PUT /objects/c/1 {"old":"a","new":"b"}"#,
            r#"PUT /objects/c/1 {"old":"b","new":null}"#,
            r#"POST /objects/gone {"name":null}"#,
        ]
    );
}
