//! What can be done: each deed is confirmed on a page that says what it will do, and is then done by the
//! API's endpoint of the same name.

mod deed;

use super::{
    Dashboard, forms, layout,
    layout::Page,
    redirect, say,
    visit::{Visit, given},
};
use crate::{
    admin::{
        api::{self, Given},
        guard::Role,
        problem::{BAD_BODY, NO_PATH, Problem, TOO_LARGE, TOO_SLOW},
    },
    state::postgres::Filter,
};
use axum::{
    body::{Body, to_bytes},
    extract::{Request, State},
    response::Response,
};
use deed::{DEEDS, Deed, Reason};
use maud::{Markup, html};
use std::sync::Arc;
use tokio::time::timeout;

/// A form has no more.
const LARGEST: usize = 64 << 10;

fn find(name: &str) -> Result<&'static Deed, Problem> {
    let missing = || Problem::new(NO_PATH, "there is nothing of this name to be done");
    DEEDS.iter().find(|it| it.name == name).ok_or_else(missing)
}

/// Asks whether it is meant.
pub(super) async fn confirm(visit: Visit) -> Result<Page, Problem> {
    let deed = find(&visit.place())?;
    let given = visit.given(&deed.params())?;
    let count = match deed.counts {
        true => Some(count(&visit, &given).await?),
        false => None,
    };
    Ok(Page::still(deed.title, draw(deed, &given, count, visit.operator.role)))
}

/// How many parked changes it concerns.
async fn count(visit: &Visit, given: &Given) -> Result<i64, Problem> {
    let filter: Filter = api::parked_filter(given);
    if !filter.narrows() && !given.flag("all") {
        return Ok(0);
    }
    Ok(visit.desk().parked_count(&filter).await?)
}

fn draw(deed: &Deed, given: &Given, count: Option<i64>, role: Role) -> Markup {
    let what = (deed.what)(given);
    let nothing = count == Some(0);
    html! {
        h1 { (deed.title) }
        @match count {
            Some(0) => p.reason { "No parked change is chosen: go back and tick some." },
            Some(count) => p.reason { strong { (say::of(count, "parked change", "parked changes")) } " " (what) },
            None => p.reason { (what) },
        }
        p { (deed.about) }
        @let told: Vec<_> = given.all().collect();
        @if !told.is_empty() {
            dl.facts { @for (name, value) in told { div { dt { (name.replace('_', " ")) } dd { (value) } } } }
        }
        @if role == Role::ReadToken { p.reason { "You may only look: log in with " code { "admin.token" } " to do this." } }
        @else if !nothing {
            form method="post" action=(format!("/do/{}", deed.name)) {
                (forms::hidden(given, &["why"]))
                @match deed.reason {
                    Reason::None => {}
                    Reason::May => (reason("Why (shown wherever the pause is)", false, given)),
                    Reason::Must => (reason("Why they are given up (kept with the operation)", true, given)),
                }
                p.actions { button.danger[deed.danger] { (deed.button) } " " a.button.quiet href=(deed.back) { "Back" } }
            }
        }
        @if nothing || role == Role::ReadToken { p { a.button.quiet href=(deed.back) { "Back" } } }
    }
}

fn reason(label: &str, required: bool, given: &Given) -> Markup {
    let value = given.text("why").unwrap_or_default();
    html! { label.field.wide { span { (label) } input name="why" required[required] maxlength="1000" value=(value) autocomplete="off"; } }
}

/// Does it, and says so on the page where one comes from.
pub(super) async fn act(State(dashboard): State<Arc<Dashboard>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let request = Request::from_parts(parts, Body::empty());
    let visit = match Visit::of(dashboard, request) {
        Ok(visit) => visit,
        Err(problem) => return layout::wrong(&problem, None),
    };
    match carry(&visit, body).await {
        Ok(to) => redirect(&to),
        Err(problem) => layout::wrong(&problem, Some(&visit.frame())),
    }
}

