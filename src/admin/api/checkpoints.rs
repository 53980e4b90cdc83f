//! Named checkpoints, and what operators did.

use super::{
    endpoint::{Answer, Endpoint, Verb, schema},
    openapi::list_of,
    params::{Form, NAME, param},
};
use crate::{
    admin::{
        problem::{MISSING, REFUSED},
        view::CheckpointLine,
    },
    state::postgres::{Mark, Operation},
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `POST /api/v1/checkpoints`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CheckpointBody {
    /// Its name: a–z, 0–9 and `_`.
    name: String,
    /// Of which source, if there are several.
    #[serde(default)]
    source: Option<String>,
}

/// What was dropped.
#[derive(Debug, Serialize, JsonSchema)]
struct Dropped {
    /// The checkpoint.
    name: String,
    /// Of which source it was.
    source: String,
}

pub(super) const ENDPOINTS: &[Endpoint] = &[
    Endpoint::get(
        "/api/v1/checkpoints",
        "checkpoints.list",
        "Named checkpoints, and how much log the server keeps for each.",
        list_of::<CheckpointLine>,
        |desk, asked| {
            Box::pin(async move { Answer::json(&desk.checkpoints(asked.query.text("source")).await?) })
        },
    )
    .query(&[param("source", NAME, "Only of this source.")]),
    Endpoint::post(
        "/api/v1/checkpoints",
        "checkpoints.create",
        "Makes a checkpoint where the source's slot stands.",
        schema::<Mark>,
        |desk, asked| {
            Box::pin(async move {
                let CheckpointBody { name, source } = asked.body()?;
                Answer::json(&desk.create_checkpoint(&name, source.as_deref()).await?)
            })
        },
    )
    .body(schema::<CheckpointBody>),
    Endpoint {
        verb: Verb::Delete,
        ..Endpoint::post(
            "/api/v1/checkpoints/{name}",
            "checkpoints.drop",
            "Drops a checkpoint and its slot.",
            schema::<Dropped>,
            |desk, asked| {
                Box::pin(async move {
                    let name = asked.places.owned("name").unwrap_or_default();
                    let source = desk.drop_checkpoint(&name, asked.query.text("source")).await?;
                    Answer::json(&Dropped { name, source })
                })
            },
        )
    }
    .places(&[param("name", NAME, "Its name.")])
    .query(&[param("source", NAME, "Of this source, if several have a checkpoint of that name.")])
    .problems(&[MISSING, REFUSED]),
    Endpoint::get(
        "/api/v1/operations",
        "operations.list",
        "What operators did, the newest first.",
        list_of::<Operation>,
        |desk, asked| {
            Box::pin(async move {
                let (action, before) = (asked.query.text("action"), asked.query.get("before"));
                let limit = asked.query.get("limit").unwrap_or(100);
                Answer::json(&desk.operations(action, before, limit).await?)
            })
        },
    )
    .query(&[
        param("action", NAME, "Only these, such as `parked.discard`."),
        param(
            "before",
            Form::Number(1, i64::MAX),
            "Only older ones than this: the id of the last of the page before.",
        ),
        param("limit", Form::Number(1, 1_000), "How many at most; 100, if left out."),
    ]),
];
