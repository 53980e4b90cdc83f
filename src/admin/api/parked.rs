//! Parked changes: found, shown, tried again, given up.

use super::{
    asked::Asked,
    endpoint::{Answer, Endpoint, schema},
    openapi::list_of,
    params::{Form, Given, NAME, Param, param},
};
use crate::{
    admin::{
        problem::{BAD_BODY, BAD_PARAMETER, MISSING, Problem, REFUSED},
        view::{ParkedDetail, ParkedPage},
    },
    model::{ParkReason, ParkedState, Span},
    state::postgres::{Filter, Listed, Page, Total},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Which parked changes are meant; what is left out is not looked at.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct Which {
    /// By their ids.
    ids: Vec<i64>,
    /// Of this route.
    route: Option<String>,
    /// Of this key.
    key: Option<String>,
    /// In this state: retrying, queued, waiting, rejected or dead.
    state: Option<String>,
    /// For this reason, such as refused, timeout, invalid or template.
    reason: Option<String>,
    /// Parked for longer than this, such as `15m`.
    older_than: Option<Span>,
    /// Parked for no longer than this.
    newer_than: Option<Span>,
}

/// `POST /api/v1/parked/retry`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct RetryBody {
    /// Which.
    filter: Which,
    /// All that is parked, if the filter says nothing.
    all: bool,
}

/// `POST /api/v1/parked/discard`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct DiscardBody {
    /// Which.
    #[serde(default)]
    filter: Which,
    /// All that is parked, if the filter says nothing.
    #[serde(default)]
    all: bool,
    /// Why they are given up; kept in the list of operations.
    reason: String,
}

/// How many it concerned.
#[derive(Debug, Serialize, JsonSchema)]
struct Count {
    /// How many.
    count: u64,
}

const LIMITED: &[Param] = &[
    param("limit", Form::Number(1, 1_000), "How many at most; 100, if left out."),
    param("after", Form::Place, "Only those behind this place: see the header `Link`."),
    param("before", Form::Place, "Only those before this place, the last of them."),
    param("ids", Form::Numbers, "By their ids."),
    param("route", NAME, "Only of this route."),
    param("key", NAME, "Only of this key."),
    param("state", Form::ParkedState, "Only in this state."),
    param("reason", Form::ParkReason, "Only for this reason."),
    param("older_than", Form::Span, "Only what has been parked for longer than this."),
    param("newer_than", Form::Span, "Only what has been parked for no longer than this."),
];
/// The same without what makes pages of them.
const FILTERS: &[Param] = LIMITED.split_at(PAGING.len()).1;
/// The first of them.
pub(in crate::admin) const PAGING: &[&str] = &["limit", "after", "before"];

pub(super) const ENDPOINTS: &[Endpoint] = &[
    Endpoint::get(
        "/api/v1/parked",
        "parked.list",
        "Parked changes, in order within each key, as `rowcall parked list --json` says it. `Link` says where the next \
         and the previous ones are.",
        list_of::<Listed>,
        |desk, asked| {
            Box::pin(async move {
                let found = desk.parked(&filter(&asked.query), &page(&asked.query)?, limit(&asked.query)).await?;
                let [previous, next] = around(&asked.query, &found);
                let answer = Answer::json(&found.listed)?.of_total(found.total);
                Ok(answer.linked("/api/v1/parked", &[("prev", previous), ("next", next)]))
            })
        },
    )
    .query(LIMITED),
    Endpoint::get(
        "/api/v1/parked/summary",
        "parked.summary",
        "How many are parked, by route, state and reason, and since when.",
        list_of::<Total>,
        |desk, asked| {
            Box::pin(async move { Answer::json(&desk.parked_totals(&filter(&asked.query)).await?) })
        },
    )
    .query(FILTERS),
    Endpoint::get(
        "/api/v1/parked/{id}",
        "parked.show",
        "A parked change with its row, the answers so far, and its last attempts.",
        schema::<ParkedDetail>,
        |desk, asked| {
            Box::pin(async move {
                let id = asked.places.get("id").unwrap_or_default();
                Answer::json(&desk.parked_change(id, asked.query.text("source")).await?)
            })
        },
    )
    .places(&[param("id", Form::Number(1, i64::MAX), "Its id, as listed.")])
    .query(&[param("source", NAME, "Of this source, if several state databases have a change of this id.")])
    .problems(&[MISSING, REFUSED]),
    Endpoint::post(
        "/api/v1/parked/retry",
        "parked.retry",
        "Tries them again now; what queued behind follows in order.",
        schema::<Count>,
        |desk, asked| {
            Box::pin(async move {
                let RetryBody { filter, all } = asked.body()?;
                Answer::json(&Count { count: desk.retry(&chosen(filter, all)?).await? })
            })
        },
    )
    .body(schema::<RetryBody>),
    Endpoint::post(
        "/api/v1/parked/discard",
        "parked.discard",
        "Gives them up for good: they are never sent, and what queued behind goes on.",
        schema::<Count>,
        |desk, asked| {
            Box::pin(async move {
                let DiscardBody { filter, all, reason } = asked.body()?;
                Asked::reason(&reason)?;
                Answer::json(&Count { count: desk.discard(&chosen(filter, all)?).await? })
            })
        },
    )
    .body(schema::<DiscardBody>),
];

