//! Routes and remotes: paused and resumed.

use super::{
    asked::Asked,
    endpoint::{Answer, Answering, Endpoint, schema},
    openapi::list_of,
    params::{NAME, Param, param},
};
use crate::{
    admin::{Desk, problem::REFUSED},
    model::{Halt, HaltOf},
};
use schemars::JsonSchema;
use serde::Deserialize;
use std::sync::Arc;

const ROUTE: &[Param] = &[param("route", NAME, "Its name.")];
const REMOTE: &[Param] = &[param("remote", NAME, "Its name.")];

/// What is said with a pause.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
struct PauseBody {
    /// Why; shown wherever the pause is.
    reason: Option<String>,
}

pub(super) const ENDPOINTS: &[Endpoint] = &[
    Endpoint::get("/api/v1/halts", "halts.list", "What people have paused.", list_of::<Halt>, |desk, _| {
        Box::pin(async move { Answer::json(&desk.status().await?.halts) })
    }),
    Endpoint::post(
        "/api/v1/routes/{route}/pause",
        "routes.pause",
        "Sends nothing of a route until it is resumed; its changes are parked, and no attempt counts.",
        schema::<Halt>,
        |desk, asked| pause(desk, asked, HaltOf::Route),
    )
    .places(ROUTE)
    .body(schema::<PauseBody>)
    .problems(&[REFUSED]),
    Endpoint::post(
        "/api/v1/routes/{route}/resume",
        "routes.resume",
        "Lets a paused route go on, in order.",
        schema::<Halt>,
        |desk, asked| resume(desk, asked, HaltOf::Route),
    )
    .places(ROUTE)
    .problems(&[REFUSED]),
    Endpoint::post(
        "/api/v1/remotes/{remote}/pause",
        "remotes.pause",
        "Sends nothing to a remote until it is resumed; its changes wait as in an outage.",
        schema::<Halt>,
        |desk, asked| pause(desk, asked, HaltOf::Remote),
    )
    .places(REMOTE)
    .body(schema::<PauseBody>)
    .problems(&[REFUSED]),
    Endpoint::post(
        "/api/v1/remotes/{remote}/resume",
        "remotes.resume",
        "Lets calls to a paused remote go on.",
        schema::<Halt>,
        |desk, asked| resume(desk, asked, HaltOf::Remote),
    )
    .places(REMOTE)
    .problems(&[REFUSED]),
];

fn pause(desk: Arc<dyn Desk>, asked: Asked, what: HaltOf) -> Answering {
    Box::pin(async move {
        let PauseBody { reason } = asked.body()?;
        let reason = reason.as_deref().map(Asked::reason).transpose()?;
        let name = asked.places.text(what.name()).unwrap_or_default();
        Answer::json(&desk.pause(what, name, asked.who, reason).await?)
    })
}

fn resume(desk: Arc<dyn Desk>, asked: Asked, what: HaltOf) -> Answering {
    Box::pin(async move {
        let name = asked.places.text(what.name()).unwrap_or_default();
        Answer::json(&desk.resume(what, name).await?)
    })
}
