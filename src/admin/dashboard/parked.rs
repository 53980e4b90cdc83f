//! Parked changes: why, since when, when they are tried again; and what can be done with many of them.

use super::{
    forms,
    health::Health,
    layout::Page,
    pieces::{self, url},
    route, say,
    visit::Visit,
};
use crate::{
    admin::{
        api::{self, Given, query_of},
        problem::Problem,
        view::ParkedPage,
    },
    model::{ParkReason, ParkedState},
};
use jiff::Timestamp;
use maud::{Markup, html};

pub(super) async fn page(visit: Visit) -> Result<Page, Problem> {
    let given = visit.given(query_of("parked.list"))?;
    let filter = api::parked_filter(&given);
    let found = visit.desk().parked(&filter, &api::parked_page(&given)?, api::parked_limit(&given)).await?;
    let total = found.total;
    let totals = visit.desk().parked_totals(&filter).await?;
    let routes: Vec<String> = visit.status().await?.routes.iter().map(|it| it.route.clone()).collect();
    let sentence = match total {
        0 => "Nothing is parked".to_owned(),
        _ => say::of(total, "change is parked", "changes are parked"),
    };
    let narrows = filter.narrows();
    let live = html! {
        h1 #headline { (pieces::shape(if total == 0 { Health::Well } else { Health::Behind })) (sentence) @if narrows { ", as asked for" } }
        p.lead { "A parked change is out of the way of all others but those of its own key." }
        @if total > 0 { (route::summary(&totals, visit.now)) }
    };
    let rest = html! {
        h2 { "Find" }
        (search(&given, &routes))
        @if total > 0 { (list(&given, &found, narrows, visit.now)) }
    };
    Ok(Page { title: sentence, live, rest })
}

fn search(given: &Given, routes: &[String]) -> Markup {
    let names: Vec<&str> = routes.iter().map(String::as_str).collect();
    let states: Vec<&str> = ParkedState::ALL.iter().map(|it| it.name()).collect();
    let reasons: Vec<&str> = ParkReason::ALL.iter().map(|it| it.name()).collect();
    html! {
        form.filter method="get" action="/parked" role="search" aria-label="Parked changes" {
            (forms::choice("route", "Route", "any", &names, given.text("route")))
            (forms::text("key", "Key", given.text("key"), "any"))
            (forms::choice("state", "State", "any", &states, given.text("state")))
            (forms::choice("reason", "Reason", "any", &reasons, given.text("reason")))
            (forms::text("older_than", "Parked for longer than", given.text("older_than"), "15m"))
            (forms::text("newer_than", "Parked for less than", given.text("newer_than"), "2h"))
            div.buttons { button { "Find" } " " a.button.quiet href="/parked" { "All" } }
        }
    }
}

fn list(given: &Given, found: &ParkedPage, narrows: bool, now: Timestamp) -> Markup {
    let total = found.total;
    let rows = html! {
        @for it in &found.listed {
            tr {
                td { input type="checkbox" name="ids" value=(it.id) aria-label=(format!("Choose {} of {}", it.key, it.route)); }
                th scope="row" { a href=(format!("/parked/{}?route={}", it.id, url(&it.route))) { (it.route) " " code { (it.key) } } }
                td { (state(&it.state)) " " span.quiet { (it.reason) } }
                td.why { (say::line(&it.message)) }
                td { (say::when(it.parked_at, now)) }
                td { (say::perhaps(it.next_attempt, now)) }
                td.number { (it.attempts) }
                td { (it.op) }
                td.number { (it.id) }
            }
        }
    };
    let shown = found.listed.len() as i64;
    let head = ["", "Row", "State", "What was wrong", "Since", "Next attempt", "#Attempts", "Change", "#Id"];
    html! {
        h2 { (say::of(total, "change", "changes")) @if shown < total { ", of which " (say::count(shown)) " are shown" } }
        form #chosen method="get" action="/do/parked.retry" {
            @if let Some(route) = given.text("route") { input type="hidden" name="route" value=(route); }
            p.actions {
                span #ticked.quiet { "With those that are ticked:" } " "
                button { "Try again" } " "
                button.danger formaction="/do/parked.discard" { "Discard" }
            }
            (pieces::table("Parked changes, in order within each key", &head, rows))
        }
        (pages(given, found))
        @let all = html! { (forms::hidden(given, api::PAGING)) @if !narrows { input type="hidden" name="all" value="true"; } };
        form method="get" action="/do/parked.retry" {
            (all)
            p.actions {
                span.quiet { "With " (if narrows { "all that are like this" } else { "everything that is parked" }) " (" (say::count(total)) "):" } " "
                button { "Try again" } " "
                button.danger formaction="/do/parked.discard" { "Discard" }
            }
        }
    }
}

