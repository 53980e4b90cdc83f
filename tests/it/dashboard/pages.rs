//! Every page is there and holds what it is for.

use super::browse::{Browser, served};
use crate::harness::{eventually, wait::LONG};
use reqwest::Client;

#[tokio::test]
async fn every_page_holds_what_it_is_for_and_nothing_from_elsewhere() {
    let live = served("admin: { listen: \"127.0.0.1:0\" }").await;
    let service = live.run();
    let browser = Browser::of(&service).await;
    live.after(&["insert into customers values ('<script>', 'a'), ('2', 'b')"]).await;
    let overview = eventually("everything is in step", LONG, async || {
        let seen = browser.get("/").await;
        let well = seen.text.contains("Everything is in step</h1>") && seen.text.contains("customer");
        if well { Ok(seen) } else { Err(seen.text) }
    })
    .await;
    let policy = overview.headers["content-security-policy"].to_str().expect("text");
    assert!(policy.starts_with("default-src 'self';"), "{policy}");
    overview.shows(&["acknowledged", "As a table", "<svg", "at work: "]);
    for (path, texts) in [
        ("/routes", &["<caption", "customer", "in step"][..]),
        ("/routes/customer", &["Route customer: in step", "Last calls", "Pause this route"]),
        ("/runs", &["No run is asked for", "Start a run", "/do/runs.replay"]),
        ("/calls?entity=customer&status=2xx&since=1h&text=&route=", &["PUT /objects/c/", "&lt;script&gt;"]),
        ("/parked", &["Nothing is parked", "role=\"search\""]),
        ("/remotes", &["calls go through", "16 at once"]),
        ("/schedule", &["every day at 03:00", "0 3 * * *", "Run now"]),
        ("/operations", &["Nobody has changed anything yet"]),
        ("/configuration", &["secrets masked", "customers"]),
    ] {
        let text = browser.get(path).await.shows(texts);
        assert!(
            text.contains("<main") && text.contains("<nav") && !text.contains("<script>"),
            "{path}: {text}"
        );
        assert!(!text.contains("src=\"http") && !text.contains(" style="), "{path}");
    }
    for name in ["style.css", "dashboard.js", "htmx.min.js", "htmx-sse.min.js", "icon.svg"] {
        assert_eq!(browser.get(&format!("/assets/{name}")).await.status, 200, "{name}");
    }
    let call = browser.get("/calls?key=2").await.text;
    let id = call.split("href=\"/calls/").nth(1).and_then(|it| it.split('"').next()).expect("a call");
    let call = browser
        .get(&format!("/calls/{id}"))
        .await
        .shows(&["Answer: 20", "{\n  &quot;name&quot;: &quot;b&quot;\n}"]);
    let change = call.split("/lineage?change=").nth(1).and_then(|it| it.split('"').next()).expect("a change");
    browser
        .get(&format!("/lineage?change={change}"))
        .await
        .shows(&["What became of change", "At the remote"]);
    assert_eq!(browser.get("/routes/none").await.status, 404);
    assert_eq!(browser.get("/parked?state=lost").await.status, 400);
    assert_eq!(browser.get("/nothing").await.status, 404);
    service.sigterm();
    assert!(service.wait().await.success(), "it ends in order");
}

#[tokio::test]
async fn an_open_page_is_told_that_there_is_something_new_and_ends_with_the_service() {
    let live = served("admin: { listen: \"127.0.0.1:0\" }").await;
    let service = live.run();
    let browser = Browser::of(&service).await;
    let client = Client::builder().no_proxy().build().expect("a client");
    let mut stream = client.get(format!("{}/live", browser.base)).send().await.expect("a stream");
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    let first =
        tokio::time::timeout(LONG, stream.chunk()).await.expect("in time").expect("whole").expect("more");
    assert!(String::from_utf8_lossy(&first).starts_with("event: tick\ndata: "), "{first:?}");
    service.sigterm();
    let ended = async { while let Ok(Some(_)) = stream.chunk().await {} };
    tokio::time::timeout(LONG, ended).await.expect("it ends");
    assert!(service.wait().await.success(), "in order");
}

#[tokio::test]
async fn a_run_is_started_confirmed_and_followed_by_forms() {
    let live = served("admin: { listen: \"127.0.0.1:0\" }").await;
    live.postgres.execute("insert into customers select n::text, 'x' from generate_series(1, 20) n").await;
    let service = live.run();
    let browser = Browser::of(&service).await;
    let form = "entities=customer&rate=&force=true&keys=";
    let asked = browser.get(&format!("/do/runs.snapshot?{form}")).await;
    asked.shows(&["The rows of customer will be sent", "name=\"force\" value=\"true\"", "Start</button>"]);
    let done = browser.post("/do/runs.snapshot", form).await;
    assert_eq!((done.status, done.leads()), (303, "/runs?done=runs.snapshot&count=1"));
    browser.get(done.leads()).await.shows(&["Asked for: 1 run.", "snapshot customer"]);
    eventually("it is done", LONG, async || {
        let seen = browser.get("/runs").await.text;
        if seen.contains("No run is asked for") { Ok(()) } else { Err(seen) }
    })
    .await;
    browser.get("/runs/1").await.shows(&["Run 1, snapshot customer: done", "<progress", "100%"]);
    let paused = browser.post("/do/routes.pause", "route=customer&why=the+bank+moves").await;
    assert_eq!(paused.leads(), "/routes?done=routes.pause");
    browser.get("/").await.shows(&[
        "1 route is paused: customer",
        "Paused by local: the bank moves.",
        "/do/routes.resume",
    ]);
    assert_eq!(browser.post("/do/routes.resume", "route=customer").await.status, 303);
    browser.get("/operations").await.shows(&["routes.resume", "routes.pause", "runs.snapshot"]);
}
