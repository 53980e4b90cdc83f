//! One parked change: why, what it is, what was answered so far, and the last attempts.

use super::{
    calls,
    layout::Page,
    parked,
    pieces::{self, url},
    say,
    visit::Visit,
};
use crate::{
    admin::{
        api::{NAME, param},
        problem::{BAD_PARAMETER, Problem},
        view::ParkedDetail,
    },
    model::ChangeId,
};
use jiff::Timestamp;
use maud::{Markup, html};
use serde_json::Value;

pub(super) async fn page(visit: Visit) -> Result<Page, Problem> {
    let id = visit.place().parse();
    let id: i64 =
        id.map_err(|_| Problem::new(BAD_PARAMETER, "a parked change is named by a whole number"))?;
    let given = visit.given(&[param("source", NAME, ""), param("route", NAME, "")])?;
    let mut source = given.owned("source");
    if let (None, Some(route)) = (&source, given.text("route")) {
        source = visit.status().await?.routes.iter().find(|it| it.route == route).map(|it| it.source.clone());
    }
    let detail = visit.desk().parked_change(id, source.as_deref()).await?;
    Ok(Page::still(format!("Parked change {id}"), draw(&detail, visit.now)))
}

fn draw(detail: &ParkedDetail, now: Timestamp) -> Markup {
    let it = &detail.shown.listed;
    let change = ChangeId { commit: it.commit, ordinal: it.ordinal }.to_string();
    let which = format!("ids={}&route={}", it.id, url(&it.route));
    html! {
        h1 { (parked::state(&it.state)) " " (it.op) " of " (it.route) " " code { (it.key) } }
        p.reason.whole { (it.message) }
        p.quiet { (meaning(&it.state)) }
        p.actions {
            a.button href=(format!("/do/parked.retry?{which}")) { "Try again now" } " "
            a.button.danger href=(format!("/do/parked.discard?{which}")) { "Discard" }
        }
        (pieces::facts(&[
            ("Reason", html! { (it.reason) }),
            ("Parked", say::when(it.parked_at, now)),
            ("Next attempt", say::perhaps(it.next_attempt, now)),
            ("Attempts", html! { (it.attempts) }),
            ("Route", html! { a href=(format!("/routes/{}", url(&it.route))) { (it.route) } }),
            ("Change", html! { a href=(format!("/lineage?change={}", url(&change))) { code { (change) } } }),
            ("Others of its key", html! { a href=(format!("/parked?route={}&key={}", url(&it.route), url(&it.key))) { "parked" } ", " a href=(format!("/calls?route={}&key={}", url(&it.route), url(&it.key))) { "calls" } }),
        ]))
        div.pair {
            section aria-labelledby="change-head" { h2 #change-head { "The change" } (row(&detail.shown.change)) }
            section aria-labelledby="answers-head" {
                h2 #answers-head { "Answers so far" }
                @if detail.shown.answers.as_array().is_none_or(|it| it.is_empty()) { (pieces::nothing("None: it begins with its first step.")) }
                @else { p.quiet { "A retry goes on behind them." } (pieces::json(&detail.shown.answers)) }
            }
        }
        h2 { "Last attempts" }
        @if let Some(note) = &detail.note { p.reason { (note) } }
        (calls::table("Last attempts, the newest first", &detail.last_attempts, now))
    }
}

/// Column by column, what was and what is; all of it as it is stored besides.
fn row(change: &Value) -> Markup {
    let columns = change["table"]["columns"].as_array();
    let (before, after) = (change["old"].as_array(), change["row"].as_array());
    let cell = |row: Option<&Vec<Value>>, at: usize| {
        let value = row.and_then(|it| it.get(at));
        html! { @match value { Some(Value::String(text)) => (text), Some(Value::Null) => span.quiet { "null" }, Some(_) => span.quiet { "unchanged" }, None => "" } }
    };
    let rows = html! {
        @for (at, column) in columns.into_iter().flatten().enumerate() {
            tr {
                th scope="row" { (column["name"].as_str().unwrap_or_default()) }
                @if before.is_some() { td { (cell(before, at)) } }
                td.why { (cell(after, at)) }
            }
        }
    };
    let head: &[&str] = if before.is_some() { &["Column", "Before", "Value"] } else { &["Column", "Value"] };
    html! {
        @if columns.is_some() && (before.is_some() || after.is_some()) {
            (pieces::table("The row of the change", head, rows))
            details { summary { "As it is stored" } (pieces::json(change)) }
        } @else { (pieces::json(change)) }
    }
}

/// What its state means for who looks at it.
fn meaning(state: &str) -> &'static str {
    match state {
        "retrying" => "It is tried again by itself when its time has come.",
        "queued" => "It waits behind an older parked change of its key, and follows it by itself.",
        "waiting" => "It waits for what it depends on, and goes on by itself when that has come.",
        "rejected" => {
            "It cannot be sent as it is: mend the data, the mapping or the remote, then try it again."
        }
        _ => "It was given up after its last attempt: only a person has it tried again.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::postgres::Shown;
    use serde_json::json;

    #[test]
    fn a_parked_change_says_why_and_offers_both_ways_out() {
        let listed = super::super::parked::tests::change("</script>");
        let shown = Shown {
            listed,
            change: json!({ "row": ["<i>", null], "table": { "columns": [{ "name": "name" }, { "name": "note" }] } }),
            answers: json!([]),
        };
        let detail = ParkedDetail { shown, last_attempts: vec![], note: Some("the log is away".to_owned()) };
        let text = draw(&detail, Timestamp::from_second(7_200).expect("a time")).into_string();
        for said in [
            "PUT /x was answered with 422",
            "mend the data",
            "/do/parked.retry?ids=7&amp;route=loan",
            "/do/parked.discard?ids=7",
            "2.0 h ago",
            "&lt;i&gt;",
            "the log is away",
        ] {
            assert!(text.contains(said), "{said} in {text}");
        }
        assert!(!text.contains("</script>"));
    }
}
