//! How everything stands.

use super::{
    endpoint::{Answer, Endpoint, LONG, schema},
    openapi::list_of,
};
use crate::{
    admin::view::{CallLogLine, Configuration, Finding, ScheduleLine, SourceLine, Status},
    state::postgres::{RemoteStatus, RouteStatus},
};

pub(super) const ENDPOINTS: &[Endpoint] = &[
    Endpoint::get(
        "/api/v1/status",
        "status",
        "How everything stands, as `rowcall status --json` says it.",
        schema::<Status>,
        |desk, _| Box::pin(async move { Answer::json(&desk.status().await?) }),
    ),
    Endpoint::get(
        "/api/v1/sources",
        "sources.list",
        "How far each source is.",
        list_of::<SourceLine>,
        |desk, _| Box::pin(async move { Answer::json(&desk.status().await?.sources) }),
    ),
    Endpoint::get(
        "/api/v1/routes",
        "routes.list",
        "What each route did, what of it waits and what is parked.",
        list_of::<RouteStatus>,
        |desk, _| Box::pin(async move { Answer::json(&desk.status().await?.routes) }),
    ),
    Endpoint::get(
        "/api/v1/remotes",
        "remotes.list",
        "Whether calls go through to each remote, as each source that is at work sees it.",
        list_of::<RemoteStatus>,
        |desk, _| Box::pin(async move { Answer::json(&desk.status().await?.remotes) }),
    ),
    Endpoint::get(
        "/api/v1/call-logs",
        "call_logs.list",
        "Where records of calls go, and what waits.",
        list_of::<CallLogLine>,
        |desk, _| Box::pin(async move { Answer::json(&desk.status().await?.call_logs) }),
    ),
    Endpoint::get(
        "/api/v1/schedules",
        "schedules.list",
        "When each schedule asked for its run last, and when it does next.",
        list_of::<ScheduleLine>,
        |desk, _| Box::pin(async move { Answer::json(&desk.status().await?.schedules) }),
    ),
    Endpoint {
        within: LONG,
        ..Endpoint::get(
            "/api/v1/check",
            "check",
            "Looks at everything that must be right, as `rowcall check` does.",
            list_of::<Finding>,
            |desk, _| Box::pin(async move { Answer::json(&desk.check().await?) }),
        )
    },
    Endpoint::get(
        "/api/v1/configuration",
        "configuration.show",
        "The configuration in effect, secrets masked.",
        schema::<Configuration>,
        |desk, _| Box::pin(async move { Answer::json(&desk.configuration()) }),
    ),
];
