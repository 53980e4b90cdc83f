//! The log of calls: searched, shown, followed from a change to the remote and back.

use super::{
    endpoint::{Answer, Endpoint, LONG, schema},
    openapi::list_of,
    params::{Form, Given, NAME, param},
};
use crate::{
    admin::{
        Desk,
        problem::{BAD_PARAMETER, MISSING, Problem, REFUSED},
        view::{Lineage, LineageOf},
    },
    call_log::{CallQuery, CallRecord, status_range},
};
use jiff::SignedDuration;

/// So many calls are looked through at once where no index helps: some tenth of a second.
pub(in crate::admin) const LOOK: usize = 40_000;

/// How far back the log is looked through where nobody says it.
const BACK: SignedDuration = SignedDuration::from_hours(30 * 24);

pub(super) const ENDPOINTS: &[Endpoint] = &[
    Endpoint {
        within: LONG,
        ..Endpoint::get(
            "/api/v1/calls",
            "calls.search",
            "Calls, the newest first, as `rowcall calls search --json` says it. A search that no index helps ends after \
             40,000 calls were looked through; `Link` says where it goes on, also where nothing was found so far.",
            list_of::<CallRecord>,
            |desk, asked| {
                Box::pin(async move {
                    let query = query(&*desk, &asked.query).await?;
                    let found = desk.calls(&query).await?;
                    let next = found.more.map(|(_, id)| asked.query.but(&["before"], "before", &id.0));
                    Ok(Answer::json(&found.calls)?.linked("/api/v1/calls", &[("next", next)]))
                })
            },
        )
    }
    .query(&[
        param("entity", NAME, "Only of this entity."),
        param("route", NAME, "Only of this route."),
        param("key", NAME, "Only those that carried this key."),
        param("change", NAME, "Only those that this change caused, such as `0/16B3748.0`."),
        param("run", Form::Number(1, i64::MAX), "Only of this run."),
        param("status", Form::Status, "Only answered with this status."),
        param("class", NAME, "Only failures of this kind, such as `transport`, `timeout` or `refused`."),
        param("since", Form::Moment, "Only since then."),
        param("until", Form::Moment, "Only before then."),
        param("text", NAME, "Only with this text in the URL, a body, or the words of a failure."),
        param("before", NAME, "Only those behind this one: the id of the last of the page before."),
        param("limit", Form::Number(1, 500), "How many at most; 100, if left out."),
    ])
    .problems(&[REFUSED]),
    Endpoint::get(
        "/api/v1/calls/{id}",
        "calls.show",
        "One attempt: request and answer.",
        schema::<CallRecord>,
        |desk, asked| {
            Box::pin(async move { Answer::json(&desk.call(asked.places.text("id").unwrap_or_default()).await?) })
        },
    )
    .places(&[param("id", NAME, "Its id, as listed.")])
    .problems(&[MISSING, REFUSED]),
    Endpoint {
        within: LONG,
        ..Endpoint::get(
            "/api/v1/lineage",
            "lineage",
            "What became of a change, or where what a remote calls something comes from; give `change` or `remote_id`.",
            schema::<Lineage>,
            |desk, asked| {
                Box::pin(async move {
                    let of = lineage_of(&*desk, &asked.query)?;
                    Answer::json(&desk.lineage(of).await?)
                })
            },
        )
    }
    .query(&[
        param("change", NAME, "What became of this change, such as `0/16B3748.0`."),
        param("remote_id", NAME, "Where what the remote calls like this comes from."),
        param("entity", NAME, "With `remote_id`: the entity that it is one of."),
        param("since", Form::Moment, "With `remote_id`: how far back the log is looked through; 30d, if left out."),
    ])
    .problems(&[REFUSED]),
];

pub(in crate::admin) async fn query(desk: &dyn Desk, given: &Given) -> Result<CallQuery, Problem> {
    let now = desk.now();
    let before = match given.text("before") {
        Some(id) => {
            let record = desk.call(id).await?;
            Some((record.at, record.id))
        }
        None => None,
    };
    Ok(CallQuery {
        entity: given.owned("entity"),
        route: given.owned("route"),
        key: given.owned("key"),
        change: given.owned("change"),
        run: given.get("run"),
        status: given.text("status").and_then(|it| status_range(it).ok()),
        class: given.owned("class"),
        since: given.moment("since", now),
        until: given.moment("until", now),
        text: given.owned("text"),
        before,
        limit: given.get("limit").unwrap_or(100),
        look: Some(LOOK),
    })
}

pub(in crate::admin) fn lineage_of(desk: &dyn Desk, given: &Given) -> Result<LineageOf, Problem> {
    match (given.owned("change"), given.owned("remote_id")) {
        (Some(change), None) => Ok(LineageOf::Change(change)),
        (None, Some(id)) => {
            let now = desk.now();
            let since = given.moment("since", now).or_else(|| now.checked_sub(BACK).ok()).unwrap_or_default();
            Ok(LineageOf::RemoteId { id, entity: given.owned("entity"), since })
        }
        _ => {
            let detail = "give one of `change` and `remote_id`";
            Err(Problem::new(BAD_PARAMETER, detail).of("change").accepting(["change", "remote_id"]))
        }
    }
}
