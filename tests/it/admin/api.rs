//! What an operator asks and does in a day.

use super::ask::{Ask, listening};
use crate::harness::{Live, Version, eventually, wait::LONG};
use rowcall::demo::{Fault, Rule};
use serde_json::{Value, json};

const TABLE: &str = "create table customers (id int primary key, name text)";
const ENTITY: &str = "
  customer:
    table: customers
    upsert: [{ name: put, put: '/objects/c/{{ row.id }}', body: { name: '{{ row.name }}' } }]
    delete: [{ name: delete, delete: '/objects/c/{{ row.id }}' }]
    schedule: { run: snapshot, cron: '0 3 1 1 *' }";

pub async fn operated() -> Live {
    let live = Live::new(Version::V16, TABLE, ENTITY).await;
    listening(&live, "admin: { listen: \"127.0.0.1:0\" }");
    live
}

pub async fn parked(ask: &Ask, count: usize) -> Vec<Value> {
    eventually(&format!("{count} parked"), LONG, async || {
        let told = ask.get("/api/v1/parked").await.expect(200);
        let listed = told.as_array().cloned().unwrap_or_default();
        if listed.len() == count { Ok(listed) } else { Err(listed) }
    })
    .await
}

#[tokio::test]
async fn everything_is_shown_as_the_document_says() {
    let live = operated().await;
    let service = live.run();
    let ask = Ask::of(&service, None).await;
    live.after(&["insert into customers values (1, 'a'), (2, 'b')"]).await;
    let status = eventually("the service is at work", LONG, async || {
        let status = ask.get("/api/v1/status").await.expect(200);
        let at_work =
            status["sources"][0]["instance"]["state"] == "running" && status["remotes"][0].is_object();
        if at_work && status["routes"][0]["applied"] == 2 { Ok(status) } else { Err(status) }
    })
    .await;
    assert_eq!(status["routes"][0]["route"], "customer");
    for (path, key) in [
        ("/api/v1/sources", "source"),
        ("/api/v1/routes", "route"),
        ("/api/v1/remotes", "gate"),
        ("/api/v1/call-logs", "goes_to"),
        ("/api/v1/schedules", "cron"),
        ("/api/v1/check", "verdict"),
        ("/api/v1/calls?entity=customer&status=2xx&since=1h&limit=10", "call_key"),
    ] {
        eventually(path, LONG, async || {
            let told = ask.get(path).await.expect(200);
            if told[0][key].is_string() { Ok(()) } else { Err(told) }
        })
        .await;
    }
    let lag = &ask.get("/api/v1/sources").await.expect(200)[0]["lag"];
    for stage in ["received", "settled", "acknowledged"] {
        assert!(lag[stage]["bytes"].is_number(), "{lag:#}");
    }
    assert!(lag["settled"]["seconds"].is_number(), "{lag:#}");
    for path in [
        "/api/v1/parked",
        "/api/v1/parked/summary",
        "/api/v1/runs",
        "/api/v1/checkpoints",
        "/api/v1/operations",
    ] {
        assert_eq!(ask.get(path).await.expect(200), json!([]), "{path}");
    }
    let calls = eventually("both calls are in the log", LONG, async || {
        let calls = ask.get("/api/v1/calls").await.expect(200);
        if calls.as_array().is_some_and(|it| it.len() == 2) { Ok(calls) } else { Err(calls) }
    })
    .await;
    assert_eq!(ask.get("/api/v1/calls?limit=1").await.expect(200).as_array().map(Vec::len), Some(1));
    let id = calls[0]["id"].as_str().expect("an id").replace('#', "%23");
    let call = ask.get(&format!("/api/v1/calls/{id}")).await.expect(200);
    assert_eq!(call["id"], calls[0]["id"]);
    let older = ask.get(&format!("/api/v1/calls?limit=5&before={id}")).await.expect(200);
    assert_eq!(older.as_array().map(Vec::len), Some(1), "{older:#}");
    let change = call["changes"][0].as_str().expect("a change");
    let lineage = ask.get(&format!("/api/v1/lineage?change={change}")).await.expect(200);
    assert_eq!(lineage["objects"][0]["route"], "customer");
    let shown = ask.get("/api/v1/configuration").await.expect(200);
    assert!(shown["yaml"].as_str().is_some_and(|it| it.contains("customer")), "{shown:#}");
    let status = live.rowcall.command(&["status", "--json"]).await.expect_code(0).stdout;
    let status: Value = serde_json::from_str(&status).expect("JSON");
    let keys = |it: &Value| it.as_object().map(|it| it.keys().cloned().collect::<Vec<_>>());
    let told = ask.get("/api/v1/status").await.expect(200);
    assert_eq!(keys(&status), keys(&told), "the command says the same");
    service.sigterm();
    assert!(service.wait().await.success(), "it ends in order");
}