/// How many are shown at once.
pub(in crate::admin) fn limit(given: &Given) -> i64 {
    given.get("limit").unwrap_or(100)
}

/// Which part of the list.
pub(in crate::admin) fn page(given: &Given) -> Result<Page, Problem> {
    match (given.get("after"), given.get("before")) {
        (None, None) => Ok(Page::First),
        (Some(place), None) => Ok(Page::Behind(place)),
        (None, Some(place)) => Ok(Page::Before(place)),
        (Some(_), Some(_)) => Err(Problem::new(BAD_PARAMETER, "give one of `after` and `before`")
            .of("after")
            .accepting(["after", "before"])),
    }
}

/// What one asks for to see the pages before and behind this one.
pub(in crate::admin) fn around(given: &Given, found: &ParkedPage) -> [Option<String>; 2] {
    let to = |name: &str, at: Option<&Listed>| {
        at.map(|it| given.but(&["after", "before"], name, &it.place().to_string()))
    };
    [
        to("before", found.listed.first().filter(|_| found.earlier)),
        to("after", found.listed.last().filter(|_| found.later)),
    ]
}

pub(in crate::admin) fn filter(given: &Given) -> Filter {
    let span = |name: &str| given.get::<Span>(name).map(|Span(it)| it);
    Filter {
        ids: given.numbers("ids"),
        route: given.owned("route"),
        key: given.owned("key"),
        state: given.text("state").and_then(ParkedState::from_name),
        reason: given.text("reason").and_then(ParkReason::from_name),
        older_than: span("older_than"),
        newer_than: span("newer_than"),
    }
}

/// Nobody means everything by leaving everything out.
fn chosen(which: Which, all: bool) -> Result<Filter, Problem> {
    let Which { ids, route, key, state, reason, older_than, newer_than } = which;
    let state = one_of("filter.state", state, ParkedState::from_name, ParkedState::ALL, ParkedState::name)?;
    let reason = one_of("filter.reason", reason, ParkReason::from_name, ParkReason::ALL, ParkReason::name)?;
    let [older_than, newer_than] = [older_than, newer_than].map(|it| it.map(|Span(it)| it));
    let filter = Filter { ids, route, key, state, reason, older_than, newer_than };
    if all || filter.narrows() {
        return Ok(filter);
    }
    let detail = "say which: give `filter`, by `ids`, `route`, `key`, `state`, `reason`, `older_than` or `newer_than`, or \
                  `\"all\": true`";
    Err(Problem::new(BAD_BODY, detail).of("filter"))
}

fn one_of<T: Copy>(
    at: &str,
    text: Option<String>,
    from_name: fn(&str) -> Option<T>,
    all: &[T],
    name: fn(T) -> &'static str,
) -> Result<Option<T>, Problem> {
    let Some(text) = text else { return Ok(None) };
    let known: Vec<&str> = all.iter().map(|it| name(*it)).collect();
    let wrong = || {
        let short: String = text.chars().take(100).collect();
        let detail = format!("`{at}` cannot be `{short}`: expected one of {}", known.join(", "));
        Problem::new(BAD_PARAMETER, detail).of(at).accepting(known.iter().copied())
    };
    from_name(&text).ok_or_else(wrong).map(Some)
}
