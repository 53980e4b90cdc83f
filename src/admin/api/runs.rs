//! Runs: looked at, asked for, paused, resumed, cancelled.

use super::{
    asked::Asked,
    endpoint::{Answer, Answering, Endpoint, schema},
    openapi::list_of,
    params::{Form, NAME, Param, param},
};
use crate::{
    admin::{
        Desk, RunWanted,
        problem::{MISSING, REFUSED},
    },
    model::RunId,
    state::{Run, RunCommand, postgres::RunFilter},
};
use schemars::JsonSchema;
use serde::Deserialize;
use std::{num::NonZeroU32, sync::Arc};

const ID: &[Param] = &[param("id", Form::Number(1, i64::MAX), "Its number.")];
const SOURCE: &[Param] =
    &[param("source", NAME, "Of this source, if several state databases have a run of this number.")];

/// `POST /api/v1/runs/snapshot`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[derive(Default)]
struct SnapshotBody {
    /// Their rows; those of every entity, if left out.
    entities: Vec<String>,
    /// Only these keys, as links have them: values of a key of several columns are joined by commas.
    keys: Vec<String>,
    /// Also what the remote was told before.
    force: bool,
    /// Rows a second, at most.
    rate: Option<NonZeroU32>,
}

/// `POST /api/v1/runs/prune`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct PruneBody {
    /// Of these entities; of every one, if left out.
    entities: Vec<String>,
    /// Deletes what is found; without it, it is only counted.
    delete: bool,
    /// Keys a second, at most.
    rate: Option<NonZeroU32>,
}

/// `POST /api/v1/runs/audit`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct AuditBody {
    /// Of these entities; of every one that has a `read`, if left out.
    entities: Vec<String>,
    /// Only so many rows of each, by chance.
    sample: Option<NonZeroU32>,
    /// Asks for runs that bring things in step again.
    repair: bool,
    /// Objects a second, at most.
    rate: Option<NonZeroU32>,
}

/// `POST /api/v1/runs/scheduled`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ScheduledBody {
    /// The schedule's name, or how it begins.
    schedule: String,
    /// Of this source, if several have one of that name.
    #[serde(default)]
    source: Option<String>,
}

/// `POST /api/v1/runs/replay`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ReplayBody {
    /// The first change: a checkpoint's name, a position, a time, or how long ago.
    from: String,
    /// Where it ends, likewise; at what is settled when it begins, if left out.
    #[serde(default)]
    to: Option<String>,
    /// Of this source, if there are several.
    #[serde(default)]
    source: Option<String>,
    /// Only these entities.
    #[serde(default)]
    entities: Vec<String>,
    /// Only these keys of theirs, as links have them.
    #[serde(default)]
    keys: Vec<String>,
    /// Under call keys of its own.
    #[serde(default)]
    new_keys: bool,
}

