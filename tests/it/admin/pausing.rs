//! A person pauses a route or a remote: nothing is sent, nothing is lost, and all of it goes on in order.

use super::ask::{Ask, listening};
use crate::harness::{Live, Version, eventually, wait::LONG};
use serde_json::{Value, json};

const TABLE: &str = "create table customers (id int primary key, name text);
create table loans (id int primary key, name text)";
const ENTITIES: &str = "
  customer:
    table: customers
    upsert: [{ name: put, put: '/objects/c/{{ row.id }}', body: { name: '{{ row.name }}' } }]
  loan:
    table: loans
    upsert: [{ name: put, put: '/objects/l/{{ row.id }}', body: { name: '{{ row.name }}' } }]";

async fn gate(ask: &Ask, wanted: &str) {
    eventually(&format!("the remote is {wanted}"), LONG, async || {
        let remotes = ask.get("/api/v1/remotes").await.expect(200);
        if remotes[0]["gate"] == wanted { Ok(()) } else { Err(remotes) }
    })
    .await;
}

#[tokio::test]
async fn what_is_paused_is_not_sent_until_it_is_resumed_also_after_a_restart() {
    let live = Live::new(Version::V16, TABLE, ENTITIES).await;
    listening(&live, "admin: { listen: \"127.0.0.1:0\" }");
    let service = live.run();
    let ask = Ask::of(&service, None).await;
    live.after(&["insert into customers values (1, 'a')"]).await;
    live.calls_made(1).await;

    // A route, over the API: the other one goes on.
    let why = json!({ "reason": "they asked for it" });
    let halt = ask.post("/api/v1/routes/customer/pause", &why).await.expect(200);
    assert_eq!(
        (&halt["name"], &halt["who"], &halt["reason"]),
        (&json!("customer"), &json!("local"), &why["reason"])
    );
    let twice = ask.post("/api/v1/routes/customer/pause", &json!({})).await;
    assert_eq!((twice.status, twice.problem()), (409, "refused"));
    let unknown = ask.post("/api/v1/routes/custmer/pause", &json!({})).await;
    assert_eq!(unknown.status, 400, "{:#}", unknown.body);
    eventually("the service obeys", LONG, async || {
        let said = service.stderr();
        if said.contains("nothing is sent until `rowcall resume`") { Ok(()) } else { Err(said) }
    })
    .await;
    live.after(&[
        "update customers set name = 'b'",
        "update customers set name = 'c'",
        "insert into loans values (1, 'l')",
    ])
    .await;
    assert_eq!(live.calls_made(1).await, [r#"PUT /objects/l/1 {"name":"l"}"#]);
    let parked = live.parked_as(&["customer 1 retrying outage", "customer 1 queued behind"]).await;
    assert!(
        parked[0]["message"].as_str().is_some_and(|it| it.ends_with(": they asked for it")),
        "{parked:?}"
    );
    live.acknowledged().await;
    let status = live.rowcall.command(&["status"]).await.expect_code(0).stdout;
    assert!(
        status.contains("route `customer` is paused since") && status.contains("by local: they asked"),
        "{status}"
    );

    // Another process obeys before it sends anything, and the command resumes.
    service.sigkill().await;
    let service = live.run();
    let ask = Ask::of(&service, None).await;
    live.after(&["insert into loans values (2, 'l')"]).await;
    assert_eq!(live.calls_made(1).await, [r#"PUT /objects/l/2 {"name":"l"}"#]);
    let resumed = live.rowcall.command(&["resume", "--route", "customer"]).await.expect_code(0).stdout;
    assert_eq!(resumed.trim(), "route `customer` is resumed");
    assert_eq!(
        live.calls_made(2).await,
        [r#"PUT /objects/c/1 {"name":"b"}"#, r#"PUT /objects/c/1 {"name":"c"}"#]
    );
    let again = live.rowcall.command(&["resume", "--route", "customer"]).await.expect_code(1).stderr;
    assert_eq!(again.trim(), "rowcall: route `customer` is not paused");

    // A remote, by the command.
    let pause = ["pause", "--remote", "bank", "--reason", "maintenance", "--json"];
    let paused = live.rowcall.command(&pause).await.expect_code(0).stdout;
    assert_eq!(serde_json::from_str::<Value>(&paused).expect("JSON")["what"], "remote");
    gate(&ask, "halted").await;
    assert_eq!(ask.get("/api/v1/halts").await.expect(200)[0]["reason"], "maintenance");
    live.postgres.execute("insert into loans values (3, 'l')").await;
    eventually("it waits in memory", LONG, async || {
        let routes = ask.get("/api/v1/routes").await.expect(200);
        let waits = routes.as_array().is_some_and(|it| it.iter().any(|it| it["in_flight"] == 1));
        if waits { Ok(()) } else { Err(routes) }
    })
    .await;
    assert_eq!(live.calls(), Vec::<String>::new());
    ask.post("/api/v1/remotes/bank/resume", &json!({})).await.expect(200);
    assert_eq!(live.calls_made(1).await, [r#"PUT /objects/l/3 {"name":"l"}"#]);
    gate(&ask, "ready").await;
    let done = ask.get("/api/v1/operations").await.expect(200);
    let lines: Vec<String> = done
        .as_array()
        .expect("a list")
        .iter()
        .rev()
        .map(|it| {
            format!("{} {}", it["action"].as_str().unwrap_or("?"), it["outcome"].as_str().unwrap_or("?"))
        })
        .collect();
    assert_eq!(
        lines,
        [
            "routes.pause done",
            "routes.pause refused",
            "routes.pause refused",
            "routes.resume done",
            "routes.resume refused",
            "remotes.pause done",
            "remotes.resume done",
        ]
    );
}
