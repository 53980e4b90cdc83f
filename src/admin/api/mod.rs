//! `/api/v1`: tables of endpoints, and the one way that a request takes to each.
//!
//! What looks is answered at once. What changes something is first written down, with who asked; it then
//! goes on even if the asker hangs up, and how it ended is written down too. What cannot be written down
//! is not done.

mod asked;
mod calls;
mod checkpoints;
mod endpoint;
mod halts;
mod openapi;
mod params;
mod parked;
mod runs;
mod standing;

use super::{
    Desk,
    guard::Operator,
    hands::Hands,
    problem::{BUSY, FAILED, NO_METHOD, NO_PATH, Problem, TOO_SLOW},
};
use crate::state::postgres::{NewOperation, OperationEnd};
use asked::Asked;
pub(super) use asked::{Told, decoded};
use axum::{
    Router,
    body::Body,
    response::{IntoResponse, Response},
    routing::{MethodFilter, on},
};
pub(super) use calls::{LOOK, lineage_of, query as call_query};
use endpoint::{Answer, Endpoint, SHORT, Verb};
use http::{Method, Request, Uri};
pub(super) use params::{Form, Given, NAME, Param, param};
pub(super) use parked::{
    PAGING, around, filter as parked_filter, limit as parked_limit, page as parked_page,
};
use serde_json::Value;
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::timeout,
};

/// Requests answered at once: each may take a connection to each database.
const AT_ONCE: usize = 8;
/// How long one waits for its turn.
const TURN: Duration = Duration::from_secs(5);

/// Every endpoint.
fn endpoints() -> impl Iterator<Item = &'static Endpoint> {
    let tables = [
        standing::ENDPOINTS,
        runs::ENDPOINTS,
        parked::ENDPOINTS,
        calls::ENDPOINTS,
        checkpoints::ENDPOINTS,
        halts::ENDPOINTS,
    ];
    tables.into_iter().flatten()
}

/// What every request needs.
pub(super) struct Api {
    desk: Arc<dyn Desk>,
    turns: Semaphore,
    hands: Arc<Hands>,
}

impl Api {
    pub(super) fn new(desk: Arc<dyn Desk>, hands: Arc<Hands>) -> Self {
        Self { desk, turns: Semaphore::new(AT_ONCE), hands }
    }

    /// Waits until it is the asker's turn, but not for long.
    pub(super) async fn turn(&self) -> Result<SemaphorePermit<'_>, Problem> {
        match timeout(TURN, self.turns.acquire()).await {
            Ok(Ok(turn)) => Ok(turn),
            _ => Err(Problem::new(BUSY, format!("{AT_ONCE} requests are being answered: ask again"))),
        }
    }

    /// Does what the endpoint of this name does, for who asks by a form.
    pub(super) async fn perform(&self, id: &str, operator: Operator, given: Told) -> Result<Value, Problem> {
        let endpoint = endpoints().find(|it| it.id == id && it.changes());
        let endpoint = endpoint.ok_or_else(|| Problem::new(NO_PATH, format!("`{id}` is nothing to do")))?;
        let asked = Asked::told_by_form(endpoint, operator, given)?;
        let done = timeout(endpoint.within, act(self, endpoint, operator, asked)).await;
        done.unwrap_or_else(|_| Err(too_slow(endpoint))).map(|it| it.said())
    }
}

/// What the endpoint of this name takes behind the `?`.
pub(super) fn query_of(id: &str) -> &'static [params::Param] {
    endpoints().find(|it| it.id == id).map_or(&[], |it| it.query)
}

/// Whether this endpoint changes something.
#[cfg(test)]
pub(super) fn is_deed(id: &str) -> bool {
    endpoints().any(|it| it.id == id && it.changes())
}

/// Everything below `/api/v1`.
pub(super) fn router(api: &Arc<Api>) -> Router {
    let document = openapi::document(endpoints()).to_string();
    let document =
        axum::routing::get(
            move || async move { ([(http::header::CONTENT_TYPE, "application/json")], document) },
        );
    endpoints().fold(Router::new().route(openapi::PATH, document), |router, endpoint| {
        let filter = match endpoint.verb {
            Verb::Get => MethodFilter::GET,
            Verb::Post => MethodFilter::POST,
            Verb::Delete => MethodFilter::DELETE,
        };
        let api = Arc::clone(api);
        router.route(endpoint.path, on(filter, move |request| answer(api, endpoint, request)))
    })
}

async fn answer(api: Arc<Api>, endpoint: &'static Endpoint, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    // Without the guard nobody comes here.
    let Some(operator) = parts.extensions.get::<Operator>().copied() else {
        return Problem::new(FAILED, "it is not known who asks").into_response();
    };
    let asked = match timeout(SHORT, Asked::read(endpoint, operator, &parts, body)).await {
        Ok(Ok(asked)) => asked,
        Ok(Err(problem)) => return problem.into_response(),
        Err(_) => return Problem::new(TOO_SLOW, "the body took too long").into_response(),
    };
    let _turn = match api.turn().await {
        Ok(turn) => turn,
        Err(problem) => return problem.into_response(),
    };
    let answered = async {
        if endpoint.changes() {
            act(&api, endpoint, operator, asked).await
        } else {
            (endpoint.handler)(Arc::clone(&api.desk), asked).await
        }
    };
    let answered = timeout(endpoint.within, answered).await;
    answered.unwrap_or_else(|_| Err(too_slow(endpoint))).into_response()
}

fn too_slow(endpoint: &Endpoint) -> Problem {
    let more = if endpoint.changes() { ": it may still be done, see `/api/v1/operations`" } else { "" };
    Problem::new(TOO_SLOW, format!("there was no answer within {} s{more}", endpoint.within.as_secs()))
}

/// Does it, written down before and after.
async fn act(
    api: &Api,
    endpoint: &'static Endpoint,
    operator: Operator,
    asked: Asked,
) -> Result<Answer, Problem> {
    let operation = NewOperation {
        who: operator.role.name().to_owned(),
        address: Some(operator.address.to_string()),
        action: endpoint.id.to_owned(),
        asked: asked.told(),
    };
    let desk = Arc::clone(&api.desk);
    let done = api.hands.carry(async move {
        let number = desk.begin_operation(&operation).await?;
        let answered = (endpoint.handler)(Arc::clone(&desk), asked).await;
        let NewOperation { who, address, action, asked } = operation;
        let address = address.unwrap_or_default();
        let end = match &answered {
            Ok(answer) => {
                tracing::info!(operation = number, who, address, action, %asked, "an operator did this");
                OperationEnd::Done(answer.said())
            }
            Err(problem) => {
                let why = problem.detail();
                tracing::info!(operation = number, who, address, action, %asked, "an operator could not do this: {why}");
                OperationEnd::Refused(why.to_owned())
            }
        };
        if let Err(error) = desk.end_operation(number, &end).await {
            tracing::warn!(operation = number, "how it ended could not be written down: {error}");
        }
        answered
    });
    done.await.unwrap_or_else(|| Err(Problem::new(FAILED, "the server stopped before it was done")))
}

/// Whatever nobody serves.
pub(super) async fn no_path(uri: Uri) -> Problem {
    let path: String = uri.path().chars().take(200).collect();
    Problem::new(NO_PATH, format!("there is no `{path}`: `{}` says what there is", openapi::PATH))
}

/// A path that is served, but not like this.
pub(super) async fn no_method(method: Method, uri: Uri) -> Problem {
    let detail = format!("`{}` does not know {method}: the header `Allow` says what it knows", uri.path());
    Problem::new(NO_METHOD, detail)
}