pub(super) const ENDPOINTS: &[Endpoint] = &[
    Endpoint::get(
        "/api/v1/runs",
        "runs.list",
        "Runs that are not over, the newest first, as `rowcall runs list --json` says it.",
        list_of::<Run>,
        |desk, asked| {
            Box::pin(async move {
                let query = &asked.query;
                let state = query.get("state");
                let filter = RunFilter {
                    ids: Vec::new(),
                    sources: query.owned("source").into_iter().collect(),
                    kind: query.get("kind"),
                    entity: query.owned("entity"),
                    open: !query.flag("all") && state.is_none(),
                    state,
                };
                Answer::json(&desk.runs(&filter, query.get("limit").unwrap_or(100)).await?)
            })
        },
    )
    .query(&[
        param("all", Form::Flag, "Also those that are over."),
        param("source", NAME, "Only of this source."),
        param("entity", NAME, "Only of this entity."),
        param("kind", Form::RunKind, "Only of this kind."),
        param("state", Form::RunState, "Only in this state."),
        param("limit", Form::Number(1, 1_000), "How many at most; 100, if left out."),
    ]),
    Endpoint::get(
        "/api/v1/runs/{id}",
        "runs.show",
        "Everything about one run.",
        schema::<Run>,
        |desk, asked| {
            Box::pin(async move { Answer::json(&desk.run(id(&asked), asked.query.text("source")).await?) })
        },
    )
    .places(ID)
    .query(SOURCE)
    .problems(&[MISSING, REFUSED]),
    Endpoint::post(
        "/api/v1/runs/snapshot",
        "runs.snapshot",
        "Asks for the rows of entities to be sent.",
        list_of::<Run>,
        |desk, asked| {
            start(desk, asked, |SnapshotBody { entities, keys, force, rate }| RunWanted::Snapshot {
                entities,
                keys,
                force,
                rate,
            })
        },
    )
    .body(schema::<SnapshotBody>),
    Endpoint::post(
        "/api/v1/runs/prune",
        "runs.prune",
        "Asks for what is linked and has no row any more to be counted, or deleted.",
        list_of::<Run>,
        |desk, asked| {
            start(desk, asked, |PruneBody { entities, delete, rate }| RunWanted::Prune {
                entities,
                delete,
                rate,
            })
        },
    )
    .body(schema::<PruneBody>),
    Endpoint::post(
        "/api/v1/runs/audit",
        "runs.audit",
        "Asks for what the remotes hold to be compared with the rows.",
        list_of::<Run>,
        |desk, asked| {
            start(desk, asked, |AuditBody { entities, sample, repair, rate }| RunWanted::Audit {
                entities,
                sample,
                repair,
                rate,
            })
        },
    )
    .body(schema::<AuditBody>),
    Endpoint::post(
        "/api/v1/runs/replay",
        "runs.replay",
        "Asks for changes that were sent before to be sent again.",
        list_of::<Run>,
        |desk, asked| {
            start(desk, asked, |ReplayBody { from, to, source, entities, keys, new_keys }| {
                RunWanted::Replay { from, to, source, entities, keys, new_keys }
            })
        },
    )
    .body(schema::<ReplayBody>),
    Endpoint::post(
        "/api/v1/runs/scheduled",
        "runs.scheduled",
        "Asks now for what a schedule asks for when its time comes.",
        list_of::<Run>,
        |desk, asked| {
            start(desk, asked, |ScheduledBody { schedule, source }| RunWanted::Scheduled { schedule, source })
        },
    )
    .body(schema::<ScheduledBody>),
    Endpoint::post(
        "/api/v1/runs/{id}/pause",
        "runs.pause",
        "Has a run wait.",
        schema::<Run>,
        |desk, asked| command(desk, asked, RunCommand::Pause),
    )
    .places(ID)
    .query(SOURCE)
    .problems(&[MISSING, REFUSED]),
    Endpoint::post(
        "/api/v1/runs/{id}/resume",
        "runs.resume",
        "Lets a paused run go on.",
        schema::<Run>,
        |desk, asked| command(desk, asked, RunCommand::Resume),
    )
    .places(ID)
    .query(SOURCE)
    .problems(&[MISSING, REFUSED]),
    Endpoint::post(
        "/api/v1/runs/{id}/cancel",
        "runs.cancel",
        "Ends a run for good; what it did stays.",
        schema::<Run>,
        |desk, asked| command(desk, asked, RunCommand::Cancel),
    )
    .places(ID)
    .query(SOURCE)
    .problems(&[MISSING, REFUSED]),
];

fn id(asked: &Asked) -> RunId {
    RunId(asked.places.get("id").unwrap_or_default())
}

fn command(desk: Arc<dyn Desk>, asked: Asked, command: RunCommand) -> Answering {
    Box::pin(async move {
        let source = asked.query.text("source");
        Answer::json(&desk.command_run(id(&asked), source, command).await?)
    })
}

fn start<B: serde::de::DeserializeOwned + 'static>(
    desk: Arc<dyn Desk>,
    asked: Asked,
    wanted: fn(B) -> RunWanted,
) -> Answering {
    Box::pin(async move {
        let wanted = wanted(asked.body()?);
        Answer::json(&desk.start(wanted).await?)
    })
}
