//! Every route, and how it stands.

use super::{
    health::{self, Health},
    layout::Page,
    pieces::{self, url},
    say,
    visit::Visit,
};
use crate::admin::{problem::Problem, view::Status};
use jiff::Timestamp;
use maud::{Markup, html};
use serde_json::Value;

pub(super) async fn page(visit: Visit) -> Result<Page, Problem> {
    let status = visit.status().await?;
    let settings = visit.desk().configuration().settings;
    let live = html! {
        h1 { "Routes" }
        p.lead { "A route keeps one entity in step with one remote." }
        (table(&status, &settings, visit.now))
    };
    Ok(Page { title: "Routes".to_owned(), live, rest: html! {} })
}

pub(super) fn table(status: &Status, settings: &Value, now: Timestamp) -> Markup {
    if status.routes.is_empty() {
        return pieces::nothing("No change has come for any route yet.");
    }
    let rows = html! {
        @for route in &status.routes {
            @let health = health::route(route, status, settings, now);
            tr {
                th scope="row" { a href=(format!("/routes/{}", url(&route.route))) { (route.route) } }
                td { (pieces::state(health.health, word(health.health, route.in_flight))) }
                td.why { @match health.troubles.first() { Some(it) => (it.reason), None => "" } }
                td.number { (say::count(route.applied)) }
                td.number { (say::count(route.skipped)) }
                td.number { (say::count(route.in_flight)) }
                td.number { (say::count(route.backing_off)) }
                td.number { @if route.parked > 0 { a href=(format!("/parked?route={}", url(&route.route))) { (say::count(route.parked)) } } @else { "0" } }
            }
        }
    };
    pieces::table(
        "Routes",
        &["Route", "State", "Why", "#Applied", "#Skipped", "#Under way", "#Backing off", "#Parked"],
        rows,
    )
}

/// What is under way is not in step yet, and not late either.
pub(super) fn word(health: Health, in_flight: i64) -> &'static str {
    if health == Health::Well && in_flight > 0 { "at work" } else { health.word() }
}

#[cfg(test)]
mod tests {
    use super::super::health::tests::{at, settings, well};
    use super::*;

    #[test]
    fn a_route_is_shown_with_its_reason_beside_it() {
        let mut status = well();
        status.routes[0].route = "<b>".to_owned();
        (status.routes[1].backing_off, status.routes[1].last_error) = (2, Some("503\nmore".to_owned()));
        let text = table(&status, &settings(), at(0)).into_string();
        assert!(text.contains("2 changes wait for another attempt: 503</td>"), "{text}");
        assert!(text.contains("href=\"/routes/%3Cb%3E\">&lt;b&gt;</a>"), "{text}");
    }
}
