//! One route: what it did, what is wrong, what of it is parked, its last calls.

use super::{
    calls, health,
    layout::Page,
    pieces::{self, url},
    routes, say,
    visit::Visit,
};
use crate::{
    admin::{
        api,
        problem::{MISSING, Problem},
        view::Status,
    },
    call_log::{CallQuery, Found},
    model::HaltOf,
    state::postgres::{Filter, RouteStatus, Total},
};
use jiff::Timestamp;
use maud::{Markup, html};
use serde_json::Value;

/// So many calls are shown.
const CALLS: usize = 15;

pub(super) async fn page(visit: Visit) -> Result<Page, Problem> {
    let name = visit.place();
    let status = visit.status().await?;
    let missing =
        || Problem::new(MISSING, format!("there is no route `{name}`, or nothing has come for it yet"));
    let route = status.routes.iter().find(|it| it.route == name).ok_or_else(missing)?;
    let settings = visit.desk().configuration().settings;
    let filter = Filter { route: Some(name.clone()), ..Filter::default() };
    let totals = visit.desk().parked_totals(&filter).await?;
    let query =
        CallQuery { route: Some(name.clone()), limit: CALLS, look: Some(api::LOOK), ..CallQuery::default() };
    // The route is worth a look although its calls cannot be had.
    let calls = visit.desk().calls(&query).await.map_err(|error| error.to_string());
    let live = html! {
        (top(route, &status, &settings, visit.now))
        h2 { "Parked" }
        (summary(&totals, visit.now))
        h2 { "Last calls" }
        @match &calls {
            Ok(Found { calls, looked, .. }) => {
                (calls::table("Last calls", calls, visit.now))
                @if let Some(looked) = looked { p.quiet { "Among the last " (say::count(*looked as i64)) " of all routes." } }
                p { a href=(format!("/calls?route={}", url(&name))) { "All calls of this route" } }
            }
            Err(error) => p.reason { "Its calls are not known: " (error) },
        }
    };
    Ok(Page { title: format!("Route {name}"), live, rest: html! {} })
}

fn top(route: &RouteStatus, status: &Status, settings: &Value, now: Timestamp) -> Markup {
    let health = health::route(route, status, settings, now);
    let name = &route.route;
    let halted = status.halts.iter().any(|it| it.what == HaltOf::Route && it.name == *name);
    let remote = health::remote_of(settings, name);
    html! {
        h1 #headline { (pieces::shape(health.health)) "Route " (name) ": " (routes::word(health.health, route.in_flight)) }
        (pieces::troubles(&health.troubles, now))
        (pieces::facts(&[
            ("Source", html! { (route.source) }),
            ("Remote", html! { @match remote { Some(it) => a href="/remotes" { (it) }, None => "–" } }),
            ("Applied", html! { (say::of(route.applied, "change", "changes")) }),
            ("Skipped", html! { (say::count(route.skipped)) }),
            ("Under way", html! { (say::count(route.in_flight)) }),
            ("Backing off", html! { (say::count(route.backing_off)) }),
            ("Parked", html! { (say::count(route.parked)) }),
            ("To be written back", html! { (say::of(route.to_write_back, "row", "rows")) }),
        ]))
        @if let Some(error) = &route.last_error {
            p.reason { "Last failure " (say::perhaps(route.last_error_at, now)) ": " }
            pre.wrap tabindex="0" { (error) }
        }
        p.actions {
            @if !halted { a.button.quiet href=(format!("/do/routes.pause?route={}", url(name))) { "Pause this route" } }
        }
    }
}

/// By state and reason.
pub(super) fn summary(totals: &[Total], now: Timestamp) -> Markup {
    if totals.is_empty() {
        return pieces::nothing("Nothing is parked.");
    }
    let rows = html! {
        @for it in totals {
            @let href = format!("/parked?route={}&state={}&reason={}", url(&it.route), url(&it.state), url(&it.reason));
            tr {
                td { (it.route) } td { (it.state) } td { (it.reason) }
                td.number { a href=(href) { (say::count(it.count)) } }
                td { (say::when(it.oldest, now)) }
            }
        }
    };
    pieces::table("How many are parked, and why", &["Route", "State", "Reason", "#Changes", "Oldest"], rows)
}
