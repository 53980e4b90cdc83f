//! Lists that are longer than a page.

use super::{
    api::{operated, parked},
    ask::{Ask, Told},
};
use crate::harness::{eventually, wait::LONG};
use rowcall::demo::{Fault, Rule};
use serde_json::{Value, json};

/// Where a page of this relation is.
fn link(told: &Told, relation: &str) -> Option<String> {
    let links = told.headers.get("link")?.to_str().expect("text");
    let is = format!("; rel=\"{relation}\"");
    let link = links.split(", ").find_map(|it| it.strip_suffix(&is))?;
    Some(link.trim_matches(['<', '>']).to_owned())
}

fn keys(told: Told, name: &str) -> Vec<String> {
    let listed = told.expect(200);
    let text = |it: &Value| it[name].as_str().map_or_else(|| it[name][0].to_string(), str::to_owned);
    listed.as_array().expect("a list").iter().map(text).collect()
}

#[tokio::test]
async fn parked_changes_are_walked_page_by_page_both_ways_also_where_some_go_meanwhile() {
    let live = operated().await;
    live.bank.faults().add(Rule::new(Fault::Status(422)));
    let service = live.run();
    let ask = Ask::of(&service, None).await;
    live.after(&["insert into customers select n, 'a' from generate_series(1, 7) n"]).await;
    parked(&ask, 7).await;
    let first = ask.get("/api/v1/parked?state=rejected&limit=3").await;
    let (second, total) = (link(&first, "next").expect("more"), first.headers["x-total-count"].clone());
    assert_eq!((link(&first, "prev"), total.to_str().expect("text")), (None, "7"));
    let id = first.body[2]["id"].clone();
    assert_eq!(keys(first, "key"), ["1", "2", "3"]);
    // What the place was named by is gone.
    let discard = json!({ "filter": { "ids": [id] }, "reason": "not wanted" });
    assert_eq!(ask.post("/api/v1/parked/discard", &discard).await.expect(200)["count"], 1);
    let second = ask.get(&second).await;
    let (before, third) = (link(&second, "prev").expect("some"), link(&second, "next").expect("more"));
    assert_eq!(keys(second, "key"), ["4", "5", "6"]);
    let third = ask.get(&third).await;
    let back = link(&third, "prev").expect("some");
    assert_eq!((link(&third, "next"), keys(third, "key")), (None, vec!["7".to_owned()]));
    assert_eq!(keys(ask.get(&back).await, "key"), ["4", "5", "6"]);
    let first = ask.get(&before).await;
    assert_eq!((link(&first, "prev"), link(&first, "next").is_some()), (None, true));
    assert_eq!(keys(first, "key"), ["1", "2"]);
    for wrong in ["after=x", "before=[]", "after=[\"none\",\"a\",\"b\",\"0/1\",0]"] {
        assert_eq!(ask.get(&format!("/api/v1/parked?{wrong}")).await.problem(), "bad-parameter", "{wrong}");
    }
    let (both, place) = ("after=P&before=P", "%5B%22main%22,%22a%22,%22b%22,%220/1%22,0%5D");
    let told = ask.get(&format!("/api/v1/parked?{}", both.replace('P', place))).await;
    assert_eq!(told.problem(), "bad-parameter", "{told:?}");
}

#[tokio::test]
async fn calls_say_where_the_next_page_is() {
    let live = operated().await;
    let service = live.run();
    let ask = Ask::of(&service, None).await;
    live.after(&["insert into customers select n, 'a' from generate_series(1, 5) n"]).await;
    eventually("all are in the log", LONG, async || {
        let told = ask.get("/api/v1/calls").await;
        if told.body.as_array().is_some_and(|it| it.len() == 5) { Ok(()) } else { Err(told) }
    })
    .await;
    let (mut path, mut seen) = (Some("/api/v1/calls?entity=customer&limit=2".to_owned()), Vec::new());
    while let Some(here) = path {
        let told = ask.get(&here).await;
        path = link(&told, "next");
        seen.extend(keys(told, "keys"));
    }
    seen.sort();
    assert_eq!(seen, ["\"1\"", "\"2\"", "\"3\"", "\"4\"", "\"5\""]);
}