async fn carry(visit: &Visit, body: Body) -> Result<String, Problem> {
    let deed = find(&visit.place())?;
    let too_large = |_| Problem::new(TOO_LARGE, format!("a form has at most {LARGEST} bytes"));
    let slow = |_| Problem::new(TOO_SLOW, "the form took too long");
    let body = timeout(super::WITHIN, to_bytes(body, LARGEST)).await.map_err(slow)?.map_err(too_large)?;
    let form = std::str::from_utf8(&body).map_err(|_| Problem::new(BAD_BODY, "that is no form"))?;
    let given = given(&deed.params(), Some(form))?;
    let told = (deed.told)(&given);
    let api = Arc::clone(&visit.dashboard.api);
    let _turn = api.turn().await?;
    let answer = api.perform(deed.name, visit.operator, told).await?;
    visit.dashboard.samples.forget_latest();
    let count = answer["count"].as_u64().or_else(|| answer.as_array().map(|it| it.len() as u64));
    let mut to = format!("{}?done={}", deed.back, deed.name);
    if let Some(run) = answer["id"].as_i64().filter(|_| deed.back == "/runs") {
        to = format!(
            "/runs/{run}?source={}&done={}",
            super::pieces::url(answer["source"].as_str().unwrap_or_default()),
            deed.name
        );
    }
    if let Some(count) = count {
        to.push_str(&format!("&count={count}"));
    }
    Ok(to)
}

/// What was just done, as a page says it: only what is known here, whatever the address holds.
pub(super) fn said(told: &[(String, String)]) -> Option<String> {
    let value = |name: &str| told.iter().find(|(it, _)| it == name).map(|(_, value)| value.as_str());
    let deed = DEEDS.iter().find(|it| Some(it.name) == value("done"))?;
    let count = value("count").and_then(|it| it.parse::<i64>().ok());
    Some(match count {
        Some(count) if deed.counts => {
            format!("{}: {}.", deed.done, say::of(count, "parked change", "parked changes"))
        }
        Some(count) => format!("{}: {}.", deed.done, say::of(count, "run", "runs")),
        None => format!("{}.", deed.done),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::api::query_of;

    fn told(query: &str) -> Given {
        given(&find("parked.discard").expect("a deed").params(), Some(query)).expect("right")
    }

    #[test]
    fn a_confirmation_says_how_many_and_asks_why() {
        let deed = find("parked.discard").expect("a deed");
        let drawn = draw(deed, &told("ids=1&ids=2&route=<b>"), Some(2), Role::Token).into_string();
        assert!(drawn.contains("<strong>2 parked changes</strong> will be given up for good"), "{drawn}");
        assert!(
            drawn.contains("name=\"ids\" value=\"1,2\"") && drawn.contains("name=\"why\" required"),
            "{drawn}"
        );
        assert!(
            drawn.contains("method=\"post\" action=\"/do/parked.discard\"") && !drawn.contains("<b>"),
            "{drawn}"
        );
        let none = draw(deed, &told(""), Some(0), Role::Token).into_string();
        assert!(none.contains("No parked change is chosen") && !none.contains("method=\"post\""), "{none}");
        let looks = draw(deed, &told("ids=1"), Some(1), Role::ReadToken).into_string();
        assert!(looks.contains("You may only look") && !looks.contains("method=\"post\""), "{looks}");
    }

    #[test]
    fn what_was_done_is_said_only_in_our_words() {
        let said = |query: &[(&str, &str)]| {
            let told: Vec<_> = query.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
            super::said(&told)
        };
        let expected = Some("Tried again now: 3 parked changes.".to_owned());
        assert_eq!(said(&[("done", "parked.retry"), ("count", "3")]), expected);
        assert_eq!(said(&[("done", "call us at"), ("count", "3")]), None);
    }

    #[test]
    fn every_deed_is_an_endpoint() {
        for deed in DEEDS {
            let known: Vec<_> = query_of(deed.name).iter().map(|it| it.name).collect();
            for (name, _) in (deed.told)(&Given::default()).query {
                assert!(known.contains(&name), "{} has no {name}", deed.name);
            }
            assert!(api::is_deed(deed.name), "{}", deed.name);
        }
    }
}
