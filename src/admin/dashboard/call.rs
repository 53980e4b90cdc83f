//! One attempt: what was sent, what came back, and what followed.

use super::{
    calls,
    layout::Page,
    pieces::{self, url},
    say,
    visit::Visit,
};
use crate::{
    admin::problem::Problem,
    call_log::{CallRecord, Content},
};
use jiff::Timestamp;
use maud::{Markup, html};

pub(super) async fn page(visit: Visit) -> Result<Page, Problem> {
    let call = visit.desk().call(&visit.place()).await?;
    Ok(Page::still(format!("{} {}", call.method, call.url), draw(&call, visit.now)))
}

fn draw(call: &CallRecord, now: Timestamp) -> Markup {
    html! {
        h1 { (calls::outcome(call)) " " (call.method) " " (call.url) }
        @if let Some(error) = &call.error { p.reason { (call.class.as_deref().unwrap_or("failure")) ": " (error) } }
        (pieces::facts(&[
            ("When", say::when(call.at, now)),
            ("Took", html! { (calls::took(call)) }),
            ("What followed", html! { (call.outcome) }),
            ("Attempt", html! { (call.attempt) }),
            ("Route", html! { a href=(format!("/routes/{}", url(&call.route))) { (call.route) } }),
            ("Step", html! { (call.step) }),
            ("Remote", html! { (call.remote) }),
            ("Run", html! { @match call.run { Some(run) => a href=(format!("/runs/{run}")) { (run) }, None => "–" } }),
            ("Call key", html! { code { (call.call_key) } }),
            ("Trace", html! { code { (call.trace) } }),
        ]))
        h2 { "What it carried" }
        ul.carried {
            @for (at, key) in call.keys.iter().enumerate() {
                li {
                    "Row " a href=(format!("/calls?route={}&key={}", url(&call.route), url(key))) { code { (key) } }
                    @if let Some(change) = call.changes.get(at) {
                        ", change " a href=(format!("/lineage?change={}", url(change))) { code { (change) } }
                    }
                }
            }
        }
        div.pair {
            section aria-labelledby="request-head" { h2 #request-head { "Request" } (content(&call.request)) }
            section aria-labelledby="answer-head" {
                @match &call.response {
                    Some(answer) => { h2 #answer-head { "Answer: " (answer.status) } (content(&answer.content)) }
                    None => { h2 #answer-head { "Answer" } (pieces::nothing("None came.")) }
                }
            }
        }
    }
}

fn content(content: &Content) -> Markup {
    let size = say::bytes(i64::try_from(content.size).unwrap_or(i64::MAX));
    html! {
        @if content.body.is_empty() { (pieces::nothing("No body.")) }
        @else {
            p.quiet {
                (size) @if content.is_cut() { ", of which the beginning is kept" } @if content.base64 { ", not text: in Base64" }
            }
            (pieces::body(&content.body))
        }
        details {
            summary { (say::of(content.headers.iter().count() as i64, "header", "headers")) }
            pre tabindex="0" { @for (name, value) in content.headers.iter() { (name) ": " (value) "\n" } }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_call_is_shown_with_its_bodies_laid_out_and_nothing_in_them_is_run() {
        let call: CallRecord = serde_json::from_value(json!({
            "v": 1, "id": "loan-1#1", "at": "1970-01-01T00:00:00Z", "took_us": 1_234_567, "route": "loan",
            "entity": "loan", "keys": ["<script>"], "changes": ["0/1.0"], "step": "put", "attempt": 2,
            "call_key": "loan-1", "remote": "bank", "method": "PUT", "url": "http://bank/<b>",
            "request": { "headers": [["authorization", "***"]], "body": "{\"a\":{\"b\":1}}", "size": 13 },
            "response": { "status": 503, "headers": [], "body": "<script>down</script>", "size": 900 },
            "class": "refused", "error": "no", "outcome": "retry", "trace": "0123456789abcdef0123456789abcdef",
            "span": "0123456789abcdef"
        }))
        .expect("a record");
        let text = draw(&call, Timestamp::UNIX_EPOCH).into_string();
        for said in [
            "{\n  &quot;a&quot;: {\n    &quot;b&quot;: 1\n  }\n}",
            "&lt;script&gt;down",
            "of which the beginning is kept",
            "1.2 s",
            "authorization: ***",
            "/lineage?change=0%2F1.0",
        ] {
            assert!(text.contains(said), "{said} in {text}");
        }
        assert!(!text.contains("<script>"));
    }
}