/// The ways to the pages around this one.
fn pages(given: &Given, found: &ParkedPage) -> Markup {
    let [previous, next] = api::around(given, found);
    let first = given.text("after").is_some() || given.text("before").is_some();
    html! {
        @if first || next.is_some() {
            nav.actions aria-label="Pages of this list" {
                @if first { a.button.quiet href=(format!("/parked?{}", given.without(&["after", "before"]))) { "First page" } }
                @if let Some(query) = previous { a.button.quiet href=(format!("/parked?{query}")) rel="prev" { "Previous" } }
                @if let Some(query) = next { a.button.quiet href=(format!("/parked?{query}")) rel="next" { "Next" } }
            }
        }
    }
}

/// Who waits for a person is worse off than who waits for its time.
pub(super) fn state(name: &str) -> Markup {
    let health = match ParkedState::from_name(name) {
        Some(ParkedState::Rejected | ParkedState::Dead) | None => Health::Stuck,
        Some(ParkedState::Retrying | ParkedState::Queued | ParkedState::Waiting) => Health::Behind,
    };
    pieces::state(health, name)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{model::Lsn, state::postgres::Listed};

    pub(in crate::admin::dashboard) fn change(key: &str) -> Listed {
        Listed {
            id: 7,
            source: "main".to_owned(),
            route: "loan".to_owned(),
            key: key.to_owned(),
            commit: Lsn::new(1),
            ordinal: 0,
            op: "insert".to_owned(),
            state: "rejected".to_owned(),
            reason: "refused".to_owned(),
            message: "step `put`: PUT /x was answered with 422\nmore".to_owned(),
            attempts: 1,
            parked_at: Timestamp::UNIX_EPOCH,
            next_attempt: None,
        }
    }

    #[test]
    fn a_key_is_text_whatever_it_says() {
        let found = ParkedPage { listed: vec![change("<script>")], total: 1, ..ParkedPage::default() };
        let text = list(&Given::default(), &found, false, Timestamp::UNIX_EPOCH).into_string();
        assert!(!text.contains("Pages of this list"), "{text}");
        assert!(text.contains("<code>&lt;script&gt;</code>") && !text.contains("<script>"), "{text}");
        assert!(text.contains("aria-label=\"Choose &lt;script&gt; of loan\""), "{text}");
    }

    #[test]
    fn what_is_done_to_all_says_how_many_that_are() {
        let found = ParkedPage { listed: vec![change("1")], total: 1_234, earlier: true, later: true };
        let mut given = Given::default();
        let known = api::query_of("parked.list");
        given.take(known, "state", "dead".to_owned()).expect("a state");
        given.take(known, "after", change("0").place().to_string()).expect("a place");
        let text = list(&given, &found, false, Timestamp::UNIX_EPOCH).into_string();
        assert!(text.contains("1,234 changes, of which 1 are shown"), "{text}");
        assert!(text.contains("href=\"/parked?state=dead\">First page"), "{text}");
        assert!(
            text.contains("href=\"/parked?state=dead&amp;after=%5B%22main%22%2C%22loan%22%2C%221%22"),
            "{text}"
        );
        assert!(!text.contains("name=\"after\""), "what is done is done to all: {text}");
        assert!(
            text.contains("everything that is parked (1,234):") && text.contains("name=\"all\""),
            "{text}"
        );
    }
}
