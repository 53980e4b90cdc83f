//! Says to an open page that there is something new, by server-sent events; the page then asks again for
//! the part of it that changes.

use super::Dashboard;
use crate::{
    admin::problem::{BUSY, Problem},
    engine::stopped,
};
use axum::{
    extract::State,
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures_util::stream;
use std::{convert::Infallible, sync::Arc};
use tokio::sync::OwnedSemaphorePermit;

/// Pages that are told at once; each holds a connection.
pub(super) const STREAMS: usize = 64;

pub(super) async fn stream(State(dashboard): State<Arc<Dashboard>>) -> Response {
    let Ok(permit) = Arc::clone(&dashboard.streams).try_acquire_owned() else {
        let detail = format!("{STREAMS} pages are told what is new: this one has to be reloaded");
        return Problem::new(BUSY, detail).into_response();
    };
    let begun = (dashboard.samples.ticks(), dashboard.stop.clone(), permit);
    let events = stream::unfold(begun, |(mut ticks, mut stop, permit): (_, _, OwnedSemaphorePermit)| async {
        tokio::select! {
            changed = tokio::sync::watch::Receiver::<u64>::changed(&mut ticks) => changed.ok()?,
            () = stopped(&mut stop) => return None,
        }
        let number = *ticks.borrow_and_update();
        let event = Event::default().event("tick").data(number.to_string());
        Some((Ok::<_, Infallible>(event), (ticks, stop, permit)))
    });
    Sse::new(events).keep_alive(KeepAlive::default()).into_response()
}