#[tokio::test]
async fn a_parked_change_is_found_shown_and_retried_and_another_discarded() {
    let live = operated().await;
    live.bank.faults().add(Rule::new(Fault::Status(422)));
    let service = live.run();
    let ask = Ask::of(&service, None).await;
    live.after(&["insert into customers values (1, 'a')", "insert into customers values (2, 'b')"]).await;
    let listed = parked(&ask, 2).await;
    let told = ask.get("/api/v1/parked?state=rejected&reason=refused&limit=1").await;
    assert_eq!(told.headers["x-total-count"], "2");
    assert_eq!(told.expect(200).as_array().map(Vec::len), Some(1));
    assert_eq!(ask.get("/api/v1/parked/summary").await.expect(200)[0]["count"], 2);
    let [one, other] = [&listed[0]["id"], &listed[1]["id"]];
    let shown = eventually("its attempt is in the log", LONG, async || {
        let shown = ask.get(&format!("/api/v1/parked/{one}")).await.expect(200);
        if shown["last_attempts"][0].is_object() { Ok(shown) } else { Err(shown) }
    })
    .await;
    assert_eq!(shown["key"], "1");
    assert_eq!(shown["last_attempts"][0]["response"]["status"], 422);
    assert!(shown["change"].is_object(), "{shown:#}");

    live.bank.faults().clear();
    let retried = ask.post("/api/v1/parked/retry", &json!({ "filter": { "ids": [one] } })).await.expect(200);
    assert_eq!(retried, json!({ "count": 1 }));
    parked(&ask, 1).await;
    assert_eq!(live.calls(), [r#"PUT /objects/c/1 {"name":"a"}"#]);
    let discard = json!({ "filter": { "ids": [other] }, "reason": "the bank has it already" });
    assert_eq!(ask.post("/api/v1/parked/discard", &discard).await.expect(200), json!({ "count": 1 }));
    parked(&ask, 0).await;

    let done = ask.get("/api/v1/operations").await.expect(200);
    let actions: Vec<&Value> = done.as_array().expect("a list").iter().map(|it| &it["action"]).collect();
    assert_eq!(actions, ["parked.discard", "parked.retry"]);
    assert_eq!(done[0]["asked"], discard);
    assert_eq!((&done[0]["outcome"], &done[0]["answer"]), (&json!("done"), &json!({ "count": 1 })));
    assert_eq!((&done[0]["who"], &done[0]["address"]), (&json!("local"), &json!("127.0.0.1")));
    let only = ask.get(&format!("/api/v1/operations?before={}", done[0]["id"])).await.expect(200);
    assert_eq!(only.as_array().map(Vec::len), Some(1));
    assert!(service.stderr().contains("an operator did this"), "{}", service.stderr());
}

#[tokio::test]
async fn runs_are_asked_for_held_and_ended_and_checkpoints_made_and_dropped() {
    let live = operated().await;
    live.postgres.execute("insert into customers select n, 'x' from generate_series(1, 50) n").await;
    let service = live.run();
    let ask = Ask::of(&service, None).await;
    live.after(&["insert into customers values (100, 'y')"]).await;
    let checkpoint = ask.post("/api/v1/checkpoints", &json!({ "name": "before" })).await.expect(200);
    assert_eq!(checkpoint["name"], "before");
    assert_eq!(ask.post("/api/v1/checkpoints", &json!({ "name": "before" })).await.problem(), "refused");
    assert_eq!(ask.get("/api/v1/checkpoints").await.expect(200)[0]["name"], "before");

    let slow = json!({ "entities": ["customer"], "rate": 1, "force": true });
    let run = ask.post("/api/v1/runs/snapshot", &slow).await.expect(200)[0].clone();
    assert_eq!((&run["origin"], &run["kind"]), (&json!("api"), &json!("snapshot")));
    let path = format!("/api/v1/runs/{}", run["id"]);
    assert_eq!(ask.post(&format!("{path}/pause"), &json!({})).await.expect(200)["state"], "paused");
    let again = ask.post(&format!("{path}/pause"), &json!({})).await;
    assert_eq!((again.status, again.problem()), (409, "refused"));
    let resumed = ask.post(&format!("{path}/resume"), &json!({})).await.expect(200);
    assert!(["running", "requested"].contains(&resumed["state"].as_str().unwrap_or_default()), "{resumed:#}");
    assert_eq!(ask.post(&format!("{path}/cancel"), &json!({})).await.expect(200)["state"], "cancelled");
    assert_eq!(ask.get("/api/v1/runs").await.expect(200), json!([]));
    assert_eq!(ask.get("/api/v1/runs?all=true").await.expect(200)[0]["id"], run["id"]);

    ask.post("/api/v1/runs/prune", &json!({})).await.expect(200);
    ask.post("/api/v1/runs/replay", &json!({ "from": "before" })).await.expect(200);
    let over = eventually("both are done", LONG, async || {
        let open = ask.get("/api/v1/runs").await.expect(200);
        if open == json!([]) {
            Ok(ask.get("/api/v1/runs?all=true&state=done").await.expect(200))
        } else {
            Err(open)
        }
    })
    .await;
    assert_eq!(over.as_array().map(Vec::len), Some(2), "{over:#}");
    let dropped = ask.delete("/api/v1/checkpoints/before").await.expect(200);
    assert_eq!(dropped, json!({ "name": "before", "source": "main" }));
    assert_eq!(ask.get("/api/v1/checkpoints").await.expect(200), json!([]));
    let done = ask.get("/api/v1/operations?limit=1000").await.expect(200);
    let refused = done.as_array().expect("a list").iter().filter(|it| it["outcome"] == "refused").count();
    assert_eq!((done.as_array().map(Vec::len), refused), (Some(10), 2), "{done:#}");
}
